//! The site: a declaration that was found valid, with every default filled in.
//!
//! Built only by `declaration`, so whoever holds a [`Site`] need not check it again.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::{Domain, Role, ServerName};

mod app;
mod cluster;
mod database;
mod ports;
mod redis;
mod store;
mod web;

pub use app::{App, AppKind, Codebase, Folder, GRPC_HEALTH, Speaks};
pub use cluster::{Cluster, ClusterMode};
pub use database::{Backup, BinlogKeep, Lease, Reads, SemiSync};
pub use ports::Ports;
pub use redis::Redis;
pub use store::ForeignStore;
pub use web::{Ban, Cache, Limits, LogFormat, Per, Rate, Web};

/// The format of the declaration, of every state file, and of every `--json` answer that this build writes.
pub const FORMAT: u32 = 1;

/// The whole site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// `foobar.com`.
    pub domain: Domain,
    /// How `www` is answered.
    pub www: Www,
    /// What the owner adds to the zone.
    pub records: Vec<Record>,
    /// The applications, most specific route first.
    pub apps: Vec<App>,
    /// The web tier.
    pub web: Web,
    /// The balancer tier; `None` where no server has the role.
    pub balancer: Option<Balancer>,
    /// How much of it one visitor may take.
    #[serde(default)]
    pub limits: Limits,
    /// The database tier; `None` where no server has the role.
    pub database: Option<Database>,
    /// Redis for the applications; `None` where no server has the role `cache`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Redis>,
    /// Where its servers agree, if that is not on some of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<ForeignStore>,
    /// HTTPS; `None` where `[tls]` is absent.
    pub tls: Option<Tls>,
    /// Packet filtering; `None` where `[firewall]` is absent.
    pub firewall: Option<Firewall>,
    /// Watching; `None` where no server has the role `monitor`.
    pub monitor: Option<Monitor>,
    /// Every server, in the order of the file.
    pub servers: Vec<Server>,
    /// Where the site's services listen.
    pub ports: Ports,
    /// Who has a vote in the store since before this declaration; empty: whoever is best. See [`crate::votes::keep`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub voters: Vec<ServerName>,
    /// Who is about to get one ([`crate::votes::announce`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coming_voters: Vec<ServerName>,
    /// Who had one before it went to somebody else ([`crate::votes::leave`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_voters: Vec<ServerName>,
}

impl Site {
    /// The servers that have `role`, in the order of the file.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(move |server| server.has(role))
    }

    /// How many servers have `role`.
    pub fn count(&self, role: Role) -> usize {
        self.with_role(role).count()
    }

    /// The server called `name`.
    pub fn server(&self, name: &ServerName) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == *name)
    }

    /// The role that takes the visitors' connections: `balancer` if there is one, else `web`.
    pub fn front(&self) -> Role {
        if self.balancer.is_some() { Role::Balancer } else { Role::Web }
    }

    /// Where visitors are sent: the floating address if there is one, else the front servers' own addresses.
    pub fn public_addresses(&self) -> Vec<IpAddr> {
        match self.cluster() {
            Some(cluster) => cluster.addresses.clone(),
            None => self.in_use(self.front()).map(|server| server.address).collect(),
        }
    }

    /// A server's number in replication, unique in the site: its place in the file, from 1, or what that was before.
    pub fn number(&self, name: &ServerName) -> Option<u32> {
        let place = self.servers.iter().position(|server| server.name == *name)?;
        self.servers[place].number.or(u32::try_from(place + 1).ok())
    }

    /// What a site has been for longer than its declaration has its present text: who has a vote ([`crate::votes::keep`]),
    /// the numbers of its servers, and who was taken out. To be said of every declaration that takes the place of one that runs.
    pub fn continues(&mut self, before: &Site) {
        crate::votes::keep(before, self);
        let mut taken: Vec<u32> = self.servers.iter().filter_map(|server| before.number(&server.name)).collect();
        for (place, server) in (1..).zip(&mut self.servers) {
            let number = before.number(&server.name).or_else(|| (1..).find(|free| !taken.contains(free)));
            taken.extend(number.filter(|_| before.server(&server.name).is_none()));
            server.number = number.filter(|number| *number != place);
            server.maintained = before.server(&server.name).is_some_and(|known| known.maintained);
        }
    }

    /// The balancers' cluster, where its addresses can float: on one machine without networks they cannot.
    pub fn cluster(&self) -> Option<&Cluster> {
        let declared = self.balancer.as_ref().and_then(|balancer| balancer.cluster.as_ref());
        declared.filter(|cluster| !cluster.addresses.iter().any(IpAddr::is_loopback))
    }

    /// The servers that hold to declared rates together, and so tell each other; none if nobody has to.
    pub fn limiters(&self) -> Vec<&Server> {
        let front: Vec<&Server> = self.with_role(self.front()).collect();
        if front.len() > 1 && !self.limits.rates.is_empty() { front } else { Vec::new() }
    }

    /// The servers that have `role` without those that were taken out, unless all were.
    pub fn in_use(&self, role: Role) -> impl Iterator<Item = &Server> {
        let all_are_out = self.with_role(role).all(|server| server.maintained);
        self.with_role(role).filter(move |server| all_are_out || !server.maintained)
    }

    /// The declared primary: the first database server of the file.
    pub fn primary(&self) -> Option<&Server> {
        self.with_role(Role::Database).next()
    }

    /// The declared replicas: every database server but the first.
    pub fn replicas(&self) -> impl Iterator<Item = &Server> {
        self.with_role(Role::Database).skip(1)
    }
}

