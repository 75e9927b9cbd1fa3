//! What clients did and were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Something that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A row with a number that nobody else inserts.
    Insert {
        /// The number.
        id: u64,
    },
    /// Adds a value, that nobody else adds, to the end of a list.
    Append {
        /// Which list.
        list: u64,
        /// The value.
        value: u64,
    },
    /// What a register holds.
    Read {
        /// Which.
        register: u64,
    },
    /// Puts `to`, which nobody else puts anywhere, where `from` is.
    CompareAndSet {
        /// Which register.
        register: u64,
        /// What must be there.
        from: u64,
        /// What is there then.
        to: u64,
    },
}

/// What the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The register holds this.
    Value(u64),
    /// It holds something else than was compared.
    Missed,
    /// It was refused, and so is not done.
    Refused,
    /// Nothing, or something that leaves it open: it may be done or not.
    Unknown,
}

/// One operation of a client; times since the beginning of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What.
    pub action: Action,
    /// When it was sent.
    pub sent: Duration,
    /// When the answer came, or was waited for no longer.
    pub ended: Duration,
    /// The answer.
    pub answer: Answer,
}

/// An INSERT that a server, asked directly, said is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which server.
    pub server: String,
    /// When it was sent.
    pub sent: Duration,
    /// When the answer came.
    pub ended: Duration,
}

/// Everything that clients did and were told, in any order.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Through the endpoint.
    pub ops: Vec<Op>,
    /// At each server.
    pub probes: Vec<Probe>,
    /// When each read through the endpoint for readers was answered.
    pub reads: Vec<Duration>,
}

/// What the database holds in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The rows.
    pub inserted: BTreeSet<u64>,
    /// The lists, by number.
    pub lists: BTreeMap<u64, Vec<u64>>,
    /// The registers, by number.
    pub registers: BTreeMap<u64, u64>,
}
