//! What the connections of one thread share.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Cache};
use tokio::sync::watch;

use crate::access::AccessLog;
use crate::codec::{Request, Response};
use crate::config::Config;
use crate::counters::Counters;
use crate::encoding::pages::Squeezers;
use crate::files::Shelf;
use crate::http2::{Peers, Wide};
use crate::idle::Idle;
use crate::observe::{Lane, Scene};
use crate::patience;
use crate::spares::{Buffers, Spares};
use crate::splice::Pipes;
use crate::trace::{Id, Ids};
use crate::wire::Scratch;

/// One thread's part of the engine.
pub(crate) struct Worker {
    pub(crate) config: Followed,
    pub(crate) counters: Arc<Counters>,
    pub(crate) scene: Arc<Scene>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) log: AccessLog,
    pub(crate) scratch: Scratch,
    pub(crate) idle: Idle,
    pub(crate) buffers: Buffers,
    pub(crate) requests: Spares<Box<Request>>,
    pub(crate) responses: Spares<Box<Response>>,
    pub(crate) pipes: Pipes,
    pub(crate) stop: watch::Receiver<bool>,
    stopping: Cell<bool>,
    pub(crate) shelf: Shelf,
    /// Connections to backends by HTTP/2.
    pub(crate) peers: Peers,
    pub(crate) wide: Wide,
    pub(crate) dates: Dates,
    pub(crate) ids: Ids,
    pub(crate) squeezers: Squeezers,
}

impl Worker {
    pub(crate) fn new(config: Arc<ArcSwap<Config>>, scene: Arc<Scene>, stop: watch::Receiver<bool>) -> Worker {
        let counters = scene.counters.clone();
        let (log, lane) = (AccessLog::new(counters.clone()), counters.lanes.open());
        Worker {
            config: Followed::new(config),
            counters,
            scene,
            lane,
            log,
            scratch: Scratch::new(),
            idle: Idle::default(),
            buffers: Buffers::default(),
            requests: Spares::default(),
            responses: Spares::default(),
            pipes: Pipes::default(),
            stopping: Cell::default(),
            stop,
            shelf: Shelf::new(),
            peers: Peers::default(),
            wide: Wide::default(),
            dates: Dates::default(),
            ids: Ids::new(),
            squeezers: Squeezers::default(),
        }
    }

    /// Whether the engine ends: answers then say that the connection closes.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Waits until the engine ends, and tells everyone on this thread.
    pub(crate) async fn stopped(&self) {
        // Nobody left who could say stop is the same as stop.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
        self.stopping.set(true);
        patience::end();
    }

    /// Lets go of what was kept and not used.
    pub(crate) fn sweep(&self) {
        self.config.look(|_| ());
        self.idle.sweep();
        self.shelf.age();
        self.buffers.sweep();
        self.requests.sweep();
        self.responses.sweep();
        self.pipes.sweep();
    }

    /// An id that no other request of the site has.
    pub(crate) fn id(&self) -> Id {
        self.ids.next()
    }
}

/// What the engine follows. Each thread keeps what it saw last, and looks whether that has changed: to take it anew costs locked
/// instructions, and every request asks twice.
pub(crate) struct Followed(RefCell<Cache<Arc<ArcSwap<Config>>, Arc<Config>>>);

impl Followed {
    fn new(config: Arc<ArcSwap<Config>>) -> Followed {
        Followed(RefCell::new(Cache::new(config)))
    }

    /// What it follows now, for as long as it is held.
    pub(crate) fn get(&self) -> Arc<Config> {
        self.0.borrow_mut().load().clone()
    }

    /// What is to be known of it at once.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Config) -> T) -> T {
        at(self.0.borrow_mut().load())
    }
}

/// The `Date` line of an answer, written once a second (RFC 9110 § 6.6.1).
#[derive(Default)]
pub(crate) struct Dates(RefCell<(u64, Vec<u8>)>);

impl Dates {
    /// Appends the line for the time `now`.
    pub(crate) fn put(&self, now: SystemTime, out: &mut Vec<u8>) {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut kept = self.0.borrow_mut();
        if kept.0 != second {
            *kept = (second, format!("Date: {}\r\n", httpdate::fmt_http_date(now)).into_bytes());
        }
        out.extend_from_slice(&kept.1);
    }
}