/// How the name `www.DOMAIN` is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Www {
    /// An alias of the apex, so that one address is kept in one place. The default.
    #[default]
    Cname,
    /// Address records of its own: one look-up less for resolvers that do not chase the alias.
    Address,
}

/// A record that the owner adds to the zone, in zone-file syntax (RFC 1035 § 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Relative to the domain; `@` is the domain itself.
    pub name: String,
    /// `A`, `AAAA`, `MX`, `TXT`, `CNAME`, `NS`, `SRV` or `CAA`.
    pub kind: String,
    /// The record's data as a zone file writes it: `10 mail.example.com.`
    pub value: String,
    /// Seconds that resolvers may keep it.
    pub ttl: u32,
}

/// The balancer tier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Balancer {
    /// How requests are spread over the web servers.
    pub algorithm: Algorithm,
    /// Whether a visitor stays with a web server.
    #[serde(default)]
    pub sticky: bool,
    /// How requests are logged.
    #[serde(default)]
    pub log: LogFormat,
    /// Answers that are kept here too, before they are asked of a web server; `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// Milliseconds after which a silent web server's request is asked of another too; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge_ms: Option<u32>,
    /// The floating address, if the balancers share one.
    pub cluster: Option<Cluster>,
}

/// How a balancer chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Each in turn, by weight. The default: needs no measurement and is easy to follow in a log.
    #[default]
    RoundRobin,
    /// The one with the fewest requests outstanding.
    LeastConnections,
    /// The one that answers quickest.
    Fastest,
    /// Latency times outstanding requests.
    Observed,
    /// As observed, following the trend.
    Predictive,
    /// The same client to the same server.
    SourceHash,
    /// The same page to the same server, unless it is too busy: every server caches its own part of the site.
    ConsistentHash,
}

impl Algorithm {
    /// Every algorithm with its word in the declaration.
    pub const ALL: [(&'static str, Algorithm); 7] = [
        ("round-robin", Algorithm::RoundRobin),
        ("least-connections", Algorithm::LeastConnections),
        ("fastest", Algorithm::Fastest),
        ("observed", Algorithm::Observed),
        ("predictive", Algorithm::Predictive),
        ("source-hash", Algorithm::SourceHash),
        ("consistent-hash", Algorithm::ConsistentHash),
    ];
}

/// The database tier. The first database server of the file is the primary, the others are replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// Who replaces a dead primary.
    pub failover: Failover,
    /// What a commit waits for.
    pub durability: Durability,
    /// What it does while it waits in vain.
    #[serde(default)]
    pub semi_sync: SemiSync,
    /// How long a leader leads without being heard of.
    #[serde(default)]
    pub lease: Lease,
    /// How replicas are read from.
    #[serde(default)]
    pub reads: Reads,
    /// Backups that are made by themselves.
    #[serde(default)]
    pub backup: Option<Backup>,
    /// For how long the binary logs are kept.
    #[serde(default, skip_serializing_if = "BinlogKeep::is_default")]
    pub binlog_keep: BinlogKeep,
}

/// Who replaces a dead primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failover {
    /// An operator. The default.
    #[default]
    Manual,
    /// Mainstay.
    Automatic,
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// The primary's own disk.
    Async,
    /// One replica has it too. The default: what was acknowledged exists twice.
    #[default]
    SemiSync,
    /// Every node of a multi-primary cluster.
    Galera,
}

/// HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Where the certificate comes from.
    pub certificate: Certificate,
    /// Between the tiers.
    pub inside: Inside,
    /// Whether plain HTTP is sent on to HTTPS, if the declaration says it; see [`Tls::redirects`].
    #[serde(default)]
    pub redirect: Option<bool>,
    /// For how many seconds a browser that came by HTTPS must not come otherwise (RFC 6797); not said if `None`.
    #[serde(default)]
    pub hsts_seconds: Option<u32>,
}

impl Tls {
    /// Whether plain HTTP is sent on to HTTPS: unless the declaration says otherwise, where the certificate is one that
    /// browsers trust. A trial must open without a warning, and until a certificate can be obtained by ACME what is shown in
    /// its place is self-signed too.
    pub fn redirects(&self) -> bool {
        self.redirect.unwrap_or(matches!(self.certificate, Certificate::Files { .. }))
    }
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certificate {
    /// Made by Mainstay; browsers warn.
    SelfSigned,
    /// Obtained and renewed by RFC 8555.
    Acme,
    /// The owner's own.
    Files {
        /// PEM chain, leaf first.
        certificate: String,
        /// PEM private key.
        key: String,
    },
}

/// Encryption between the tiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inside {
    /// In the clear. The default of `[tls]`.
    #[default]
    Off,
    /// Both ends show a certificate of the site's own authority.
    Mutual,
}

/// Packet filtering.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// Networks (CIDR) that may reach SSH; nobody if empty.
    pub ssh_from: Vec<String>,
}

/// Watching.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// Where alerts go: `mailto:ops@foobar.com`, `https://hooks.example.com/…`.
    pub alerts_to: Vec<String>,
    /// How long history is kept.
    pub retention: Duration,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `web1`.
    pub name: ServerName,
    /// Where the other servers reach it.
    pub address: IpAddr,
    /// What it is for, sorted, at least one.
    pub roles: Vec<Role>,
    /// Its share of requests under round robin.
    pub weight: u16,
    /// Serves only when no other of its tier does (active-passive).
    pub spare: bool,
    /// Taken out by an operator (`mainstay maintain`): it runs, and nothing is asked of it while its tiers have others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub maintained: bool,
    /// Its number in replication, if that is not its place in the file: it had another place before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
}

impl Server {
    /// Whether it has `role`.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}
