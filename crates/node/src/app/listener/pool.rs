//! Which worker takes a request, and how long a request waits for one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::command::Address;

/// How long a request is held while no worker is free: a restart takes one to two seconds, and a visitor waits.
const HOLD_MAX: Duration = Duration::from_secs(10);
/// Requests held at once; more would only be answered late, each with its memory held meanwhile.
const HELD_MAX: usize = 512;

/// A death is noticed by the kernel's signal within milliseconds.
const SETTLE_MAX: Duration = Duration::from_millis(50);

/// The workers that take requests now, and how many each has.
pub(in super::super) struct Pool {
    open: watch::Receiver<Vec<Option<Address>>>,
    each_max: usize,
    load: Mutex<Load>,
    freed: Notify,
}

#[derive(Default)]
struct Load {
    busy: Vec<usize>,
    next: usize,
    held: usize,
}

/// Why no worker was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nobody {
    /// None became free in [`HOLD_MAX`].
    InTime,
    /// Too many requests wait already.
    Crowded,
}

/// A worker's place for one request, given back when dropped.
pub(super) struct Lease {
    pool: Arc<Pool>,
    worker: usize,
    /// Where the worker listens.
    pub address: Address,
}

impl Pool {
    /// `open` says who takes requests; each at most `each_max` at a time.
    pub fn new(open: watch::Receiver<Vec<Option<Address>>>, each_max: usize) -> Pool {
        Pool { open, each_max, load: Mutex::default(), freed: Notify::new() }
    }

    /// Whether any worker takes requests.
    pub fn is_open(&self) -> bool {
        self.open.borrow().iter().any(Option::is_some)
    }

    /// The worker with the fewest requests, in turn among equals; waits for one if need be.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, Nobody> {
        let _held = match self.choose() {
            Some(lease) => return Ok(lease),
            None => Held::enter(self)?,
        };
        let deadline = Instant::now() + HOLD_MAX;
        let mut open = self.open.clone();
        loop {
            // Asked for before looking, so that what is freed in between is not missed.
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            open.mark_unchanged();
            if let Some(lease) = self.choose() {
                return Ok(lease);
            }
            let news = async {
                tokio::select! {
                    () = &mut freed => {}
                    changed = open.changed() => if changed.is_err() { std::future::pending().await },
                }
            };
            timeout_at(deadline, news).await.map_err(|_| Nobody::InTime)?;
        }
    }

    /// Waits a moment for news of a worker that was just found dead, before another is asked.
    pub(super) async fn settle(&self) {
        let _ = timeout(SETTLE_MAX, self.open.clone().changed()).await;
    }

    fn choose(self: &Arc<Self>) -> Option<Lease> {
        let open = self.open.borrow();
        let mut load = self.load();
        load.busy.resize(open.len(), 0);
        let count = open.len();
        let worker = (0..count)
            .map(|step| (load.next + step) % count)
            .filter(|worker| open[*worker].is_some() && load.busy[*worker] < self.each_max)
            .min_by_key(|worker| load.busy[*worker])?;
        load.busy[worker] += 1;
        load.next = worker + 1;
        Some(Lease { pool: self.clone(), worker, address: open[worker].clone()? })
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(busy) = self.pool.load().busy.get_mut(self.worker) {
            *busy = busy.saturating_sub(1);
        }
        self.pool.freed.notify_one();
    }
}

/// A request that waits.
struct Held<'a>(&'a Pool);

impl<'a> Held<'a> {
    fn enter(pool: &'a Pool) -> Result<Held<'a>, Nobody> {
        let mut load = pool.load();
        if load.held >= HELD_MAX {
            return Err(Nobody::Crowded);
        }
        load.held += 1;
        Ok(Held(pool))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.load().held -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(number: usize) -> Option<Address> {
        Some(Address::Unix(format!("w{number}").into()))
    }

    fn pool(open: Vec<Option<Address>>, each_max: usize) -> (watch::Sender<Vec<Option<Address>>>, Arc<Pool>) {
        let (sender, receiver) = watch::channel(open);
        (sender, Arc::new(Pool::new(receiver, each_max)))
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    }

    #[test]
    fn workers_take_turns_and_a_busy_one_is_spared() {
        let (_sender, pool) = pool(vec![worker(0), None, worker(2)], 2);
        let taken: Vec<Lease> = (0..4).map(|_| pool.choose().unwrap()).collect();
        assert_eq!(taken.iter().map(|lease| lease.worker).collect::<Vec<_>>(), [0, 2, 0, 2]);
        assert!(pool.choose().is_none());
        drop(taken.into_iter().nth(1));
        assert_eq!(pool.choose().unwrap().worker, 0);
    }

    #[test]
    fn a_request_waits_for_a_free_place_or_a_new_worker() {
        runtime().block_on(async {
            let (sender, pool) = pool(vec![worker(0), None], 1);
            let first = pool.lease().await.unwrap();
            let waits = tokio::spawn({
                let pool = pool.clone();
                async move { pool.lease().await.map(|lease| lease.worker) }
            });
            tokio::task::yield_now().await;
            drop(first);
            assert_eq!(waits.await.unwrap(), Ok(0));

            let _first = pool.lease().await.unwrap();
            let (second, ()) = tokio::join!(pool.lease(), async {
                tokio::task::yield_now().await;
                sender.send_replace(vec![worker(0), worker(1)]);
            });
            assert_eq!(second.unwrap().worker, 1);
        });
    }

    #[test]
    fn waiting_has_an_end_in_time_and_number() {
        runtime().block_on(async {
            let (_sender, pool) = pool(vec![None], 1);
            assert_eq!(pool.lease().await.err(), Some(Nobody::InTime));
            let crowd: Vec<_> = (0..HELD_MAX)
                .map(|_| {
                    let pool = pool.clone();
                    tokio::spawn(async move { pool.lease().await.is_err() })
                })
                .collect();
            while pool.load().held < HELD_MAX {
                tokio::task::yield_now().await;
            }
            assert_eq!(pool.lease().await.err(), Some(Nobody::Crowded));
            for waiting in crowd {
                assert!(waiting.await.unwrap());
            }
            assert_eq!(pool.load().held, 0);
        });
    }
}
