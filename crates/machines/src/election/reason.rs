//! Why things are as they are, and why somebody is not promoted.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::record::{Epoch, Server};
use crate::gtid::Position;

/// Why a member is in its state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    /// The machine was just made.
    Started,
    /// The store has not answered yet.
    StoreUnheard,
    /// The store cannot be reached.
    StoreLost,
    /// MariaDB does not answer yet.
    ServerStarting,
    /// MariaDB is not running.
    ServerDown,
    /// MariaDB runs and cannot write.
    ServerUnable {
        /// Why.
        why: String,
    },
    /// A step failed and is tried again.
    StepFailed {
        /// Which.
        step: String,
        /// Why.
        why: String,
    },
    /// There is no record yet, and these have not said what they have.
    AwaitsMembers {
        /// Who.
        silent: BTreeSet<Server>,
    },
    /// There is no record yet, and somebody else is to make it.
    AwaitsFounder {
        /// Who.
        server: Server,
    },
    /// There is no record, and two servers have different data.
    Disagree {
        /// The one.
        one: Server,
        /// The other.
        other: Server,
    },
    /// It replays the primary.
    Follows {
        /// Whom.
        server: Server,
        /// Whether it acknowledges.
        acknowledges: bool,
    },
    /// It is being pointed at its primary.
    Joins {
        /// Whom.
        server: Server,
    },
    /// Somebody leads who is not promoted yet.
    AwaitsPromotion {
        /// Whom.
        server: Server,
    },
    /// There is no leader, and it may not be the next.
    Limited {
        /// Why.
        limitation: Limitation,
    },
    /// There is no leader, and it asks to be.
    Stands,
    /// It leads the first time.
    Founded,
    /// It leads since it was the furthest of S.
    Elected {
        /// Whose place it takes.
        before: Server,
    },
    /// It leads again: nobody took its place.
    Reclaimed,
    /// It leads since the one before it named it.
    Designated {
        /// By whom.
        by: Server,
    },
    /// It leads since an operator forced it.
    Forced,
    /// Its data are being made whole before it is promoted.
    Drains,
    /// It leads and waits for a replica before it opens.
    AwaitsReplica,
    /// It takes the writes, and these acknowledge.
    Leads {
        /// S.
        sync: BTreeSet<Server>,
    },
    /// It takes the writes alone.
    LeadsAlone,
    /// It hands over.
    HandsOver {
        /// To whom.
        to: Server,
    },
    /// An operator's order was not carried out.
    OrderRefused {
        /// Why.
        limitation: Limitation,
    },
    /// A handover took too long: it goes on as before.
    HandoverFailed {
        /// To whom.
        to: Server,
    },
    /// Its lease is about to end.
    LeaseEnds,
    /// Somebody else leads.
    Deposed {
        /// Who.
        by: Server,
        /// Since which epoch.
        epoch: Epoch,
    },
    /// It lost the lead.
    LostLead,
    /// It gave the lead up since it could not be promoted.
    GaveUp {
        /// Why.
        limitation: Limitation,
    },
    /// Its data have something that the cluster's history does not.
    Diverged {
        /// Where it stands.
        at: Position,
        /// Where the histories part, if that is known.
        fork: Option<Position>,
    },
    /// An operator asked for a new copy.
    AskedToClone,
    /// It has no data yet.
    Empty,
    /// Its data cannot be used as they are.
    BeyondRepair {
        /// Why.
        why: String,
    },
    /// It applies what it had received before it crashed.
    Rescues,
}

/// Why a member may not be promoted. It names the one whose turn it is to do something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "limitation", rename_all = "kebab-case")]
pub enum Limitation {
    /// The store does not answer.
    StoreLost,
    /// There is a leader.
    Led {
        /// Who.
        by: Server,
    },
    /// There is none, and the cluster has never had a primary.
    Unfounded,
    /// Its MariaDB does not run or does not answer.
    ServerDown,
    /// `failover = "manual"`.
    Manual,
    /// `durability = "async"`: what it has not received would be lost.
    Async,
    /// S is empty: only the primary has every acknowledged write.
    Alone {
        /// Who.
        primary: Server,
    },
    /// It is not in S.
    Outside {
        /// S.
        sync: BTreeSet<Server>,
    },
    /// These of S have not stopped receiving, and may have more.
    Unfrozen {
        /// Who.
        waiting: BTreeSet<Server>,
    },
    /// It receives itself.
    Receiving,
    /// Another one has more.
    Behind {
        /// Who.
        server: Server,
    },
    /// Another one has something else.
    Apart {
        /// Who.
        server: Server,
    },
    /// It had received more before than it has now.
    LostData {
        /// What it had.
        had: Position,
    },
    /// What it received cannot be applied.
    CannotApply {
        /// Why.
        why: String,
    },
    /// Another one that is as far goes first.
    Turn {
        /// Who.
        server: Server,
    },
    /// It was the leader, and lets S find another one.
    Patience,
    /// It has just given the lead up.
    Unfit,
    /// It is not connected to the primary.
    Unconnected,
    /// No such server.
    Unknown {
        /// Its name.
        server: Server,
    },
    /// It is the primary.
    IsPrimary,
    /// It led, and was not promoted in time.
    TooSlow,
    /// Writes would wait until it is back.
    LastReplica,
}

