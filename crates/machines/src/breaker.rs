//! A circuit breaker: what fails all the time is not asked for a while, and then by one request at a time.
//!
//! Closed, open, half open, as in Nygard, "Release It!" (2007). Closed lets everything pass; so many failures in a row
//! open it. Open refuses everything for [`Config::open`]. Half open lets one trial pass at a time; so many trials that
//! succeed close it, one that fails opens it again. A trial that is not heard of within [`Config::trial_max`] is given up
//! for another one, so that a request that was lost does not keep the breaker half open for ever.

use std::time::Duration;

use crate::Time;

/// When to open and to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Failures in a row that open it; 0 counts as 1.
    pub failures: u32,
    /// How long it stays open.
    pub open: Duration,
    /// Trials that must succeed to close it; 0 counts as 1.
    pub trials: u32,
    /// After which a trial is given up.
    pub trial_max: Duration,
}

impl Default for Config {
    /// Five failures, 5 s, one trial of 10 s.
    fn default() -> Config {
        Config { failures: 5, open: Duration::from_secs(5), trials: 1, trial_max: Duration::from_secs(10) }
    }
}

/// A request that was let pass. It carries the era in which that was: what was asked before the breaker last changed says
/// nothing about how things are since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Time },
    HalfOpen { successes: u32, trial_until: Option<Time> },
}

/// The breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    config: Config,
    state: State,
    era: u64,
}

impl Breaker {
    /// A closed one.
    pub fn new(config: Config) -> Breaker {
        Breaker { config, state: State::Closed { failures: 0 }, era: 0 }
    }

    /// Whether everything passes.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// May a request pass? If so, its end is to be told to [`Breaker::done`].
    ///
    /// # Errors
    /// No: how long until one may at the latest.
    pub fn ask(&mut self, now: Time) -> Result<Ticket, Duration> {
        let (successes, barred_until) = match self.state {
            State::Closed { .. } => return Ok(Ticket(self.era)),
            State::Open { until } => (0, until),
            State::HalfOpen { successes, trial_until } => (successes, trial_until.unwrap_or(now)),
        };
        if now < barred_until {
            return Err(barred_until.since(now));
        }
        self.turn(State::HalfOpen { successes, trial_until: Some(now + self.config.trial_max) });
        Ok(Ticket(self.era))
    }

    /// A request that was let pass succeeded or failed.
    pub fn done(&mut self, now: Time, ticket: Ticket, success: bool) {
        if ticket.0 != self.era {
            return;
        }
        match &mut self.state {
            State::Closed { failures } if success => *failures = 0,
            State::Closed { failures } => {
                *failures += 1;
                if *failures >= self.config.failures {
                    self.open(now);
                }
            }
            State::Open { .. } => {}
            State::HalfOpen { .. } if !success => self.open(now),
            State::HalfOpen { successes, .. } => {
                let successes = *successes + 1;
                self.turn(match successes >= self.config.trials {
                    true => State::Closed { failures: 0 },
                    false => State::HalfOpen { successes, trial_until: None },
                });
            }
        }
    }

    fn open(&mut self, now: Time) {
        self.turn(State::Open { until: now + self.config.open });
    }

    /// Into another state, or to another trial: what was let pass so far no longer counts.
    fn turn(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The diagram of the book, with what is left of each time counted down, and a list of the requests that count.
    #[derive(Clone)]
    struct Model {
        phase: &'static str,
        count: u32,
        left: u64,
        counting: Vec<usize>,
    }

    impl Model {
        fn enter(&mut self, phase: &'static str, count: u32, left: u64) {
            *self = Model { phase, count, left, counting: vec![] };
        }

        fn ask(&mut self, config: &Config, request: usize) -> bool {
            let trial = config.trial_max.as_nanos() as u64;
            match self.phase {
                "open" if self.left == 0 => self.enter("trial", 0, trial),
                "trial" if self.left == 0 => self.enter("trial", self.count, trial),
                "between trials" => self.enter("trial", self.count, trial),
                "closed" => {}
                _ => return false,
            }
            self.counting.push(request);
            true
        }

        fn done(&mut self, config: &Config, request: usize, success: bool) {
            let open = config.open.as_nanos() as u64;
            if !self.counting.contains(&request) {
                return;
            }
            self.counting.retain(|it| *it != request);
            match (self.phase, success) {
                ("closed", true) => self.count = 0,
                ("closed", false) if self.count + 1 < config.failures => self.count += 1,
                (_, false) => self.enter("open", 0, open),
                (_, true) if self.count + 1 < config.trials => self.enter("between trials", self.count + 1, 0),
                (_, true) => self.enter("closed", 0, 0),
            }
        }
    }

    #[derive(Clone)]
    struct Play {
        config: Config,
        breaker: Breaker,
        model: Model,
        now: Time,
        asked: usize,
        running: Vec<(usize, Ticket)>,
    }

    impl Play {
        /// 0 asks, 1 lets time pass; then the oldest and the newest request succeed and fail. Returns whether it could.
        fn step(&mut self, choice: u32) -> bool {
            match choice {
                0 => {
                    self.asked += 1;
                    let ticket = self.breaker.ask(self.now);
                    assert_eq!(ticket.is_ok(), self.model.ask(&self.config, self.asked));
                    assert!(ticket.is_ok() || ticket == Err(Duration::from_nanos(self.model.left)));
                    self.running.extend(ticket.ok().map(|ticket| (self.asked, ticket)));
                }
                1 => {
                    self.now = self.now + Duration::from_nanos(1);
                    self.model.left = self.model.left.saturating_sub(1);
                }
                _ if self.running.is_empty() || (choice > 3 && self.running.len() == 1) => return false,
                _ => {
                    let which = if choice > 3 { self.running.len() - 1 } else { 0 };
                    let (request, ticket) = self.running.remove(which);
                    self.breaker.done(self.now, ticket, choice.is_multiple_of(2));
                    self.model.done(&self.config, request, choice.is_multiple_of(2));
                }
            }
            assert_eq!(self.breaker.is_closed(), self.model.phase == "closed");
            true
        }

        fn explore(&self, depth: u32) {
            for choice in 0..6 {
                let mut next = self.clone();
                if next.step(choice) && depth > 1 {
                    next.explore(depth - 1);
                }
            }
        }
    }

    fn play(failures: u32, trials: u32) -> Play {
        let nanos = Duration::from_nanos;
        let config = Config { failures, open: nanos(1), trials, trial_max: nanos(2) };
        let model = Model { phase: "closed", count: 0, left: 0, counting: vec![] };
        Play { config, breaker: Breaker::new(config), model, now: Time::ZERO, asked: 0, running: vec![] }
    }

    #[test]
    fn every_short_history_is_that_of_the_diagram() {
        for (failures, trials) in [(1, 1), (1, 2), (2, 1)] {
            play(failures, trials).explore(9);
        }
    }

    /// After any short history, whoever waits as told is let pass.
    #[test]
    fn nobody_is_refused_for_ever() {
        fn explore(play: &Play, depth: u32) {
            let mut breaker = play.breaker.clone();
            let wait = breaker.ask(play.now).err().unwrap_or_default();
            assert!(wait <= play.config.open.max(play.config.trial_max));
            assert!(breaker.ask(play.now + play.config.trial_max).is_ok());
            for choice in (0..6).take(if depth == 0 { 0 } else { 6 }) {
                let mut next = play.clone();
                if next.step(choice) {
                    explore(&next, depth - 1);
                }
            }
        }
        explore(&play(1, 2), 7);
    }
}
