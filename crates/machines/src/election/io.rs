//! What the machine is told, and what it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reason::Reason;
use super::record::{Cluster, Leader, Member, Mode, Order, Revision, Server, State};
use crate::Time;
use crate::database::Thread;
use crate::gtid::Position;

/// What the declaration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This server.
    pub me: Server,
    /// Every database server and where its MariaDB listens, in the order of the file: the first is the declared primary.
    pub members: Vec<(Server, SocketAddr)>,
    /// Whether somebody is promoted without being asked to. Never with [`Mode::Async`].
    pub automatic: bool,
    /// What is promised.
    pub mode: Mode,
    /// How long things may take.
    pub timing: Timing,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The leader closes this long before its lease ends. A close takes some milliseconds; the kernel's dead-man rule is set
    /// to the same instant.
    pub margin: Duration,
    /// Until a step on the local server counts as failed: more than any statement of ours takes, less than a lease, which must
    /// not end while something hangs.
    pub step: Duration,
    /// Until a step counts as failed that has work to do in proportion to the data: [`Step::Rescue`], [`Step::Start`] of a
    /// server that has no data directory yet, [`Step::Prepare`].
    pub long_step: Duration,
    /// Until a transaction with the store counts as failed.
    pub transaction: Duration,
    /// Until a clone counts as failed. What hangs is noticed piece by piece by who copies; this is for the size of the data: with
    /// an hour, half a terabyte would be copied again and again and never come to an end.
    pub clone: Duration,
    /// From the lease's end until a former leader that S could replace takes the lead again by itself.
    pub patience: Duration,
    /// Until others take over what was handed to somebody who does not take it.
    pub designation: Duration,
    /// How long each next one of several equally far candidates lets the ones before it go first.
    pub turn: Duration,
    /// Until a leader that cannot be promoted gives up.
    pub promotion: Duration,
    /// How long a leader that gave up does not ask for the lead again.
    pub unfit: Duration,
    /// How long a new primary waits for a replica before it opens alone ([`Mode::Available`]).
    pub joining: Duration,
    /// How long a member of S may be away, or acknowledge nothing that waits, before it is taken out.
    pub absence: Duration,
    /// How long a replica must have been well before it is taken into S.
    pub steady: Duration,
    /// How long writes may wait for a replica that is being taken into an empty S.
    pub admission: Duration,
    /// Until what failed is tried again.
    pub retry: Duration,
    /// How long a switchover may keep the writes waiting before it is given up.
    pub handover: Duration,
    /// Between two signs of life of a member.
    pub beat: Duration,
    /// Between two of its positions while somebody waits for them.
    pub eager: Duration,
    /// Between two looks while a primary hands over: writes wait for each.
    pub handing: Duration,
    /// Between two of its records of which only the words differ.
    pub words: Duration,
    /// Between two tries whether a replica acknowledges of which that is not certain.
    pub doubt: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Timing {
            margin: ms(500),
            step: ms(2_000),
            long_step: Duration::from_secs(60),
            transaction: ms(1_500),
            clone: Duration::from_secs(24 * 3_600),
            patience: ms(2_000),
            designation: ms(1_000),
            turn: ms(150),
            promotion: Duration::from_secs(30),
            unfit: Duration::from_secs(10),
            joining: ms(1_000),
            absence: ms(1_500),
            steady: ms(500),
            admission: ms(500),
            retry: ms(200),
            handover: ms(1_000),
            beat: ms(1_000),
            eager: ms(20),
            handing: ms(5),
            words: ms(200),
            doubt: ms(10_000),
        }
    }
}

/// The number of something that was asked for. They rise; zero was never asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(pub u64);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// A look at the local server; due each [`super::Election::pace`] and after every step.
    Observed(Box<Observed>),
    /// The whole of the store's keys, as of one revision: at the beginning, and when a watch could not be resumed.
    Listed(Box<Mirror>),
    /// Keys were written or deleted. In the order of revisions, none left out. What a transaction of our own wrote comes in
    /// this way too. What one transaction wrote is best told at once: between its parts there is nothing worth acting on.
    Changed(Vec<Change>),
    /// The store cannot be reached (`false`), or can again. With `true`, everything missed comes before it or a list.
    Connected(bool),
    /// The leader's lease is held until then: counted from before the request was sent. Comes after every keep-alive, and
    /// *before* the answer to the transaction that wrote the leader's key.
    Lease {
        /// On this machine's clock.
        until: Time,
    },
    /// The store says that the lease has ended.
    LeaseEnded,
    /// A step came to an end.
    Acted {
        /// Which.
        id: StepId,
        /// How; why not, in words.
        result: Result<(), String>,
    },
    /// A transaction came to an end.
    Transacted {
        /// Which.
        id: StepId,
        /// How.
        swap: Swap,
    },
}

