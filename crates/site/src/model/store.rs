//! An etcd that Mainstay does not run.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// An etcd that is there already, by which the site's servers agree instead of by members of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignStore {
    /// Where its members are asked, always by TLS.
    pub endpoints: Vec<SocketAddr>,
    /// PEM file with the certificates of those who may have signed the members'.
    pub authority: String,
    /// PEM file with what the members are shown.
    pub certificate: String,
    /// PEM file with its private key.
    pub key: String,
}
