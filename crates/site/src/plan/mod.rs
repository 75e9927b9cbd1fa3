//! The plan: everything that one server must run, with no choice left to whoever carries it out.
//!
//! A plan is a pure function of the [`Site`](crate::model::Site), the releases, and a generation: the same input gives
//! the same bytes. It holds no secret; those are named, and kept by the server. Paths are relative to the server's
//! state directory.

mod data;
mod derive;
mod loopback;
mod redis;
#[cfg(test)]
pub(crate) mod tests;
mod vip;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::firewall::Opening;
use crate::model::{Algorithm, AppKind, Cache, Limits, LogFormat, Www};
use crate::names::{AppName, Domain, Generation, ReleaseId, Role, ServerName, ServiceName};

pub use data::{Database, DatabaseRole, Fellow, Member, Sql, Store};
pub use derive::{derive, store_members};
pub use redis::{AppCache, DATABASES, Redis};
pub use vip::{Hook, Vip, VirtualRouter};

/// Suffixes of what is never sent as a file of a PHP application, whatever their case: what PHP runs or includes, and the
/// copies that editors and people leave beside it, dumps and logs. They hold passwords.
pub const NEVER_SENT: [&str; 10] = [".php", ".phtml", ".phar", ".inc", ".ini", ".bak", ".orig", "~", ".sql", ".log"];

/// What one server runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`crate::model::FORMAT`].
    pub format: u32,
    /// Rises with every change; a server refuses to go back.
    pub generation: Generation,
    /// The site's domain.
    pub site: Domain,
    /// The server that this plan is for.
    pub server: ServerName,
    /// Its own address.
    pub address: IpAddr,
    /// Where the servers agree on what they follow; empty: each keeps it for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub store: Vec<(ServerName, SocketAddr)>,
    /// What may come in; everything else is dropped. `None`: nothing is filtered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<Vec<Opening>>,
    /// In the order in which they are started; stopped in reverse.
    pub services: Vec<Service>,
    /// What the declaration asks for and this build does not do yet.
    pub notices: Vec<Notice>,
}

impl Plan {
    /// The service called `name`.
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.iter().find(|service| service.name == *name)
    }
}

/// One service: a process of its own under a user of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// `web`, `app-site`.
    pub name: ServiceName,
    /// The role that asks for it; the SQL endpoints belong to `app`.
    pub role: Role,
    /// Numeric user and group when the supervisor is root.
    pub user: u32,
    /// The sockets that the supervisor binds and hands over, in this order.
    pub listens: Vec<Listen>,
    /// Folders that it may write, created by the supervisor and owned by `user`.
    pub writes: Vec<String>,
    /// Whom it talks to.
    pub talks: Vec<Flow>,
    /// What it does.
    pub config: Config,
}

impl Service {
    /// Whether another tier of its server may ask it by way of [`local_sockets`].
    pub fn is_local(&self) -> bool {
        match &self.config {
            Config::Web(web) => !web.front,
            Config::App(_) => true,
            _ => false,
        }
    }
}

/// Where a tier is reached by those of its own server, relative to the state directory: a Unix socket for each of so many cores, to
/// which everyone of the server may connect, as everyone may to its port. It need not be there: whoever does not find it goes to the
/// port.
pub fn local_sockets(service: &str, cores: usize) -> impl Iterator<Item = String> {
    (0..cores).map(move |core| format!("run/{service}.{core}.sock"))
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// What it is for: `http`, `dns`, `writer`.
    pub name: String,
    /// TCP or UDP.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    /// One socket per core with `SO_REUSEPORT`; the service must accept on every one.
    pub per_core: bool,
    /// The address comes and goes: it is bound whether it is here or not (`IP_FREEBIND`, ip(7)).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub floating: bool,
}

/// The transport of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// An arrow of the drawing: this service opens connections to `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The other end.
    pub server: ServerName,
    /// The other end's service.
    pub service: ServiceName,
    /// Where it listens.
    pub address: SocketAddr,
    /// `HTTP`, `FastCGI`, `MySQL`, `replication`.
    pub protocol: String,
}

/// What a service does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "service", rename_all = "kebab-case")]
pub enum Config {
    /// The name server.
    Dns(Dns),
    /// The balancer.
    Balancer(Balancer),
    /// The web server.
    Web(Web),
    /// One application's workers.
    App(App),
    /// The SQL endpoints.
    Sql(Sql),
    /// MariaDB.
    Database(Database),
    /// A member of the store.
    Store(Store),
    /// Who speaks for the floating addresses.
    Vip(Vip),
    /// Who tells a cloud where a floating address has gone.
    Hook(Hook),
    /// Redis for the applications.
    Cache(Redis),
}

/// The zone to answer for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// `foobar.com`.
    pub zone: Domain,
    /// How `www` is answered.
    pub www: Www,
    /// The SOA's serial (RFC 1035 § 3.3.13): the plan's generation.
    pub serial: u32,
    /// Where visitors are sent.
    pub addresses: Vec<IpAddr>,
    /// Every name server: `ns1.foobar.com` and its address, in order.
    pub name_servers: Vec<(String, IpAddr)>,
    /// Every server's own name: `web1.foobar.com`.
    pub hosts: Vec<(String, IpAddr)>,
    /// What the owner adds.
    pub records: Vec<crate::model::Record>,
    /// Seconds that resolvers may keep the records above.
    pub ttl: u32,
    /// Where each of several floating addresses is asked whether anybody holds it: one that nobody does is not answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<SocketAddr>,
}

