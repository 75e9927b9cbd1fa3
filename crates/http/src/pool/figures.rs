//! One backend's figures, which all threads write.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::balance::latency::Latency;
use tokio::sync::Notify;

use crate::park::Parked;

/// One backend's figures.
pub struct Figures {
    /// Requests at it now.
    pub outstanding: AtomicU32,
    /// Requests given to it.
    pub requests: AtomicU64,
    /// Of these, those that it did not answer.
    pub failures: AtomicU64,
    /// How often it was ejected.
    pub ejections: AtomicU64,
    /// Its answers by class: 1xx to 5xx.
    pub answers: [AtomicU64; 5],
    /// Bytes of their bodies.
    pub bytes: AtomicU64,
    /// When it was heard last, in nanoseconds of the pool's clock.
    pub(super) heard: AtomicU64,
    /// It failed of late: its next success is news.
    pub(super) failed_last: AtomicBool,
    pub(super) latency: Gauge,
    pub(super) parked: Parked,
    pub(super) stuck: Notify,
}

impl Figures {
    pub(super) fn new(now: Time) -> Figures {
        Figures {
            outstanding: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            answers: Default::default(),
            bytes: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            failed_last: AtomicBool::new(false),
            latency: Gauge::new(Latency::new(now)),
            parked: Parked::default(),
            stuck: Notify::default(),
        }
    }
}

/// A latency that is read and written without a lock. Who reads while another writes may see a mixture of two samples,
/// and of two samples at the same instant one may be lost: it is a statistic, and still one then.
pub(super) struct Gauge([AtomicU64; 4]);

impl Gauge {
    fn new(latency: Latency) -> Gauge {
        Gauge(latency.to_bits().map(AtomicU64::new))
    }

    pub(super) fn read(&self) -> Latency {
        Latency::from_bits([0, 1, 2, 3].map(|number: usize| self.0[number].load(Ordering::Relaxed)))
    }

    pub(super) fn sample(&self, now: Time, took: Duration) {
        let mut latency = self.read();
        latency.sample(now, took);
        let bits = latency.to_bits();
        self.0.iter().zip(bits).for_each(|(number, bits)| number.store(bits, Ordering::Relaxed));
    }
}
