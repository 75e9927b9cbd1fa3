//! Figures of the last second, and the highest that were seen: of samples taken each second.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use super::Scene;

/// What a sample is of: the front as a whole, a pool, a backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    Connections,
    Requests,
    Pool(String),
    Backend(String, String),
}

/// Something that is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    total: Option<u64>,
    /// In the last second.
    pub(super) rate: u64,
    pub(super) rate_max: u64,
    /// At once.
    pub(super) now_max: u64,
}

impl Sample {
    fn take(&mut self, total: u64, now: u64) {
        self.rate = total.saturating_sub(self.total.unwrap_or(total));
        self.total = Some(total);
        self.rate_max = self.rate_max.max(self.rate);
        self.now_max = self.now_max.max(now);
    }
}

#[derive(Default)]
pub(super) struct Samples(Mutex<BTreeMap<Of, Sample>>);

impl Samples {
    pub(super) fn of(&self, of: &Of) -> Sample {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(of).copied().unwrap_or_default()
    }

    /// Takes one of everything.
    pub(super) fn take(&self, scene: &Scene) {
        let counters = &scene.counters;
        let (open, connections) = (counters.open.load(Ordering::Relaxed), counters.connections.load(Ordering::Relaxed));
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.entry(Of::Connections).or_default().take(connections, open);
        let sums = counters.lanes.sums();
        samples.entry(Of::Requests).or_default().take(sums.requests(), sums.busy);
        for checked in &*scene.checked.borrow() {
            let (pool, mut total, mut now) = (&checked.pool, 0, 0);
            for (backend, figures) in pool.backends() {
                let (given, at) =
                    (figures.requests.load(Ordering::Relaxed), figures.outstanding.load(Ordering::Relaxed));
                samples.entry(Of::Backend(pool.name().into(), backend.into())).or_default().take(given, at.into());
                (total, now) = (total + given, now + u64::from(at));
            }
            samples.entry(Of::Pool(pool.name().into())).or_default().take(total, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_begin_with_the_second_sample() {
        let mut sample = Sample::default();
        for (total, now, rate, most) in [(7, 1, 0, 0), (17, 3, 10, 10), (18, 2, 1, 10)] {
            sample.take(total, now);
            assert_eq!((sample.rate, sample.rate_max), (rate, most));
        }
        assert_eq!(sample.now_max, 3);
    }
}
