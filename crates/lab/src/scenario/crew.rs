//! People at work in a network namespace, on a thread of their own, until they are told to end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::namespace;

/// They all take notes on one desk.
pub(super) struct Crew<N> {
    pub(super) desk: Arc<Desk<N>>,
    thread: JoinHandle<anyhow::Result<()>>,
}

/// What they share.
pub(super) struct Desk<N> {
    begun: Instant,
    ending: AtomicBool,
    next: AtomicU64,
    done: AtomicU64,
    notes: Mutex<N>,
}

impl<N: Default + Send + 'static> Crew<N> {
    /// Has them begin.
    pub(super) fn start<W: Future<Output = ()>>(
        namespace: &str,
        work: impl FnOnce(Arc<Desk<N>>) -> W + Send + 'static,
    ) -> Crew<N> {
        let desk = Arc::new(Desk {
            begun: Instant::now(),
            ending: AtomicBool::new(false),
            next: AtomicU64::new(1),
            done: AtomicU64::new(0),
            notes: Mutex::default(),
        });
        let (namespace, theirs) = (namespace.to_owned(), Arc::clone(&desk));
        let thread = std::thread::spawn(move || {
            namespace::within(&namespace, || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(work(theirs));
                Ok(())
            })?
        });
        Crew { desk, thread }
    }

    /// Lets them finish what they are at, and returns their notes.
    pub(super) fn end(self) -> anyhow::Result<N> {
        self.desk.ending.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("whoever was at work panicked"))??;
        Ok(std::mem::take(&mut *self.desk.notes()))
    }
}

impl<N> Desk<N> {
    /// How long they have been at work: the clock of all notes.
    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether they are to end.
    pub(super) fn ends(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// A number that nobody else gets.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts one more of what they are after.
    pub(super) fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were counted.
    pub(super) fn counted(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// What was noted. Not to be held for long: everybody waits.
    pub(super) fn notes(&self) -> MutexGuard<'_, N> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
