//! Where data is kept: databases, the endpoints that lead to them, and the store by which servers agree.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::{Backup, BinlogKeep, Durability, Failover, Lease, Reads, SemiSync};
use crate::names::ServerName;

/// The SQL endpoints of an application server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sql {
    /// The declared primary.
    pub primary: (ServerName, SocketAddr),
    /// The declared replicas.
    pub replicas: Vec<(ServerName, SocketAddr)>,
    /// Where the servers agree on who the primary is; empty: it is the declared one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub store: Vec<(ServerName, SocketAddr)>,
    /// Milliseconds; a replica further behind is not read from.
    #[serde(default = "max_lag_ms")]
    pub max_lag_ms: u64,
}

/// Of plans of before it could be declared.
fn max_lag_ms() -> u64 {
    Reads::default().max_lag.as_millis() as u64
}

/// MariaDB on one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// MariaDB's own listener; it binds this itself.
    pub address: SocketAddr,
    /// Replication's identity, unique in the site: the server's place in the file, from 1.
    pub server_id: u32,
    /// What it is.
    pub role: DatabaseRole,
    /// What a commit waits for.
    pub durability: Durability,
    /// How many replicas the site has; semi-sync needs one.
    pub replicas: usize,
    /// One schema and account per application.
    pub schemas: Vec<String>,
    /// The data directory, relative to the state directory.
    pub data: String,
    /// Where the servers agree on who the primary is; empty: it is the declared one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub store: Vec<(ServerName, SocketAddr)>,
    /// Every database server, this one too, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Fellow>,
    /// Who replaces a dead primary.
    #[serde(default)]
    pub failover: Failover,
    /// What a commit does while no replica can acknowledge it.
    #[serde(default)]
    pub semi_sync: SemiSync,
    /// Milliseconds that a leader leads without being heard of.
    #[serde(default = "lease_ms")]
    pub lease_ms: u64,
    /// The application servers, whose requests are held while the primary's place is handed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<ServerName>,
    /// The backups that this server makes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// For how long the binary logs are kept.
    #[serde(default, skip_serializing_if = "BinlogKeep::is_default")]
    pub binlog_keep: BinlogKeep,
}

/// Of plans of before it could be declared.
fn lease_ms() -> u64 {
    Lease::default().0.as_millis() as u64
}

/// One of the database servers, for the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fellow {
    /// Its name.
    pub server: ServerName,
    /// Its identity in replication.
    pub server_id: u32,
    /// Where clients reach it.
    pub address: SocketAddr,
    /// Where replicas ask for its log.
    pub replication: SocketAddr,
    /// Where its role gives its data to one that has none.
    pub copies: SocketAddr,
}

/// What a database server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum DatabaseRole {
    /// Takes the writes.
    Primary,
    /// Replays `of`.
    Replica {
        /// The primary's name.
        of: ServerName,
        /// The primary's listener.
        address: SocketAddr,
    },
}

/// A member of the etcd by which the servers agree. It binds its listeners itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// Every member, this server's included, in the order of the file.
    pub members: Vec<Member>,
    /// Who was a member until now: a new one finds the others through them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Member>,
    /// The servers with a database: who has the primary shall not also lead the store.
    pub databases: Vec<ServerName>,
    /// The data directory, relative to the state directory.
    pub data: String,
}

/// A member of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its server.
    pub server: ServerName,
    /// Where it is asked.
    pub client: SocketAddr,
    /// Where the other members reach it.
    pub peer: SocketAddr,
}

impl Store {
    /// The member on `server`.
    pub fn member(&self, server: &ServerName) -> Option<&Member> {
        self.members.iter().find(|member| member.server == *server)
    }

    /// Where it is asked, as whoever asks knows it.
    pub fn endpoints(&self) -> Vec<(ServerName, SocketAddr)> {
        self.members.iter().map(|member| (member.server.clone(), member.client)).collect()
    }
}