fn names(servers: &BTreeSet<Server>) -> String {
    if servers.is_empty() {
        return "nobody".to_owned();
    }
    servers.iter().map(|server| server.0.as_str()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Started => f.write_str("just started"),
            Reason::StoreUnheard => f.write_str("the store has not answered yet"),
            Reason::StoreLost => f.write_str("the store cannot be reached"),
            Reason::ServerStarting => f.write_str("MariaDB does not answer yet"),
            Reason::ServerDown => f.write_str("MariaDB is not running"),
            Reason::ServerUnable { why } => write!(f, "MariaDB cannot write: {why}"),
            Reason::StepFailed { step, why } => write!(f, "to {step} failed and is tried again: {why}"),
            Reason::AwaitsMembers { silent } => {
                write!(
                    f,
                    "there is no record of a primary yet, and {} have not said what data they have",
                    names(silent)
                )
            }
            Reason::AwaitsFounder { server } => write!(f, "{server} has the most data and becomes the first primary"),
            Reason::Disagree { one, other } => {
                write!(
                    f,
                    "there is no record of a primary, and {one} and {other} have different data; choose one: mainstay db failover --to NAME --force"
                )
            }
            Reason::Follows { server, acknowledges: true } => write!(f, "replays {server} and acknowledges"),
            Reason::Follows { server, acknowledges: false } => write!(f, "replays {server}"),
            Reason::Joins { server } => write!(f, "joins {server}"),
            Reason::AwaitsPromotion { server } => write!(f, "{server} is being promoted"),
            Reason::Limited { limitation } => write!(f, "not promoted: {limitation}"),
            Reason::Stands => f.write_str("may be promoted and asks for the lead"),
            Reason::Founded => f.write_str("the first primary"),
            Reason::Elected { before } => {
                write!(f, "the furthest of those that acknowledged takes the place of {before}")
            }
            Reason::Reclaimed => f.write_str("nobody took its place: it leads again"),
            Reason::Designated { by } => write!(f, "{by} handed over"),
            Reason::Forced => f.write_str("an operator forced it"),
            Reason::Drains => f.write_str("applies what it received before it opens"),
            Reason::AwaitsReplica => f.write_str("waits for a replica that acknowledges before it opens"),
            Reason::Leads { sync } => write!(f, "takes the writes; acknowledged by {}", names(sync)),
            Reason::LeadsAlone => f.write_str("takes the writes alone: no replica has them for certain"),
            Reason::HandsOver { to } => write!(f, "hands over to {to}"),
            Reason::OrderRefused { limitation } => write!(f, "the order is not carried out: {limitation}"),
            Reason::HandoverFailed { to } => write!(f, "handing over to {to} took too long and was given up"),
            Reason::LeaseEnds => f.write_str("its lease ends and the store cannot be asked for another"),
            Reason::Deposed { by, epoch } => write!(f, "{by} leads since epoch {epoch}"),
            Reason::LostLead => f.write_str("it does not lead any more"),
            Reason::GaveUp { limitation } => write!(f, "gave the lead up: {limitation}"),
            Reason::Diverged { at, fork: Some(fork) } => {
                write!(
                    f,
                    "its data went on to {at} alone, the cluster's history parted at {fork}: they are copied anew"
                )
            }
            Reason::Diverged { at, fork: None } => {
                write!(f, "the primary's log does not go on from its data at {at}: they are copied anew")
            }
            Reason::AskedToClone => f.write_str("an operator asked for a new copy of the data"),
            Reason::BeyondRepair { why } => write!(f, "its data cannot be used and are copied anew: {why}"),
            Reason::Empty => f.write_str("it has no data yet"),
            Reason::Rescues => f.write_str("applies what it had received before MariaDB ended"),
        }
    }
}

impl fmt::Display for Limitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limitation::StoreLost => f.write_str("the store cannot be reached"),
            Limitation::Led { by } => write!(f, "{by} leads"),
            Limitation::Unfounded => f.write_str("the cluster has never had a primary"),
            Limitation::ServerDown => f.write_str("its MariaDB does not answer"),
            Limitation::Manual => f.write_str("failover is \"manual\": mainstay db failover does it"),
            Limitation::Async => f.write_str(
                "durability is \"async\": what it has not received would be lost; mainstay db failover --force does it",
            ),
            Limitation::Alone { primary } => write!(
                f,
                "only {primary} has every acknowledged write; it must come back, or mainstay db failover --force gives up what only it has"
            ),
            Limitation::Outside { sync } => write!(f, "only those that acknowledged may be promoted: {}", names(sync)),
            Limitation::Unfrozen { waiting } => {
                write!(f, "{} may have acknowledged more and must answer first", names(waiting))
            }
            Limitation::Receiving => f.write_str("it has not stopped receiving yet"),
            Limitation::Behind { server } => write!(f, "{server} has more"),
            Limitation::Apart { server } => {
                write!(f, "{server} has data that it does not have, and the other way round")
            }
            Limitation::LostData { had } => write!(f, "it had received {had} and has lost some of that"),
            Limitation::CannotApply { why } => write!(f, "what it received cannot be applied: {why}"),
            Limitation::Turn { server } => write!(f, "{server} is as far and goes first"),
            Limitation::Patience => f.write_str("it lost the lead and lets another one take it"),
            Limitation::Unfit => f.write_str("it has just given the lead up"),
            Limitation::Unconnected => f.write_str("no replica that may take its place reads the primary's log"),
            Limitation::Unknown { server } => write!(f, "there is no database server called {server}"),
            Limitation::IsPrimary => f.write_str("it is the primary"),
            Limitation::TooSlow => f.write_str("its promotion took too long"),
            Limitation::LastReplica => {
                f.write_str("it is the last that acknowledges, and without it writes would wait")
            }
        }
    }
}
