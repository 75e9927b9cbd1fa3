//! The clock of a loop, for what has to be exact; most waits have their deadline from `patience`, which is cheaper.

use std::collections::BTreeMap;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{TaskId, current, here};

/// Whose turn it is when. The number keeps apart who waits for the same moment.
#[derive(Default)]
pub(super) struct Timers {
    waiting: BTreeMap<(Instant, u64), TaskId>,
    begun: u64,
}

impl Timers {
    /// How long it is until the first is due.
    pub(super) fn until_next(&self) -> Option<Duration> {
        let ((at, _), _) = self.waiting.first_key_value()?;
        Some(until(*at))
    }

    /// Takes those out that are due.
    pub(super) fn due(&mut self) -> Vec<TaskId> {
        let mut due = Vec::new();
        if self.waiting.is_empty() {
            return due;
        }
        let now = now();
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        due
    }
}

#[cfg(not(test))]
fn until(at: Instant) -> Duration {
    at.saturating_duration_since(now())
}

/// The time.
#[cfg(not(test))]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
use paused::until;
#[cfg(test)]
pub(crate) use paused::{now, paused};

/// Waits until `at`.
struct Sleep {
    at: Instant,
    place: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if now() >= self.at {
            return Poll::Ready(());
        }
        let here = here();
        let mut timers = here.timers.borrow_mut();
        let place = self.place.unwrap_or_else(|| {
            timers.begun += 1;
            timers.begun
        });
        self.place = Some(place);
        timers.waiting.insert((self.at, place), TaskId::current());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        current().and_then(|here| here.timers.borrow_mut().waiting.remove(&(self.at, place)));
    }
}

fn sleep_until(at: Instant) -> Sleep {
    Sleep { at, place: None }
}

/// Waits so long.
pub(crate) async fn sleep(duration: Duration) {
    match now().checked_add(duration) {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Awaits `wait`, at the most until `at`.
///
/// # Errors
/// `TimedOut`.
pub(crate) async fn timeout_at<T>(at: Instant, wait: impl Future<Output = T>) -> io::Result<T> {
    let (mut wait, mut late) = (pin!(wait), pin!(sleep_until(at)));
    let first = std::future::poll_fn(|context| match wait.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => late.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
    });
    first.await
}

/// Awaits `wait`, for at the most `duration`.
///
/// # Errors
/// `TimedOut`.
pub(crate) async fn timeout<T>(duration: Duration, wait: impl Future<Output = T>) -> io::Result<T> {
    match now().checked_add(duration) {
        Some(at) => timeout_at(at, wait).await,
        None => Ok(wait.await),
    }
}

/// A clock that goes on by itself while nothing happens, for tests of what takes long.
#[cfg(test)]
mod paused {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    thread_local! {
        /// The time, if it stands still.
        static STANDS: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    pub(crate) fn now() -> Instant {
        STANDS.get().unwrap_or_else(Instant::now)
    }

    /// Nothing, if the clock can be moved on.
    pub(super) fn until(at: Instant) -> Duration {
        if STANDS.get().is_some() {
            STANDS.set(Some(at));
        }
        at.saturating_duration_since(now())
    }

    /// Runs a test for which time is only what it waits for.
    pub(crate) fn paused<T>(test: impl Future<Output = T>) -> T {
        STANDS.set(Some(Instant::now()));
        super::super::run(test).unwrap()
    }
}
