//! The control wire: what a server says of itself, and what may be asked of it.
//!
//! HTTP/1.1 with JSON on a Unix socket (`control.sock` in the server's state directory), every path below `/v1`:
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`ServerStatus`] |
//! | `GET /v1/logs/SERVICE?lines=N` | the last lines of its log stream, text |
//! | `PUT /v1/plan` with a [`Plan`](crate::plan::Plan) | 204, or [`Refusal`] with 409 (stale) or 422 |
//! | `GET /v1/rollout` | [`View`](rollout::View) of the generations and who follows which |
//! | `GET /v1/generations` | a list of [`Summary`](rollout::Summary), newest first |
//! | `GET /v1/generations/N` | its [`Record`](rollout::Record) |
//! | `PUT /v1/generation` with a [`Proposal`](rollout::Proposal) | 204, or [`Refusal`] with 409 (another came first) |
//! | `POST /v1/turn/N` | 202; of servers without a common store: follow this generation now |
//! | `POST /v1/restart/SERVICE` | 202 |
//! | `POST /v1/database` with an [`Ask`](upkeep::Ask) | [`Told`](upkeep::Told), or [`Refusal`] with 409 |
//! | `POST /v1/vip` with a [`Wish`](vip::Wish) | [`View`](vip::View) |
//! | `POST /v1/purge` with a [`Purge`] | a list of [`Purged`] |
//! | `POST /v1/upgrade` | 202; the supervisor and then its services are replaced by the program that its file holds now |
//! | `POST /v1/stop` | 202; everything is stopped in order, then the supervisor ends |
//!
//! A service answers its supervisor in the same way on a socket of its own: `GET /v1/report` → [`Report`]; `PUT /v1/launch` has it
//! follow another plan without a restart; `POST /v1/purge` → how many addresses were taken out of its cache, a number.

pub mod database;
pub mod hold;
pub mod rollout;
pub mod upkeep;
pub mod vip;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{Domain, Generation, Role, ServerName, ServiceName};
use crate::plan::Notice;

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// [`crate::model::FORMAT`].
    pub format: u32,
    /// The site.
    pub site: Domain,
    /// The server.
    pub server: ServerName,
    /// The plan in force.
    pub generation: Generation,
    /// The Mainstay version that runs it.
    pub version: String,
    /// The supervisor's process, as the server sees it; so are the others below.
    pub pid: u32,
    /// When the supervisor started: Unix time in milliseconds.
    pub since_ms: u64,
    /// Services are still being moved to another program.
    #[serde(default)]
    pub upgrading: bool,
    /// In the order of the plan.
    pub services: Vec<ServiceStatus>,
    /// What is declared and not enforced.
    pub notices: Vec<Notice>,
}

/// What a service is up to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// `app-site`.
    pub name: ServiceName,
    /// The role that asked for it.
    pub role: Role,
    /// How it is.
    pub state: State,
    /// Since when: Unix time in milliseconds.
    pub since_ms: u64,
    /// Why it is in this state, with the culprit and the next step where there is one.
    pub because: String,
    /// Its main process, if it runs.
    pub pid: Option<u32>,
    /// How often it was started again since the supervisor first started it.
    pub restarts: u32,
    /// Resident memory of its main process in bytes.
    pub rss_bytes: u64,
    /// What the service says of itself, if it answered.
    pub report: Option<Report>,
}

/// How a service is, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Doing what it is for.
    Serving,
    /// Serving, but something is wrong: a worker is down, a backend is out, replication lags.
    Degraded,
    /// Not yet serving.
    Starting,
    /// Ending as asked.
    Stopping,
    /// Ended as asked.
    Stopped,
    /// Not serving; tried again after a pause.
    Failed,
}

impl State {
    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Serving => "serving",
            State::Degraded => "degraded",
            State::Starting => "starting",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::Failed => "failed",
        }
    }
}

/// What a service says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How it is, in its own opinion.
    pub state: State,
    /// Why.
    pub because: String,
    /// Facts for the table, in order: `("replica", "0.0 s behind db1")`.
    pub facts: Vec<(String, String)>,
    /// Its parts: workers, backends, the database process.
    pub parts: Vec<Part>,
    /// Totals since it started; names as Prometheus writes them: `requests_total`.
    pub counters: BTreeMap<String, u64>,
}

/// The name of the fact that says what a service is at before it can serve, where that may take long and has a deadline of its own:
/// nobody else gives up on it meanwhile.
pub const PREPARING: &str = "preparing";

impl Report {
    /// See [`PREPARING`].
    pub fn preparing(&self) -> Option<&str> {
        self.facts.iter().find(|(name, _)| name == PREPARING).map(|(_, what)| what.as_str())
    }
}

/// A part of a service: a worker, a backend, `mariadbd`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// `worker 0`, `web1`, `mariadbd`.
    pub name: String,
    /// How it is.
    pub state: State,
    /// Since when: Unix time in milliseconds.
    pub since_ms: u64,
    /// Why.
    pub because: String,
    /// Its process, if it is one of this server.
    pub pid: Option<u32>,
}

/// What is to be taken out of the caches of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purge {
    /// What is stored at these addresses.
    Addresses(Vec<Address>),
    /// Every answer that has one of these in its `Cache-Tag` or `Surrogate-Key`.
    Tags(Vec<String>),
    /// Everything.
    Everything,
}

/// Where an answer is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// As visitors write it, with its port if they write one; every host if `None`.
    pub host: Option<String>,
    /// Path and query.
    pub target: String,
}

/// What a service has taken out of its cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// `web`.
    pub service: ServiceName,
    /// At how many addresses there was something; by HTTP and by HTTPS are two.
    pub addresses: u64,
}

/// Why something asked for was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong, naming the culprit.
    pub error: String,
    /// The next step, if one is known.
    pub hint: Option<String>,
}
