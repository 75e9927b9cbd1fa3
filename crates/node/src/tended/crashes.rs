//! How soon a process is started again after it ended by itself.

use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::backoff::{Backoff, Policy};

/// The crashes so far.
pub(crate) struct Crashes<C> {
    /// Since the role started.
    pub(crate) total: u64,
    /// The last one's cause.
    pub(crate) cause: Option<C>,
    backoff: Backoff,
    again: Time,
}

impl<C> Crashes<C> {
    /// None yet.
    pub(crate) fn new(policy: Policy) -> Crashes<C> {
        Crashes { total: 0, cause: None, backoff: Backoff::new(policy), again: Time::ZERO }
    }

    /// Takes note of the end of a process that lived for `lived`.
    pub(crate) fn note(&mut self, now: Time, lived: Duration, cause: C) {
        self.backoff.started(Time::ZERO + now.since(Time::ZERO + lived));
        self.again = self.backoff.ended(now);
        self.total += 1;
        self.cause = Some(cause);
    }

    /// How long to wait still.
    pub(crate) fn wait(&self, now: Time) -> Duration {
        self.again.since(now)
    }

    /// Why none may be started now, with the seconds until one may.
    pub(crate) fn forbid(&self, now: Time) -> Option<(&C, u64)> {
        let wait = self.wait(now);
        self.cause.as_ref().filter(|_| !wait.is_zero()).map(|cause| (cause, wait.as_secs() + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_then_slower_then_at_once_again() {
        let policy = Policy {
            pause_first: Duration::from_secs(1),
            pause_max: Duration::from_secs(30),
            well_after: Duration::from_secs(30),
        };
        let now = Time::from_millis(1_000_000);
        let mut crashes = Crashes::new(policy);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            crashes.note(now, Duration::from_secs(1), "x");
            pauses.push(crashes.wait(now).as_secs());
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(crashes.forbid(now), Some((&"x", 31)));
        crashes.note(now, Duration::from_secs(60), "y");
        assert_eq!((crashes.wait(now), crashes.forbid(now)), (Duration::ZERO, None));
        assert_eq!(crashes.total, 9);
    }
}
