//! What the connections of one thread share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::access::AccessLog;
use crate::config::Config;
use crate::counters::Counters;
use crate::idle::Idle;
use crate::observe::Lane;
use crate::trace::{Id, Ids};
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
    pub(crate) ids: Ids,
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
    pub(crate) fn id(&self) -> Id {
        self.ids.next()
    }
}
