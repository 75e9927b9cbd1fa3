//! When a process that ended is started again.
//!
//! The first time at once, since most crashes happen once and every moment down is felt; then after pauses that double
//! up to a bound, since what crashes at its start would otherwise eat a core and flood its log. A run as long as
//! `well_after` counts as recovered: the next crash is a first one again.

use std::time::Duration;

use crate::Time;

/// The policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The pause before the second restart in a row; the first has none.
    pub pause_first: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// A run at least this long was well.
    pub well_after: Duration,
}

impl Policy {
    /// For the processes of a server: 0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, then 5 s each time, so that three crashes in a
    /// row are over within a second, and what is mended by hand is back within five. A run as long as the longest pause
    /// was well: it cannot make for more starts than the pauses allow.
    pub const PROCESS: Policy = Policy {
        pause_first: Duration::from_millis(100),
        pause_max: Duration::from_secs(5),
        well_after: Duration::from_secs(5),
    };

    /// The pause after `crashes` in a row, the last included.
    fn pause(&self, crashes: u32) -> Duration {
        match crashes {
            0 | 1 => Duration::ZERO,
            // 31 doublings exceed every sensible bound already; more would overflow.
            more => self.pause_first.saturating_mul(1 << (more - 2).min(31)).min(self.pause_max),
        }
    }
}

/// The history of one process.
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: Policy,
    crashes: u32,
    started: Option<Time>,
}

impl Backoff {
    /// A process that was never started.
    pub fn new(policy: Policy) -> Self {
        Backoff { policy, crashes: 0, started: None }
    }

    /// It was started.
    pub fn started(&mut self, now: Time) {
        self.started = Some(now);
    }

    /// It ended, or could not be started at all; returns when to start it again.
    pub fn ended(&mut self, now: Time) -> Time {
        let ran = self.started.take().map_or(Duration::ZERO, |started| now.since(started));
        self.crashes = if ran >= self.policy.well_after { 1 } else { self.crashes.saturating_add(1) };
        now + self.policy.pause(self.crashes)
    }

    /// Someone who knows better wants it started afresh: forgets what was.
    pub fn forgive(&mut self) {
        self.crashes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: [Option<u64>; 4] = [None, Some(0), Some(4_999), Some(5_000)];

    /// What an operator would say: look back over the crashes to the last long run; so many in a row, so long a pause.
    fn model(history: &[Option<u64>]) -> u64 {
        let pauses = [0, 100, 200, 400, 800, 1_600, 3_200, 5_000];
        let since_well = history.iter().rev().take_while(|run| run.is_none_or(|ran| ran < 5_000)).count();
        let after_a_long_run = since_well < history.len();
        let crashes = since_well + usize::from(after_a_long_run);
        pauses[(crashes - 1).min(pauses.len() - 1)]
    }

    /// Plays the history, in which every process is started when it was said; returns the last pause.
    fn play(history: &[Option<u64>]) -> u64 {
        let mut backoff = Backoff::new(Policy::PROCESS);
        let mut now = Time::from_millis(7);
        let mut pause = 0;
        for run in history {
            if let Some(ran) = run {
                backoff.started(now);
                now = now + Duration::from_millis(*ran);
            }
            let again = backoff.ended(now);
            pause = (again - now).as_millis() as u64;
            now = again;
        }
        pause
    }

    #[test]
    fn every_short_history_is_as_the_operator_says() {
        let mut histories: Vec<Vec<Option<u64>>> = vec![vec![]];
        for _ in 0..8 {
            histories = histories
                .iter()
                .flat_map(|history| RUNS.map(|run| history.iter().copied().chain([run]).collect()))
                .collect();
            for history in &histories {
                assert_eq!(play(history), model(history), "{history:?}");
            }
        }
    }

    #[test]
    fn a_process_that_never_starts_is_tried_for_ever_at_the_longest_pause() {
        assert_eq!(play(&[None; 100]), 5_000);
    }

    #[test]
    fn three_crashes_in_a_row_are_over_within_a_second() {
        let total: u64 = (1..=3).map(|count| play(&vec![Some(0); count])).sum();
        assert!(total < 1_000, "{total}");
    }

    #[test]
    fn forgiven_is_as_new() {
        let mut backoff = Backoff::new(Policy::PROCESS);
        for _ in 0..5 {
            backoff.ended(Time::ZERO);
        }
        backoff.forgive();
        assert_eq!(backoff.ended(Time::ZERO), Time::ZERO);
    }
}
