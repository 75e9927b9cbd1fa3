//! What happens with every request, counted by the thread that serves it: no two threads write to one cache line, and no
//! write needs a lock. Whoever reads adds the lanes up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::counters::class;
use crate::exchange::micros;

/// Upper ends of the histogram's classes in microseconds, in steps of 1, 2.5 and 5: a file from memory takes 100 µs, what
/// takes more than 10 s is lost anyway.
pub(crate) const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// The counters of one thread, which alone writes to them.
#[derive(Default)]
pub(crate) struct Lane {
    /// Connections that wait for a request.
    idle: AtomicU64,
    /// Requests that are being answered.
    busy: AtomicU64,
    /// Requests by what they took, the last for those beyond every bound.
    took: [AtomicU64; BOUNDS_US.len() + 1],
    took_us: AtomicU64,
    bytes: AtomicU64,
    /// Answers by class: 1xx to 5xx.
    answers: [AtomicU64; 5],
}

/// The sums over all lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) idle: u64,
    pub(crate) busy: u64,
    pub(crate) took: [u64; BOUNDS_US.len() + 1],
    pub(crate) took_us: u64,
    /// Of answers' bodies.
    pub(crate) bytes: u64,
    /// Answers by class: 1xx to 5xx.
    pub(crate) answers: [u64; 5],
}

impl Sums {
    /// Answers of every class together.
    pub(crate) fn requests(&self) -> u64 {
        self.answers.iter().sum()
    }
}

/// The lanes of an engine.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<Vec<Arc<Lane>>>);

impl Lanes {
    /// A lane for the calling thread alone.
    pub(crate) fn open(&self) -> Arc<Lane> {
        let lane = Arc::new(Lane::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lane.clone());
        lane
    }

    pub(crate) fn sums(&self) -> Sums {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut sums = Sums::default();
        for lane in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sums.idle += load(&lane.idle);
            sums.busy += load(&lane.busy);
            sums.took_us += load(&lane.took_us);
            sums.bytes += load(&lane.bytes);
            sums.answers.iter_mut().zip(&lane.answers).for_each(|(sum, answers)| *sum += load(answers));
            sums.took.iter_mut().zip(&lane.took).for_each(|(sum, took)| *sum += load(took));
        }
        sums
    }
}

impl Lane {
    /// A connection waits for its next request until the guard is dropped.
    pub(crate) fn idle(&self) -> Now<'_> {
        Now::new(&self.idle)
    }

    /// A request is being answered until the guard is dropped.
    pub(crate) fn busy(&self) -> Now<'_> {
        Now::new(&self.busy)
    }

    /// A request was answered so.
    pub(crate) fn status(&self, status: u16) {
        add(&self.answers[class(status)], 1);
    }

    /// A request took so long, and its answer's body had so many bytes.
    pub(crate) fn answered(&self, took: Duration, bytes: u64) {
        add(&self.bytes, bytes);
        let us = micros(took);
        add(&self.took[BOUNDS_US.partition_point(|bound| *bound < us)], 1);
        add(&self.took_us, us);
    }
}

/// Something that is so now.
pub(crate) struct Now<'l>(&'l AtomicU64);

impl Now<'_> {
    fn new(counter: &AtomicU64) -> Now<'_> {
        add(counter, 1);
        Now(counter)
    }
}

impl Drop for Now<'_> {
    fn drop(&mut self) {
        add(self.0, u64::MAX);
    }
}

/// Adds as the only writer: a load and a store, where a locked instruction would cost twenty times as much.
fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_add_up_and_guards_give_back() {
        let lanes = Lanes::default();
        let (one, two) = (lanes.open(), lanes.open());
        let (_idle, busy) = (one.idle(), two.busy());
        for us in [0, 100, 101, 10_000_000, 10_000_001] {
            two.answered(Duration::from_micros(us), 3);
        }
        [100, 200, 204, 599].into_iter().for_each(|status| one.status(status));
        let sums = lanes.sums();
        assert_eq!((sums.answers, sums.requests()), ([1, 2, 0, 0, 1], 4));
        assert_eq!((sums.idle, sums.busy, sums.took_us, sums.bytes), (1, 1, 20_000_202, 15));
        assert_eq!((sums.took[0], sums.took[1], sums.took[15], sums.took[16]), (2, 1, 1, 1));
        drop(busy);
        assert_eq!(lanes.sums().busy, 0);
    }
}