/// The answer to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// Done, as this revision.
    Done(Revision),
    /// Something was not as compared; nothing is changed.
    Conflict,
    /// It may have been done, or not.
    Unknown,
}

/// A value with the revisions of its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// When the key was made.
    pub created: Revision,
    /// When it was last written.
    pub changed: Revision,
}

/// The store's keys as they were at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// As of which change.
    pub at: Revision,
    /// `database/leader`.
    pub leader: Option<Entry<Leader>>,
    /// `database/cluster`.
    pub cluster: Option<Entry<Cluster>>,
    /// `database/members/…`.
    pub members: BTreeMap<Server, Entry<Member>>,
    /// `database/orders`.
    pub order: Option<Entry<Order>>,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As which revision.
    pub at: Revision,
    /// What the key holds now.
    pub now: Value,
}

/// A key and what it holds; `None` if it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `database/leader`.
    Leader(Option<Entry<Leader>>),
    /// `database/cluster`.
    Cluster(Option<Entry<Cluster>>),
    /// `database/members/NAME`.
    Member(Server, Option<Entry<Member>>),
    /// `database/orders`.
    Order(Option<Entry<Order>>),
}

/// A look at the local server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// The last local step that had come to an end before the look began.
    pub after: StepId,
    /// Whether MariaDB runs.
    pub process: Process,
    /// `@@read_only`. This and all below as they were last if it does not answer.
    pub read_only: bool,
    /// `@@rpl_semi_sync_master_enabled`.
    pub semi_sync: bool,
    /// Whether schemas and accounts were brought up to the plan by [`Step::Prepare`] since the role started.
    pub prepared: bool,
    /// Commits that wait for an acknowledgement: `Rpl_semi_sync_master_wait_sessions`.
    pub waiting: u64,
    /// Commits that got one: `Rpl_semi_sync_master_yes_tx`.
    pub acknowledged: u64,
    /// What is applied: the last of `@@gtid_binlog_pos` and `@@gtid_slave_pos`.
    pub current: Position,
    /// What is received, or `current` if that is further.
    pub received: Position,
    /// `SHOW SLAVE STATUS`; `None` if it replays nobody.
    pub replication: Option<Replication>,
    /// The relay log holds transactions that are not applied and that a start of the threads would throw away: the server was
    /// started anew since they were received. They are rescued first.
    pub stranded: bool,
    /// The replicas that read its binary log just now.
    pub connected: BTreeSet<Server>,
    /// The replicas that it does not let in.
    pub blocked: BTreeSet<Server>,
    /// Why it cannot write although it runs, such as a full disk.
    pub unable: Option<String>,
}

/// Whether MariaDB runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    /// It does not.
    Stopped,
    /// It does not answer yet, or no more.
    Silent,
    /// It answers.
    Running,
}

/// The replication of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replication {
    /// Whom it replays; `None` if that is no server of the plan.
    pub source: Option<Server>,
    /// Whether the receiving thread was started to acknowledge.
    pub acknowledges: bool,
    /// The thread that receives.
    pub io: Thread,
    /// The thread that applies.
    pub sql: Thread,
    /// Whether everything received is applied.
    pub drained: bool,
    /// Why a thread stopped by itself.
    pub error: Option<Trouble>,
}

/// Why a replication thread stopped by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The source does not know what this server has (1236), or what it sends does not fit: two histories.
    Diverged(String),
    /// What was received cannot be applied for another reason.
    Apply(String),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Do this with the local server. There is never more than one at a time; after `until` it must be given up, in such a
    /// way that no statement of it takes effect later.
    Act {
        /// Its number, for [`Input::Acted`].
        id: StepId,
        /// When it is too late.
        until: Time,
        /// What.
        step: Step,
    },
    /// Do this with the store. There is never more than one at a time.
    Transact {
        /// Its number, for [`Input::Transacted`].
        id: StepId,
        /// When it is too late.
        until: Time,
        /// What.
        transaction: Transaction,
    },
    /// The state, or why it is so, is another one.
    Changed {
        /// Which.
        state: State,
        /// Why.
        because: Reason,
    },
}

