//! One request fetches, the others for the same address wait for what it brings.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::key::Asking;
use crate::event_loop::timeout;

/// Requests that wait, over all addresses: as many as a pool's queue takes; more go to the origin by themselves.
const WAITING_MAX: u64 = 1000;
/// How long an address is remembered as one whose answers are not stored, so that nobody waits for nothing: two minutes, as
/// Varnish's hit-for-miss.
const APART_FOR: Duration = Duration::from_secs(120);
/// Addresses remembered so; who falls out of it waits once more. 32 KiB.
const APART_MAX: usize = 4096;

/// Fetches under way.
pub(super) struct Flights {
    /// By the hash of their address: two addresses with one hash would only wait for each other.
    under_way: Mutex<HashMap<u64, watch::Receiver<()>>>,
    waiting: AtomicU64,
    apart: Box<[AtomicU64]>,
    began: Instant,
}

/// What a request has to do that finds nothing of use.
pub(crate) enum Turn {
    /// Fetch; whoever comes meanwhile waits for it.
    Lead(Lead),
    /// Wait.
    Wait(Wait),
    /// Fetch, whatever others do.
    Apart,
}

/// The place of the one that fetches; given up when dropped.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    hash: u64,
    /// Dropped, it wakes those who wait.
    _landed: watch::Sender<()>,
}

/// The place of one that waits.
pub(crate) struct Wait {
    flights: Arc<Flights>,
    landed: watch::Receiver<()>,
}

impl Flights {
    pub(super) fn new(now: Instant) -> Arc<Flights> {
        let apart = (0..APART_MAX).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Flights { under_way: Mutex::default(), waiting: AtomicU64::new(0), apart, began: now })
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, watch::Receiver<()>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn turn(self: &Arc<Flights>, asking: &Asking<'_>, now: Instant) -> Turn {
        if self.is_apart(asking.hash(), now) {
            return Turn::Apart;
        }
        let mut table = self.table();
        if let Some(landed) = table.get(&asking.hash()) {
            let wait = Wait { flights: self.clone(), landed: landed.clone() };
            // Counted out when `wait` is dropped.
            let before = self.waiting.fetch_add(1, Ordering::Relaxed);
            return if before < WAITING_MAX { Turn::Wait(wait) } else { Turn::Apart };
        }
        let (landed, told) = watch::channel(());
        table.insert(asking.hash(), told);
        Turn::Lead(Lead { flights: self.clone(), hash: asking.hash(), _landed: landed })
    }

    /// The upper half of a hash, and when it was noted.
    fn mark(&self, hash: u64, now: Instant) -> u64 {
        // 0 is an empty place.
        let seconds = now.saturating_duration_since(self.began).as_secs() + 1;
        hash & 0xffff_ffff_0000_0000 | seconds & 0xffff_ffff
    }

    fn is_apart(&self, hash: u64, now: Instant) -> bool {
        let noted = self.apart[hash as usize % APART_MAX].load(Ordering::Relaxed);
        let mark = self.mark(hash, now);
        noted >> 32 == mark >> 32 && noted & 0xffff_ffff != 0 && mark.saturating_sub(noted) < APART_FOR.as_secs()
    }
}

impl Lead {
    /// Nothing will be stored: those who wait go on by themselves, and nobody waits at this address for a while.
    pub(crate) fn apart(self, now: Instant) {
        let mark = self.flights.mark(self.hash, now);
        self.flights.apart[self.hash as usize % APART_MAX].store(mark, Ordering::Relaxed);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.table().remove(&self.hash);
    }
}

impl Wait {
    /// Returns when the other has ended, or after `within`.
    pub(crate) async fn landed(mut self, within: Duration) {
        let _ = timeout(within, self.landed.changed()).await;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.flights.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;
    use crate::event_loop::{self, paused};

    fn asking(target: &'static str) -> Asking<'static> {
        Asking::new(&RandomState::new(), "http", "h", target)
    }

    #[test]
    fn one_leads_and_the_others_wait() {
        paused(async {
            let (now, asking) = (Instant::now(), asking("/a"));
            let flights = Flights::new(now);
            let Turn::Lead(lead) = flights.turn(&asking, now) else { panic!("the first leads") };
            let Turn::Wait(wait) = flights.turn(&asking, now) else { panic!("the second waits") };
            let began = event_loop::now();
            tokio::join!(wait.landed(Duration::from_secs(60)), async { drop(lead) });
            assert_eq!(event_loop::now() - began, Duration::ZERO);
            assert!(matches!(flights.turn(&asking, now), Turn::Lead(_)), "the place is free again");
            assert_eq!(flights.waiting.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn nobody_waits_for_ever() {
        paused(async {
            let (now, asking) = (Instant::now(), asking("/a"));
            let flights = Flights::new(now);
            let _lead = flights.turn(&asking, now);
            let Turn::Wait(wait) = flights.turn(&asking, now) else { panic!("the second waits") };
            let began = event_loop::now();
            wait.landed(Duration::from_secs(5)).await;
            assert_eq!(event_loop::now() - began, Duration::from_secs(5));
        });
    }

    #[test]
    fn the_number_of_those_who_wait_is_bounded() {
        let (now, asking) = (Instant::now(), asking("/a"));
        let flights = Flights::new(now);
        let _lead = flights.turn(&asking, now);
        let waits: Vec<Turn> = (0..WAITING_MAX).map(|_| flights.turn(&asking, now)).collect();
        assert!(waits.iter().all(|turn| matches!(turn, Turn::Wait(_))));
        assert!(matches!(flights.turn(&asking, now), Turn::Apart));
        drop(waits);
        assert!(matches!(flights.turn(&asking, now), Turn::Wait(_)));
    }

    #[test]
    fn where_nothing_is_stored_nobody_waits() {
        let (now, here) = (Instant::now(), asking("/a"));
        let flights = Flights::new(now);
        let Turn::Lead(lead) = flights.turn(&here, now) else { panic!("the first leads") };
        lead.apart(now);
        assert!(matches!(flights.turn(&here, now + APART_FOR / 2), Turn::Apart));
        assert!(matches!(flights.turn(&asking("/b"), now), Turn::Lead(_)), "elsewhere it is as ever");
        assert!(matches!(flights.turn(&here, now + APART_FOR), Turn::Lead(_)));
    }
}
