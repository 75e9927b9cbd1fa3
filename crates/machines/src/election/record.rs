//! What the members of the cluster agree on: the values of the store's keys, without their encoding.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::gtid::Position;

/// The name of a database server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Server(pub String);

impl From<&str> for Server {
    fn from(name: &str) -> Self {
        Server(name.to_owned())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The number of a change of the store; see `node::store::Revision`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// The number of a leadership: the revision at which the leader's key was made. Later ones are higher; zero is before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `database/leader`: who may become or be the primary. It lives by a lease; the revision at which it was made is the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leader {
    /// Who.
    pub server: Server,
    /// Where its MariaDB listens.
    pub address: SocketAddr,
}

/// `database/cluster`: the record that safety rests on. It is changed only by the leader, comparing its own revision and the
/// epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cluster {
    /// The last leadership that was recorded. A leader whose own is another one has not been promoted (yet).
    pub epoch: Epoch,
    /// Whose data hold every acknowledged write.
    pub primary: Server,
    /// The primary has only been named by the one before it (a switchover) and has not led yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub designated: bool,
    /// S: the only ones that may acknowledge. The furthest of them has every acknowledged write; if there is none, the
    /// primary alone has.
    pub sync: BTreeSet<Server>,
    /// What is promised.
    pub mode: Mode,
    /// The last leaderships, newest last; see [`Cluster::REIGNS_MAX`].
    pub history: Vec<Reign>,
}

impl Cluster {
    /// How many reigns are remembered. Who was away for more of them is cloned anew; each has about 200 bytes, and etcd's
    /// values may have 1.5 MB.
    pub const REIGNS_MAX: usize = 64;
}

/// What a primary promises for an acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Its own disk has it.
    Async,
    /// A replica has it too; without any replica the primary's own disk, and then nobody is promoted.
    Available,
    /// A replica has it too; without any, writes wait.
    Strict,
}

/// One leadership.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reign {
    /// Its number.
    pub epoch: Epoch,
    /// Whose.
    pub primary: Server,
    /// With what it began; what another server had beyond it belongs to no history.
    pub from_gtid: Position,
    /// Why it came to be, in words.
    pub because: String,
    /// When it was written down, Unix time in milliseconds; for the eyes only, and 0 until whoever writes it down has a clock.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at_ms: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// `database/members/NAME`: what a member says of itself. Only itself writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The last leadership whose writes it took, as primary or replica: all its data are of this one or earlier ones.
    pub epoch: Epoch,
    /// What it is up to.
    pub state: State,
    /// What it has applied.
    pub gtid_current: Position,
    /// What it has received; never behind what it has applied.
    pub gtid_received: Position,
    /// Whether it receives. It says more before it does more, and less after it does less: what is written here is the most
    /// that can be happening. A promotion compares the revisions of the records that say "no".
    pub receiving: Receiving,
    /// It is to receive, and is not connected to whom it replays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adrift: bool,
    /// Why it could not be promoted if it were asked to, in words.
    pub unfit: Option<String>,
    /// Rises with every second that it lives.
    pub beat: u64,
    /// Why it is in this state, in words.
    pub because: String,
}

/// Whether a replica receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Receiving {
    /// No: frozen, or a primary. It can acknowledge nothing.
    No,
    /// Yes, without acknowledging.
    Silently,
    /// Yes, and it acknowledges.
    Acknowledging,
}

/// What a member is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has just started, or its server or the store does not answer yet.
    Booting,
    /// It replays the primary, or waits for one with its replication stopped.
    Replica,
    /// It has no primary and asks to be the next.
    Candidate,
    /// It leads and is not open yet.
    Promoting,
    /// It takes the writes.
    Primary,
    /// It took the writes and does not any more.
    Demoting,
    /// It was a primary, or apart, and is made a replica of its data.
    Rejoining,
    /// Its data are copied anew from another.
    Cloning,
}

impl State {
    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Booting => "booting",
            State::Replica => "replica",
            State::Candidate => "candidate",
            State::Promoting => "promoting",
            State::Primary => "primary",
            State::Demoting => "demoting",
            State::Rejoining => "rejoining",
            State::Cloning => "cloning",
        }
    }
}

/// `database/orders`: what an operator asked for. There is at most one: it is written where there is none, and deleted by
/// who carries it out or finds that it cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    /// What.
    #[serde(flatten)]
    pub wish: Wish,
    /// When, Unix time in milliseconds; for the eyes only.
    pub asked_ms: u64,
}

/// What an operator may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Wish {
    /// The primary hands over, losing nothing.
    Switchover {
        /// To whom; to the furthest replica if `None`.
        to: Option<Server>,
    },
    /// There is no leader, and somebody shall be.
    Failover {
        /// Who; the furthest if `None`, which `force` does not allow.
        to: Option<Server>,
        /// Also without asking every member of S: what only they have is lost.
        force: bool,
    },
    /// A replica throws its data away and copies them anew.
    Rejoin {
        /// Which.
        server: Server,
    },
}
