//! How soon `mariadbd` is started again.
//!
//! At once after the first crash. A restarted primary commits what was written and not yet acknowledged; that is right as
//! long as the declaration names the one primary and nobody else can have been promoted meanwhile: the transactions are
//! in its log, and its replicas fetch them from there. (With an election it will not be: the server must then come back
//! closed and as a replica.) It does come back with `read_only = 1` and is looked at before it is opened.

use std::time::{Duration, Instant};

/// One that lived this long was well; the next crash is a new one.
const WELL_AFTER: Duration = Duration::from_secs(30);
/// The longest pause: what makes a database crash at its start (a full disk, a taken port) is mended by hand, and then
/// it should be back within half a minute.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The crashes so far.
#[derive(Default)]
pub struct Crashes {
    in_a_row: u32,
    /// Since the role started.
    pub total: u64,
    /// The last one's cause.
    pub cause: Option<String>,
    not_before: Option<Instant>,
}

impl Crashes {
    /// Takes note of the end of a process that lived for `lived`.
    pub fn note(&mut self, now: Instant, lived: Duration, cause: String) {
        self.in_a_row = if lived >= WELL_AFTER { 0 } else { self.in_a_row };
        self.not_before = Some(now + pause(self.in_a_row));
        self.in_a_row += 1;
        self.total += 1;
        self.cause = Some(cause);
    }

    /// How long to wait still.
    pub fn wait(&self, now: Instant) -> Duration {
        self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}

fn pause(before: u32) -> Duration {
    match before {
        0 => Duration::ZERO,
        n => Duration::from_secs(1 << (n - 1).min(5)).min(PAUSE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_then_slower_then_at_once_again() {
        let now = Instant::now();
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
