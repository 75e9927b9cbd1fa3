//! Where a site is, for whoever comes from outside.

use std::net::SocketAddr;

/// Where the site is.
#[derive(Clone, Debug)]
pub struct Door {
    /// The network namespace of those who come; this machine's own if empty.
    pub namespace: String,
    /// Where the site answers HTTP.
    pub address: SocketAddr,
    /// What it is called.
    pub host: String,
}
