//! Where services listen.

use serde::{Deserialize, Serialize};

/// Where the services listen. The defaults are the well-known ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The front door's HTTP: 80.
    pub http: u16,
    /// The front door's HTTPS: 443.
    pub https: u16,
    /// The name server: 53.
    pub dns: u16,
    /// Web servers behind a balancer: 8080, the registered alternate for HTTP, so that a server may be both.
    pub web: u16,
    /// The first application; the next ones follow: 8000.
    pub app: u16,
    /// MariaDB: 3306.
    pub database: u16,
    /// Where replicas ask a MariaDB for its log: 3307. Clients' port can be closed without it.
    pub replication: u16,
    /// Where a database role gives its data to one that has none: 3308.
    pub copies: u16,
    /// The writer endpoint on an application server: 6446, as MySQL Router's read-write port.
    pub sql_writer: u16,
    /// The reader endpoint: 6447, as MySQL Router's read-only port.
    pub sql_reader: u16,
    /// The reader endpoint that waits for what was written before: 6448, the next.
    pub sql_fresh: u16,
    /// Members of the store, asked by the site's servers: 2379, etcd's registered port.
    #[serde(default = "store_client")]
    pub store_client: u16,
    /// Members of the store among themselves: 2380, etcd's registered port.
    #[serde(default = "store_peer")]
    pub store_peer: u16,
    /// Redis: 6379, its registered port.
    #[serde(default = "cache")]
    pub cache: u16,
    /// Front doors among themselves, by UDP: 8082, after the web servers' ports.
    #[serde(default = "limits")]
    pub limits: u16,
    /// Where visitors find the site if that is not here: HTTP and HTTPS of a lab, published on its host.
    #[serde(default)]
    pub published: Option<(u16, u16)>,
}

const fn store_client() -> u16 {
    2379
}

const fn store_peer() -> u16 {
    2380
}

const fn cache() -> u16 {
    6379
}

const fn limits() -> u16 {
    8082
}

impl Ports {
    /// The port of the application at `place` (from 0): from [`Ports::app`] upwards, leaving out what another service of
    /// the same server may listen on.
    pub fn app_at(&self, place: usize) -> u16 {
        let sql = [self.database, self.replication, self.copies, self.sql_writer, self.sql_reader, self.sql_fresh];
        let taken = [self.http, self.https, self.dns, self.web, self.store_client, self.store_peer, self.cache];
        let taken: Vec<u16> = taken.into_iter().chain(sql).collect();
        (self.app..=u16::MAX).filter(|port| !taken.contains(port)).nth(place).unwrap_or(u16::MAX)
    }
}

impl Default for Ports {
    fn default() -> Self {
        Ports {
            http: 80,
            https: 443,
            dns: 53,
            web: 8080,
            app: 8000,
            database: 3306,
            replication: 3307,
            copies: 3308,
            sql_writer: 6446,
            sql_reader: 6447,
            sql_fresh: 6448,
            store_client: store_client(),
            store_peer: store_peer(),
            cache: cache(),
            limits: limits(),
            published: None,
        }
    }
}
