//! What the connections of one thread share.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::access::AccessLog;
use crate::config::Config;
use crate::counters::Counters;
use crate::idle::Idle;
use crate::observe::Lane;
use crate::wire::Scratch;

/// One thread's part of the engine.
pub(crate) struct Worker {
    pub(crate) config: Arc<ArcSwap<Config>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) log: AccessLog,
    pub(crate) scratch: Scratch,
    pub(crate) idle: Idle,
    pub(crate) stop: watch::Receiver<bool>,
    ids: Ids,
}

impl Worker {
    pub(crate) fn new(config: Arc<ArcSwap<Config>>, counters: Arc<Counters>, stop: watch::Receiver<bool>) -> Worker {
        let (log, lane) = (AccessLog::new(counters.clone()), counters.lanes.open());
        Worker { config, counters, lane, log, scratch: Scratch::new(), idle: Idle::default(), stop, ids: Ids::new() }
    }

    /// Whether the engine ends: answers then say that the connection closes.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// An id that no other request of the site has.
    pub(crate) fn id(&self) -> String {
        self.ids.next()
    }
}

/// Ids of 128 bits: 64 random ones per thread, then a count, so that none repeats.
struct Ids {
    random: u64,
    count: Cell<u64>,
}

impl Ids {
    fn new() -> Ids {
        // The standard library's hasher is keyed by the system's random source.
        Ids { random: RandomState::new().hash_one(std::thread::current().id()), count: Cell::new(0) }
    }

    fn next(&self) -> String {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        format!("{:016x}{count:016x}", self.random)
    }
}