/// Something to do with the local server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Start MariaDB, closed and with its replication stopped; make its data directory if it has none. Ends when the process
    /// runs, not when it answers.
    Start(Recovery),
    /// End MariaDB at once, without letting its clients' transactions finish (SIGKILL).
    Kill,
    /// Let no client write: `read_only = 1`, and cut the clients' connections. Fails rather than wait for commits.
    Close,
    /// Let clients write.
    Open,
    /// Have commits wait for an acknowledgement without end, or no longer wait (which tells those that wait that all is well).
    SemiSync(bool),
    /// Create and correct schemas and accounts, if they are not as planned.
    Prepare,
    /// Make sure that the applying thread runs, *then* stop the receiving one, and never the other way round.
    Freeze,
    /// Apply what a relay log holds that a start of the threads would throw away.
    Rescue,
    /// Forget whom it replays (`STOP SLAVE; RESET SLAVE ALL`): everything received is applied.
    Promote,
    /// [`Step::Freeze`], wait until what was received is applied, and [`Step::Promote`], without being asked between: for who was
    /// named by a primary that has closed. Fails, frozen, if that does not get done in time.
    TakeOver,
    /// Replay `source` from where it stands, both threads running, acknowledging or not. Nothing received and not applied may
    /// be thrown away on the way. A former primary is demoted (`MASTER_DEMOTE_TO_SLAVE=1`).
    Follow {
        /// Whom.
        source: Server,
        /// Whether it acknowledges.
        acknowledge: bool,
    },
    /// Copy all data anew from another server, as replica of nobody yet. The data directory before is kept aside, with what
    /// only it has in readable form.
    Clone {
        /// Whom.
        from: Server,
    },
    /// As a primary: end the replica's connection to the binary log, and let it in no more.
    Block(Server),
    /// Let it in again.
    Unblock(Server),
    /// As a primary: write something without meaning, and do not wait for it. Whether a replica still acknowledges is seen by
    /// nothing else.
    Nudge,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Start(Recovery::Whole) => f.write_str("start MariaDB"),
            Step::Start(Recovery::Truncated) => f.write_str("start MariaDB without its unacknowledged end"),
            Step::Kill => f.write_str("end MariaDB"),
            Step::Close => f.write_str("close"),
            Step::Open => f.write_str("open"),
            Step::SemiSync(true) => f.write_str("have commits wait for replicas"),
            Step::SemiSync(false) => f.write_str("have commits wait for nobody"),
            Step::Prepare => f.write_str("correct schemas and accounts"),
            Step::Freeze => f.write_str("stop receiving"),
            Step::Rescue => f.write_str("apply the relay log of before the crash"),
            Step::Promote => f.write_str("become a primary"),
            Step::TakeOver => f.write_str("apply all and become a primary"),
            Step::Follow { source, acknowledge: true } => write!(f, "replay {source} and acknowledge"),
            Step::Follow { source, acknowledge: false } => write!(f, "replay {source}"),
            Step::Clone { from } => write!(f, "copy everything from {from}"),
            Step::Block(server) => write!(f, "let {server} in no more"),
            Step::Unblock(server) => write!(f, "let {server} in again"),
            Step::Nudge => f.write_str("see whether replicas acknowledge"),
        }
    }
}

/// What MariaDB does at its start with transactions that are in its binary log and were never acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recovery {
    /// It commits them: right for who is, or will be, the primary, and for a replica.
    Whole,
    /// It takes them out (`--init-rpl-role=SLAVE`): only for a former primary of which the store says that another leads.
    Truncated,
}

/// A change of the store, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// What must be so.
    pub compares: Vec<Compare>,
    /// What is then done, in this order.
    pub writes: Vec<Write>,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `database/leader`.
    Leader,
    /// `database/cluster`.
    Cluster,
    /// `database/members/NAME`.
    Member(Server),
    /// `database/orders`.
    Order,
}

/// What must be so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// The key does not exist.
    Absent(Key),
    /// It exists and was made at this revision.
    Created(Key, Revision),
    /// It exists and was last written at this revision.
    Changed(Key, Revision),
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// `database/leader`, living by this process's lease. If it holds none, it is granted first; held as long as
    /// [`super::Election::leads`]. Written over a key that exists, it moves it to the new lease and keeps its epoch.
    Leader(Leader),
    /// `database/cluster`.
    Cluster(Cluster),
    /// `database/members/ME`.
    Member(Server, Member),
    /// Deletes a key.
    Delete(Key),
}
