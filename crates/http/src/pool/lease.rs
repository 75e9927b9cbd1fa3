//! A request's place at a backend.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mainstay_machines::Time;
use mainstay_machines::health::Failure;

use super::{Figures, Pool, Reuse};
use crate::counters::{class, count};
use crate::sticky::Cookies;
use crate::stream::{Address, Stream};

/// Whoever was heard so lately is there still, as far as a handshake could tell: that says that somebody was there half a round trip
/// ago, and between tiers one takes a millisecond or two.
const LIVELY: Duration = Duration::from_millis(2);

/// A request's place at a backend; given back when dropped.
pub struct Lease {
    pub(super) pool: Arc<Pool>,
    /// Its index in the pool.
    pub backend: usize,
    /// Where it listens.
    pub address: Arc<Address>,
    /// Its visitor is not with this backend yet.
    pub(super) moved: bool,
}

impl Lease {
    /// The backend's name.
    pub fn name(&self) -> &str {
        self.pool.backend_name(self.backend)
    }

    /// The pool that it is of.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// How long the backend may be silent before another is asked too.
    pub(crate) fn hedge_after(&self) -> Option<Duration> {
        self.pool.settings.hedge_after
    }

    /// The backend did not answer.
    pub fn failed(&self, failure: Failure) {
        self.figures().failures.fetch_add(1, Ordering::Relaxed);
        self.pool.failed(self.backend, failure);
    }

    /// The backend answered. 502, 503 and 504 say that it could not do its work, which another may be able to; 500 and
    /// the rest are the application's own, and the same everywhere: neither good nor bad of this backend.
    pub fn answered(&self, status: u16) {
        count(&self.figures().answers[class(status)]);
        match status {
            502..=504 => self.pool.failed(self.backend, Failure::Status { code: status }),
            500.. => {}
            _ => self.pool.succeeded(self.backend),
        }
    }

    /// So many bytes of its answer's body were passed on.
    pub(crate) fn passed(&self, bytes: u64) {
        self.figures().bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether [`Lease::took`] is of use to anyone.
    pub fn measures(&self) -> bool {
        self.pool.settings.algorithm.measures()
    }

    /// How long the backend took until its answer began.
    pub fn took(&self, took: Duration) {
        self.figures().latency.sample(self.pool.now(), took);
    }

    /// The backend did not end the request: see [`Pool::stuck`].
    pub fn stuck(&self) {
        self.figures().stuck.notify_one();
    }

    /// The cookies of the pool, if the visitor is to be told that it stays here from now on.
    pub(crate) fn cookies(&self) -> Option<&Cookies> {
        self.pool.cookies.as_ref().filter(|_| self.moved)
    }

    /// The backend was there at that time, as its answer or its handshake said.
    pub(crate) fn heard(&self, at: Instant) {
        let at = self.pool.time(at).as_nanos();
        // Threads may cross: then it is somewhat longer ago than it need be.
        if at > self.figures().heard.load(Ordering::Relaxed) {
            self.figures().heard.store(at, Ordering::Relaxed);
        }
    }

    /// Whether the backend was heard a moment ago.
    pub(crate) fn is_lively(&self) -> bool {
        let heard = Time::from_nanos(self.figures().heard.load(Ordering::Relaxed));
        self.pool.now().since(heard) <= LIVELY
    }

    /// How many requests the backend has now, this one included.
    pub(crate) fn outstanding(&self) -> u32 {
        self.figures().outstanding.load(Ordering::Relaxed)
    }

    pub(crate) fn reuse(&self) -> Reuse {
        match self.pool.settings.reuse {
            Reuse::Lively if self.address.is_local() => Reuse::Always,
            reuse => reuse,
        }
    }

    /// The connection that the backend has waited on since its last request.
    pub(crate) fn parked(&self) -> Option<Stream> {
        self.figures().parked.take()
    }

    /// Keeps the connection for the backend's next request, whichever thread has it.
    pub(crate) fn park(&self, stream: Stream) {
        if self.reuse() != Reuse::Never {
            self.figures().parked.put(stream);
        }
    }

    fn figures(&self) -> &Figures {
        &self.pool.figures[self.backend]
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.give_back(self.backend);
    }
}
