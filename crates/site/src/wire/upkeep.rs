//! What an operator asks of the database of a server: `POST /v1/database` with an [`Ask`], answered with [`Told`].
//!
//! What takes its time is a [`Job`]: it is begun, one at a time, and asked after with [`Ask::Job`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::State;
use super::database::{Cluster, Leader, Member, Order, Wish};
use crate::names::ServerName;

/// A question or an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// How the cluster is, as this server sees it: [`Told::View`].
    View,
    /// Writes an order into the store: [`Told::Ordered`].
    Order {
        /// What is wished for.
        wish: Wish,
    },
    /// Begins a full backup: [`Told::Job`].
    Backup {
        /// An absolute folder of the server; the declared one if `None`.
        to: Option<String>,
        /// Whether it is restored once, to see that it can be.
        test: bool,
    },
    /// Begins to bring the applications' schemas back to what they were: [`Told::Job`].
    Restore {
        /// Unix time in seconds: what was written in that second and later is left out.
        until_s: u64,
        /// The folder of the backups; the declared one if `None`.
        from: Option<String>,
    },
    /// Begins to compare the data of this server, the primary, with every replica's: [`Told::Job`].
    Verify,
    /// How the job is that was begun last: [`Told::Job`].
    Job,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub enum Told {
    /// To [`Ask::View`].
    View(Box<View>),
    /// The order is in the store.
    Ordered,
    /// A job; `None` if none was begun since the service started.
    Job {
        /// The job.
        job: Option<Job>,
    },
}

/// The cluster, as one of its servers sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Who is asked.
    pub server: ServerName,
    /// How its database is.
    pub state: State,
    /// Why.
    pub because: String,
    /// What its MariaDB says; `None` while it does not answer.
    pub local: Option<Local>,
    /// Who is the primary by the plan; what the store says, counts more.
    pub declared_primary: ServerName,
    /// What the store says; `None` where there is no coordination.
    pub store: Option<Agreed>,
    /// The last backup here that is whole, if backups are declared.
    pub backup: Option<String>,
    /// Who reads its log, as its role saw last, which decides by that.
    #[serde(default)]
    pub replicas: Vec<ServerName>,
    /// The last order that this server did not carry out, when and why.
    #[serde(default)]
    pub refused: Option<String>,
}

/// What a MariaDB says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Local {
    /// It takes no writes.
    pub read_only: bool,
    /// `@@gtid_current_pos`: what it has applied or written.
    pub gtid: String,
    /// Whom it replays.
    pub source: Option<String>,
    /// Seconds behind; `None` if it replays nobody or is not connected.
    pub lag_s: Option<u64>,
    /// What keeps its replication from running.
    pub replication_error: Option<String>,
}

/// What the servers agree on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreed {
    /// Why the store was not reached; the rest is empty then.
    pub unreachable: Option<String>,
    /// Who leads, and in which epoch.
    pub leader: Option<(Leader, u64)>,
    /// The record that safety rests on.
    pub cluster: Option<Cluster>,
    /// What members say of themselves.
    pub members: BTreeMap<String, Member>,
    /// An order that is not carried out yet.
    pub order: Option<Order>,
}

/// Something that takes its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// `backup`, `restore`, `verify`.
    pub what: String,
    /// When it was begun: Unix time in milliseconds.
    pub since_ms: u64,
    /// What is being done, or was done last.
    pub now: String,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Done; what there is to tell, in order.
    Done(Vec<(String, String)>),
    /// Not done, and why. Nothing that served before was changed, unless the text says so.
    Failed(String),
}