/// The balancer: one pool of web servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Balancer {
    /// The web servers.
    pub pool: Pool,
    /// How it is a door.
    #[serde(default)]
    pub door: Door,
    /// Fresh answers are kept; `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
}

/// Whom an HTTP tier lets in and what it tells, to the log and to those who may know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Door {
    /// How much one visitor may take; of the front door alone.
    pub limits: Limits,
    /// How requests are logged.
    pub log: LogFormat,
    /// Who may see its figures besides its own server: the site's servers.
    pub observers: Vec<IpAddr>,
    /// HTTPS is answered too, with the certificate among the secrets.
    #[serde(default)]
    pub https: bool,
    /// Behind it is an application that speaks HTTP/2: calls of gRPC may be silent for as long as WebSockets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub calls: bool,
    /// By which ports visitors come in clear, and to which of HTTPS they are sent; none are if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Redirect>,
    /// The other doors of the site, which hold to the same rates and are told; none if there are none, or no rates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fellows: Vec<(ServerName, SocketAddr)>,
    /// Answers by HTTPS say for how many seconds browsers must not come otherwise (RFC 6797).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsts_seconds: Option<u32>,
}

/// A port of HTTP and the one of HTTPS for the same visitors, as they know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// In the Host of who comes in clear; 80 if it has none.
    pub http: u16,
    /// In the address that he is sent to.
    pub https: u16,
}

/// The web server: static folders first, then the applications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Web {
    /// Whether it is the front door itself: it then trusts no `X-Forwarded-*` of its caller.
    pub front: bool,
    /// Tried in order; the first that matches host and prefix serves.
    pub routes: Vec<Route>,
    /// How it is a door.
    #[serde(default)]
    pub door: Door,
    /// Keeps what the applications answer.
    pub cache: Option<Cache>,
}

/// Requests of one application, or of a folder beside it: then everything below `prefix` is the folder's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Which application.
    pub app: AppName,
    /// Only this host (without port, lower case); any if `None`. `DOMAIN.localhost` names reach it too.
    pub host: Option<String>,
    /// Only paths below this prefix.
    pub prefix: String,
    /// Served from files, longest prefix first.
    pub statics: Vec<Static>,
    /// The application servers.
    pub pool: Pool,
}

/// A folder served from files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Static {
    /// URL prefix.
    pub prefix: String,
    /// Folder, relative to the state directory.
    pub folder: String,
    /// The same folder of the release before: what is not in the folder is looked for there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// `true`: a file that is not there is asked of the application (PHP's document root); `false`: it is a 404.
    pub fall_through: bool,
    /// Suffixes that are never served as files: `.php`.
    pub never: Vec<String>,
    /// Below the folder: what answers for pages that are no files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Cache-Control of its files; by their names if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
}

/// Backends among which requests are spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The role behind it, for errors: `web`, `app-site`.
    pub name: String,
    /// How to choose.
    pub algorithm: Algorithm,
    /// Whom to choose from.
    pub backends: Vec<Backend>,
    /// How to tell who is well.
    pub health: Health,
    /// The cookie by which a visitor stays with a backend, signed with the site's key; `None`: visitors do not stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
    /// Milliseconds after which a silent backend's request is asked of another too; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge_ms: Option<u32>,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// The server's name.
    pub name: ServerName,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share.
    pub weight: u16,
    /// Only when no other is well.
    pub spare: bool,
}

/// An active health check. The defaults are HAProxy's `rise 2 fall 3` at half its interval of 2 s, with a deadline of one
/// interval: a server that refuses is out within 3 s, and one that hangs within 4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `GET` this path; 2xx and 3xx are well. It is answered by the next tier itself if it starts with `/.mainstay/`.
    pub path: String,
    /// Milliseconds between checks.
    pub interval_ms: u64,
    /// Milliseconds until a check counts as failed.
    pub timeout_ms: u64,
    /// Successes in a row that bring it back.
    pub rise: u32,
    /// Failures in a row that take it out.
    pub fall: u32,
}

/// One application's workers on one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Which application.
    pub app: AppName,
    /// How it is run.
    pub kind: AppKind,
    /// Below which path it is asked; ends with `/`.
    pub prefix: String,
    /// The release.
    pub release: ReleaseId,
    /// The release's code, relative to the state directory.
    pub code: String,
    /// The release's Python environment, relative to the state directory; WSGI and ASGI only.
    pub venv: Option<String>,
    /// How many workers.
    pub workers: u16,
    /// Folders below the code that are links to folders kept across releases: (path below the code, kept folder).
    pub shared: Vec<(String, String)>,
    /// The declared environment.
    pub settings: BTreeMap<String, String>,
    /// Run once per release on one of the application servers, before traffic.
    pub migrate: Option<String>,
    /// What the worker's health is asked by.
    pub health: String,
    /// The SQL endpoints and the schema; `None` without a database.
    pub database: Option<AppDatabase>,
    /// Redis; `None` where no server has the role `cache`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<AppCache>,
}

/// How an application reaches its database. Account and password come from the server's secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppDatabase {
    /// Takes every write.
    pub writer: SocketAddr,
    /// Serves reads, possibly a moment behind.
    pub reader: SocketAddr,
    /// Serves reads that see everything written before the connection was made; `None` in plans of before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<SocketAddr>,
    /// The schema; the account has the same name.
    pub schema: String,
}

/// Something declared that this build does not enforce: said in `check`, `plan` and `status`, never passed over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Notice {
    /// What the declaration says: `tls.inside = "mutual"`.
    pub declared: String,
    /// What happens instead: `traffic between the tiers is in the clear`.
    pub instead: String,
}
