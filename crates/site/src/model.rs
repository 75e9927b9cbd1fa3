//! The site: a declaration that was found valid, with every default filled in.
//!
//! Built only by `declaration`, so whoever holds a [`Site`] need not check it again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::{AppName, Domain, ReleaseId, Role, ServerName};

mod cluster;
mod database;
mod store;
mod web;

pub use cluster::{Cluster, ClusterMode};
pub use database::{Backup, BinlogKeep, Lease, Reads, SemiSync};
pub use store::ForeignStore;
pub use web::{Cache, Limits, LogFormat, Per, Rate, Web};

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

/// The method by which gRPC servers say how they are (gRPC Health Checking Protocol): the path where nothing else is declared
/// for an application that speaks HTTP/2.
pub const GRPC_HEALTH: &str = "/grpc.health.v1.Health/Check";

/// One application: a codebase, how it is run, and which requests are its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// `site` for the short form `[app]`.
    pub name: AppName,
    /// The codebase, as the file names it (relative to the file).
    pub path: String,
    /// How it is run.
    pub kind: AppKind,
    /// Worker processes on every application server.
    pub workers: u16,
    /// Paths below the codebase that the code writes to; kept across releases.
    pub shared: Vec<String>,
    /// Environment variables for the worker processes.
    pub settings: BTreeMap<String, String>,
    /// A shell command run once per release, before the release gets traffic.
    pub migrate: Option<String>,
    /// Only requests for this host; any host if `None`.
    pub host: Option<String>,
    /// Only requests below this path prefix, which starts with `/`.
    pub prefix: String,
    /// URL prefix → what the web tier serves there by itself. A prefix that is not below the application's own is a route of
    /// its own beside it.
    pub statics: BTreeMap<String, Folder>,
    /// The path that health checks ask for; [`GRPC_HEALTH`] is called, not fetched.
    pub health: String,
}

/// A folder of a codebase that the web tier serves by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Below the codebase.
    pub path: String,
    /// The file below it that answers for pages that are no files: of an application that routes in the browser.
    pub fallback: Option<String>,
    /// Cache-Control (RFC 9111 § 5.2.2) of all its files; by the files' names if `None`.
    pub cache_control: Option<String>,
}

/// How a codebase is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AppKind {
    /// Python, PEP 3333: `module:callable`.
    Wsgi {
        /// `module:callable`.
        entry: String,
    },
    /// Python, ASGI 3: `module:callable`.
    Asgi {
        /// `module:callable`.
        entry: String,
    },
    /// PHP by FastCGI: files that exist are run or served, everything else goes to the front controller.
    Php {
        /// The front controller below the codebase: `index.php`.
        entry: String,
    },
    /// Any program that speaks HTTP on `$SOCKET` (a Unix socket) or `$HOST:$PORT`.
    Http {
        /// The shell command that starts one worker.
        command: String,
        /// What it speaks.
        #[serde(default, skip_serializing_if = "Speaks::is_http1")]
        speaks: Speaks,
    },
}

/// Which HTTP a program speaks in clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaks {
    /// HTTP/1.1 (RFC 9112).
    #[default]
    Http1,
    /// HTTP/2 without being asked first (RFC 9113 § 3.3), as gRPC servers do.
    Http2,
}

impl Speaks {
    fn is_http1(&self) -> bool {
        *self == Speaks::Http1
    }
}

impl AppKind {
    /// The word in the declaration.
    pub const fn as_str(&self) -> &'static str {
        match self {
            AppKind::Wsgi { .. } => "wsgi",
            AppKind::Asgi { .. } => "asgi",
            AppKind::Php { .. } => "php",
            AppKind::Http { .. } => "http",
        }
    }

    /// What its workers speak, if that is HTTP.
    pub const fn speaks(&self) -> Speaks {
        match self {
            AppKind::Http { speaks, .. } => *speaks,
            AppKind::Wsgi { .. } | AppKind::Asgi { .. } | AppKind::Php { .. } => Speaks::Http1,
        }
    }
}

/// The balancer tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

impl Ports {
    /// The port of the application at `place` (from 0): from [`Ports::app`] upwards, leaving out what another service of
    /// the same server may listen on.
    pub fn app_at(&self, place: usize) -> u16 {
        let sql = [self.database, self.replication, self.copies, self.sql_writer, self.sql_reader, self.sql_fresh];
        let taken = [self.http, self.https, self.dns, self.web, self.store_client, self.store_peer];
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
            published: None,
        }
    }
}

/// What must be known of a codebase on the disk; the caller looks, this crate does no I/O.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codebase {
    /// Which application it belongs to.
    pub app: AppName,
    /// The release that its contents make.
    pub release: ReleaseId,
    /// The release before it, whose files visitors' pages still ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ReleaseId>,
}

impl Codebase {
    /// A release without one before it.
    pub fn new(app: &AppName, release: &ReleaseId) -> Codebase {
        Codebase { app: app.clone(), release: release.clone(), before: None }
    }

    /// The same release after what `known` runs: that one's files stay, or if it is the same, those that stayed.
    pub fn after(mut self, known: &[Codebase]) -> Codebase {
        let known = known.iter().find(|known| known.app == self.app);
        self.before =
            known.and_then(|it| if it.release == self.release { it.before.clone() } else { Some(it.release.clone()) });
        self
    }
}
