//! How soon `mariadbd` is started again after it ended by itself.
//!
//! It comes back with `read_only = 1` and is looked at before it is opened. Whether the unacknowledged end of its log is kept
//! is not decided here: with one server it is, with several the election says.

use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::backoff::{Backoff, Policy};

/// One that lived for half a minute was well. As long is the longest pause: what makes a database crash at its start (a full
/// disk, a taken port) is mended by hand, and then it should be back soon.
const POLICY: Policy = Policy {
    pause_first: Duration::from_secs(1),
    pause_max: Duration::from_secs(30),
    well_after: Duration::from_secs(30),
};

/// The crashes so far.
pub struct Crashes {
    /// Since the role started.
    pub total: u64,
    /// The last one's cause.
    pub cause: Option<String>,
    backoff: Backoff,
    again: Time,
}

impl Default for Crashes {
    fn default() -> Crashes {
        Crashes { total: 0, cause: None, backoff: Backoff::new(POLICY), again: Time::ZERO }
    }
}

impl Crashes {
    /// Takes note of the end of a process that lived for `lived`.
    pub fn note(&mut self, now: Time, lived: Duration, cause: String) {
        self.backoff.started(Time::ZERO + now.since(Time::ZERO + lived));
        self.again = self.backoff.ended(now);
        self.total += 1;
        self.cause = Some(cause);
    }

    /// How long to wait still.
    pub fn wait(&self, now: Time) -> Duration {
        self.again.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_then_slower_then_at_once_again() {
        let now = Time::from_millis(1_000_000);
        let mut crashes = Crashes::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            crashes.note(now, Duration::from_secs(1), "x".into());
            pauses.push(crashes.wait(now).as_secs());
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30]);
        crashes.note(now, Duration::from_secs(60), "x".into());
        assert_eq!(crashes.wait(now), Duration::ZERO);
        assert_eq!(crashes.total, 9);
    }
}
