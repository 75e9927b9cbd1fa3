//! How long a successor is waited for, decided.

use std::time::Duration;

use mainstay_machines::Time;
use mainstay_site::wire::{Report, State};

/// How long a successor may take until it serves; a backend's first check has a second, and may have to be repeated. Then it
/// takes over as it is: that nobody behind it is well is no fault of its own.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// How long an application's successor may take until a worker of it answers: they start in seconds. What it prepares before, such as
/// its database, has a deadline of its own. One that does not get there was no better than the one before.
const WORKS_WITHIN: Duration = Duration::from_secs(60);

/// For how long all of its workers may have failed: each was started again some times.
const FAILS_FOR: Duration = Duration::from_secs(4);

/// Waits for a successor.
pub(super) struct Wait {
    /// It must have a worker that is well.
    works: bool,
    until: Time,
    failed: Option<Time>,
    because: String,
}

/// Whether it takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    /// Not with this.
    No(String),
    /// It is waited for.
    NotYet,
}

impl Wait {
    /// From `now` on.
    pub(super) fn new(works: bool, now: Time) -> Wait {
        let within = if works { WORKS_WITHIN } else { READY_WITHIN };
        Wait { works, until: now + within, failed: None, because: "it says nothing".into() }
    }

    /// It said this, or nothing.
    pub(super) fn heard(&mut self, now: Time, report: Option<&Report>) -> Verdict {
        if let Some(report) = report {
            match report.state {
                State::Serving | State::Degraded => return Verdict::Yes,
                State::Starting => self.failed = None,
                _ if !self.works => return Verdict::Yes,
                _ => self.failed = self.failed.or(Some(now)),
            }
            if self.works && report.preparing().is_some() {
                self.until = now + WORKS_WITHIN;
            }
            self.because.clone_from(&report.because);
        }
        let fails = self.failed.is_some_and(|since| now.since(since) > FAILS_FOR);
        match now >= self.until {
            true if !self.works => Verdict::Yes,
            late if late || fails => Verdict::No(self.because.clone()),
            _ => Verdict::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_site::wire::PREPARING;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn report(state: State) -> Report {
        let because = state.as_str().to_owned();
        Report { state, because, facts: Vec::new(), parts: Vec::new(), counters: Default::default() }
    }

    fn preparing(state: State) -> Report {
        Report { facts: vec![(PREPARING.into(), "migrating".into())], ..report(state) }
    }

    fn no(because: &str) -> Verdict {
        Verdict::No(because.into())
    }

    #[test]
    fn who_serves_takes_over_and_a_proxy_does_so_as_it_is() {
        for state in [State::Serving, State::Degraded] {
            assert_eq!(Wait::new(true, at(0)).heard(at(1), Some(&report(state))), Verdict::Yes);
        }
        let mut proxy = Wait::new(false, at(0));
        assert_eq!(proxy.heard(at(1), Some(&report(State::Starting))), Verdict::NotYet);
        assert_eq!(proxy.heard(at(2), Some(&report(State::Failed))), Verdict::Yes);
        assert_eq!(Wait::new(false, at(0)).heard(at(5), None), Verdict::Yes);
    }

    #[test]
    fn an_application_needs_a_worker_within_a_minute_and_may_not_fail_for_long() {
        let mut app = Wait::new(true, at(0));
        assert_eq!(app.heard(at(59), Some(&report(State::Starting))), Verdict::NotYet);
        assert_eq!(app.heard(at(60), Some(&report(State::Starting))), no("starting"));
        let mut app = Wait::new(true, at(0));
        assert_eq!(app.heard(at(1), Some(&report(State::Failed))), Verdict::NotYet);
        assert_eq!(app.heard(at(5), Some(&report(State::Failed))), Verdict::NotYet);
        assert_eq!(app.heard(at(6), None), no("failed"));
        assert_eq!(Wait::new(true, at(0)).heard(at(60), None), no("it says nothing"));
    }

    #[test]
    fn what_it_prepares_does_not_count() {
        let mut app = Wait::new(true, at(0));
        for minutes in 0..20 {
            assert_eq!(app.heard(at(60 * minutes + 50), Some(&preparing(State::Starting))), Verdict::NotYet);
        }
        assert_eq!(app.heard(at(1249), Some(&report(State::Starting))), Verdict::NotYet);
        assert_eq!(app.heard(at(1250), Some(&report(State::Starting))), no("starting"));
    }
}
