//! Visitors with browsers: each keeps its connection and its cookies, reads a page, posts a form, follows the redirect.

mod browser;
mod tally;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use self::browser::Browser;
pub use self::tally::{Moment, Tally, Visit, What, tally};
use crate::namespace;

/// Between two requests of one visitor.
const PAUSE: Duration = Duration::from_millis(40);
/// At once. With the pause they make up to two hundred requests a second, which two cores bear beside a whole site.
const VISITORS: u64 = 8;

/// Where the site is.
#[derive(Clone, Debug)]
pub struct Door {
    /// The network namespace of the visitors.
    pub namespace: String,
    /// Where the site answers HTTP.
    pub address: SocketAddr,
    /// What it is called.
    pub host: String,
}

/// Visitors at work.
pub struct Visitors {
    shared: Arc<Shared>,
    thread: JoinHandle<anyhow::Result<()>>,
}

struct Shared {
    door: Door,
    begun: Instant,
    ending: AtomicBool,
    visits: Mutex<Vec<Visit>>,
    next: AtomicU64,
    acknowledged: AtomicU64,
}

impl Visitors {
    /// Has them come.
    pub fn start(door: Door) -> Visitors {
        let shared = Arc::new(Shared {
            door,
            begun: Instant::now(),
            ending: AtomicBool::new(false),
            visits: Mutex::default(),
            next: AtomicU64::new(1),
            acknowledged: AtomicU64::new(0),
        });
        let all = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let namespace = all.door.namespace.clone();
            namespace::within(&namespace, || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(come(all));
                Ok(())
            })?
        });
        Visitors { shared, thread }
    }

    /// How long they have been coming: the clock of [`Visit`]s.
    pub fn now(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    /// How many posts were acknowledged until now.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets them finish what they are at, and returns what they saw.
    ///
    /// # Errors
    /// If their namespace was gone.
    pub fn end(self) -> anyhow::Result<Vec<Visit>> {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the visitors panicked"))??;
        Ok(std::mem::take(&mut *self.shared.visits()))
    }
}

async fn come(shared: Arc<Shared>) {
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..VISITORS {
        all.spawn(visitor(Arc::clone(&shared)));
    }
    while all.join_next().await.is_some() {}
}

async fn visitor(shared: Arc<Shared>) {
    let mut clock = interval(PAUSE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut browser = Browser::new(shared.door.clone());
    while !shared.ends() {
        let post = shared.next.fetch_add(1, Ordering::Relaxed);
        // The last one is the page that the redirect leads to.
        for what in [What::Read, What::Post(post), What::Read] {
            clock.tick().await;
            let sent = shared.begun.elapsed();
            let failed = browser.visit(&what).await.err();
            if failed.is_none() && matches!(what, What::Post(_)) {
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            let ended = shared.begun.elapsed();
            shared.visits().push(Visit { what, sent, ended, failed });
        }
    }
}

impl Shared {
    fn ends(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    fn visits(&self) -> MutexGuard<'_, Vec<Visit>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
