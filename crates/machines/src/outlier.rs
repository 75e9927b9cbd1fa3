//! Passive health: a member that fails real requests in a row gets none for a while.
//!
//! After Envoy's outlier detection (`consecutive_5xx`, `base_ejection_time`, `max_ejection_percent`). Two rules come
//! before all others: no more than a share of the pool is ejected at a time, and never the last member that is well,
//! since bad answers are better than none. When the members that were left turn ill, those ejected return at once; and so
//! does who was found ill and well again by its checks meanwhile: whatever failed then was another life.
//!
//! This is also the circuit breaker of each member (Nygard, "Release It!", 2007): ejected is open, on trial after its return
//! is half open, and a [slow start](crate::balance::slow_start) bounds how many requests the trial costs. A breaker beside it
//! would decide the same from the same answers. One for a whole pool would turn requests away that are better held until
//! somebody is well again.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Time;

/// When to eject, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Failures in a row that eject a member; 0 counts as 1.
    pub failures: u32,
    /// The first ejection; each that follows soon takes twice as long as the one before.
    pub ejection_first: Duration,
    /// The longest ejection. Who stayed for as long as that without another one begins anew with the first.
    pub ejection_max: Duration,
    /// The most members ejected at a time, in percent of the pool, rounded down, yet at least one.
    pub share_max_percent: u8,
}

impl Default for Config {
    /// Five failures; 10 s, 20 s, and so on up to 5 minutes; half of the pool.
    fn default() -> Config {
        Config {
            failures: 5,
            ejection_first: Duration::from_secs(10),
            ejection_max: Duration::from_secs(300),
            share_max_percent: 50,
        }
    }
}

/// What happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// It answered a request.
    Success,
    /// It did not, or with a failure of its own.
    Failure,
    /// Something else decided whether it is well: a health check.
    Well(bool),
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// It gets no requests.
    Ejected {
        /// Which member.
        member: usize,
        /// Until then, unless the others turn ill.
        until: Time,
    },
    /// It gets requests again. On trial: until its first success one failure ejects it.
    Returned {
        /// Which member.
        member: usize,
    },
}

#[derive(Clone, Copy, Debug)]
struct Member {
    well: bool,
    failures: u32,
    /// Ejections without a long stay between them.
    ejections: u32,
    ejected_until: Option<Time>,
    returned: Time,
}

/// The members of a pool.
#[derive(Clone, Debug)]
pub struct Outliers {
    config: Config,
    members: Vec<Member>,
    outputs: VecDeque<Output>,
}

impl Outliers {
    /// A pool of so many members, all well, nobody ejected.
    pub fn new(config: Config, count: usize, now: Time) -> Outliers {
        let member = Member { well: true, failures: 0, ejections: 0, ejected_until: None, returned: now };
        Outliers { config, members: vec![member; count], outputs: VecDeque::new() }
    }

    /// The same for a pool whose members are others: for each its number in this one, `None` for one that is new, and well.
    #[must_use]
    pub fn regrouped(&self, members: &[Option<usize>], now: Time) -> Outliers {
        let fresh = Outliers::new(self.config, members.len(), now).members;
        let known = members.iter().map(|known| self.members.get((*known)?).copied());
        let members = known.zip(fresh).map(|(known, fresh)| known.unwrap_or(fresh)).collect();
        let mut regrouped = Outliers { config: self.config, members, outputs: VecDeque::new() };
        // Of a smaller pool those that were ejected may be too large a share, or all.
        if !regrouped.serves() || regrouped.ejected() > regrouped.most() {
            (0..regrouped.members.len()).for_each(|member| regrouped.give_back(now, member));
        }
        regrouped
    }

    /// Whether the member failed since its last success: until then that success is worth to be told.
    pub fn has_failed(&self, member: usize) -> bool {
        self.members.get(member).is_some_and(|it| it.failures > 0)
    }

    /// Until when the member gets no requests, unless the others turn ill.
    pub fn ejected_until(&self, member: usize) -> Option<Time> {
        self.members.get(member)?.ejected_until
    }

    /// Whether the member gets no requests for now.
    pub fn is_ejected(&self, member: usize) -> bool {
        self.ejected_until(member).is_some()
    }

    /// When to call [`Outliers::tick`]; [`Time::NEVER`] if nobody is ejected.
    pub fn deadline(&self) -> Time {
        self.members.iter().filter_map(|member| member.ejected_until).min().unwrap_or(Time::NEVER)
    }

    /// Something happened to a member.
    pub fn handle(&mut self, now: Time, member: usize, input: Input) {
        self.tick(now);
        let threshold = self.config.failures.max(1);
        let Some(it) = self.members.get_mut(member) else { return };
        match input {
            // What an ejected member was given before says nothing about how it will be.
            Input::Success | Input::Failure if it.ejected_until.is_some() => {}
            Input::Success => it.failures = 0,
            Input::Failure => {
                it.failures = it.failures.saturating_add(1).min(threshold);
                if it.failures == threshold && self.may_eject(member) {
                    self.eject(now, member);
                }
            }
            Input::Well(well) => {
                let recovered = well && !it.well;
                it.well = well;
                if recovered {
                    self.give_back(now, member);
                }
            }
        }
        if !self.serves() {
            (0..self.members.len()).for_each(|member| self.give_back(now, member));
        }
    }

    /// Time passed: whose ejection is over returns.
    pub fn tick(&mut self, now: Time) {
        for member in 0..self.members.len() {
            if self.members[member].ejected_until.is_some_and(|until| until <= now) {
                self.give_back(now, member);
            }
        }
    }

    /// The next thing that follows.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether some member is well and not ejected.
    fn serves(&self) -> bool {
        self.members.iter().any(|member| member.well && member.ejected_until.is_none())
    }

    fn may_eject(&self, member: usize) -> bool {
        let left = |(place, it): (usize, &Member)| place != member && it.well && it.ejected_until.is_none();
        self.ejected() < self.most() && self.members.iter().enumerate().any(left)
    }

    fn ejected(&self) -> usize {
        self.members.iter().filter(|member| member.ejected_until.is_some()).count()
    }

    /// How many may be ejected at a time.
    fn most(&self) -> usize {
        (self.members.len() * usize::from(self.config.share_max_percent) / 100).max(1)
    }

    fn eject(&mut self, now: Time, member: usize) {
        let config = self.config;
        let it = &mut self.members[member];
        if now.since(it.returned) >= config.ejection_max {
            it.ejections = 0;
        }
        // 31 doublings exceed every sensible bound already; more would overflow.
        let time = config.ejection_first.saturating_mul(1 << it.ejections.min(31)).min(config.ejection_max);
        it.ejections = it.ejections.saturating_add(1);
        let until = now + time;
        it.ejected_until = Some(until);
        self.outputs.push_back(Output::Ejected { member, until });
    }

    fn give_back(&mut self, now: Time, member: usize) {
        let it = &mut self.members[member];
        if it.ejected_until.take().is_some() {
            it.failures = self.config.failures.max(1) - 1;
            it.returned = now;
            self.outputs.push_back(Output::Returned { member });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: Config = Config {
        failures: 2,
        ejection_first: Duration::from_nanos(1),
        ejection_max: Duration::from_nanos(4),
        share_max_percent: 50,
    };

    /// Two rules of the first order, and that what was told is what is so.
    fn check(outliers: &mut Outliers, told: &mut [bool], now: Time) {
        while let Some(output) = outliers.poll() {
            let (member, ejected) = match output {
                Output::Ejected { member, until } => {
                    assert!(until > now && until <= now + outliers.config.ejection_max);
                    (member, true)
                }
                Output::Returned { member } => (member, false),
            };
            assert_ne!(told[member], ejected, "nothing is told twice");
            told[member] = ejected;
        }
        let count = told.len();
        assert!((0..count).all(|member| outliers.is_ejected(member) == told[member]));
        let well: Vec<_> = (0..count).filter(|member| outliers.members[*member].well).collect();
        assert!(well.is_empty() || well.iter().any(|member| !told[*member]), "the pool is empty");
        let most = (count * usize::from(outliers.config.share_max_percent) / 100).max(1);
        assert!(told.iter().filter(|ejected| **ejected).count() <= most);
        assert!(outliers.deadline() > now, "nobody is ejected for longer than was said");
    }

    fn step(outliers: &mut Outliers, now: &mut Time, count: usize, choice: usize) {
        let inputs = [Input::Failure, Input::Success, Input::Well(true), Input::Well(false)];
        match (choice / 4, inputs[choice % 4]) {
            (member, input) if member < count => outliers.handle(*now, member, input),
            _ => {
                *now = *now + Duration::from_nanos(1);
                outliers.tick(*now);
            }
        }
    }

    #[test]
    fn members_keep_their_standing_in_another_pool() {
        let now = Time::from_nanos(1);
        let mut outliers = Outliers::new(CONFIG, 4, Time::ZERO);
        for _ in 0..CONFIG.failures {
            outliers.handle(now, 1, Input::Failure);
        }
        let later = outliers.regrouped(&[Some(3), None, Some(1), Some(2)], now);
        assert_eq!([0, 1, 2, 3].map(|member| later.is_ejected(member)), [false, false, true, false]);
        assert_eq!(later.ejected_until(2), outliers.ejected_until(1));
        let mut alone = outliers.regrouped(&[Some(1)], now);
        assert!(!alone.is_ejected(0), "never the last one");
        assert_eq!(alone.poll(), Some(Output::Returned { member: 0 }));
    }

    fn explore(outliers: &Outliers, told: &[bool], now: Time, depth: u32) {
        for choice in (0..=4 * told.len()).take(if depth == 0 { 0 } else { usize::MAX }) {
            let (mut outliers, mut told, mut now) = (outliers.clone(), told.to_vec(), now);
            step(&mut outliers, &mut now, told.len(), choice);
            check(&mut outliers, &mut told, now);
            explore(&outliers, &told, now, depth - 1);
        }
    }

    #[test]
    fn no_short_history_empties_a_pool() {
        for (count, depth) in [(1, 7), (2, 5), (3, 4)] {
            // As good as certain to eject at the first failure, so that short histories go far.
            for failures in [1, 2] {
                let outliers = Outliers::new(Config { failures, ..CONFIG }, count, Time::ZERO);
                explore(&outliers, &vec![false; count], Time::ZERO, depth);
            }
        }
    }

    /// Fails the member as often as it takes; returns for how long it is ejected, and lets that pass.
    fn ejection(outliers: &mut Outliers, now: &mut Time) -> u64 {
        while !outliers.is_ejected(0) {
            outliers.handle(*now, 0, Input::Failure);
        }
        let until = outliers.deadline();
        let time = (until - *now).as_secs();
        *now = until;
        outliers.tick(until);
        assert!(!outliers.is_ejected(0));
        time
    }

    #[test]
    fn ejections_grow_and_a_long_stay_forgives() {
        let mut now = Time::ZERO;
        let mut outliers = Outliers::new(Config::default(), 2, now);
        let times: Vec<_> = (0..7).map(|_| ejection(&mut outliers, &mut now)).collect();
        assert_eq!(times, [10, 20, 40, 80, 160, 300, 300]);
        now = now + Config::default().ejection_max;
        assert_eq!(ejection(&mut outliers, &mut now), 10);
    }

    #[test]
    fn who_was_ill_and_is_well_again_returns_at_once() {
        let mut outliers = Outliers::new(Config::default(), 2, Time::ZERO);
        (0..5).for_each(|_| outliers.handle(Time::ZERO, 0, Input::Failure));
        outliers.handle(Time::ZERO, 0, Input::Well(true));
        assert!(outliers.is_ejected(0), "that its checks never minded says nothing");
        outliers.handle(Time::ZERO, 0, Input::Well(false));
        assert!(outliers.is_ejected(0));
        outliers.handle(Time::ZERO, 0, Input::Well(true));
        assert!(!outliers.is_ejected(0));
        outliers.handle(Time::ZERO, 0, Input::Failure);
        assert!(outliers.is_ejected(0), "on trial all the same");
    }

    #[test]
    fn who_returns_is_on_trial() {
        let mut now = Time::ZERO;
        let mut outliers = Outliers::new(Config::default(), 2, now);
        ejection(&mut outliers, &mut now);
        outliers.handle(now, 0, Input::Failure);
        assert!(outliers.is_ejected(0), "one failure is enough");
        now = outliers.deadline();
        outliers.handle(now, 0, Input::Success);
        for _ in 0..4 {
            outliers.handle(now, 0, Input::Failure);
            assert!(!outliers.is_ejected(0), "after a success it takes five again");
        }
        outliers.handle(now, 0, Input::Failure);
        assert!(outliers.is_ejected(0));
    }

    proptest! {
        #[test]
        fn no_history_empties_a_pool(
            count in 1usize..8,
            share_max_percent in 0u8..=100,
            choices in prop::collection::vec(any::<prop::sample::Index>(), 0..300),
        ) {
            let mut now = Time::ZERO;
            let mut outliers = Outliers::new(Config { share_max_percent, ..CONFIG }, count, now);
            let mut told = vec![false; count];
            for choice in choices {
                // Failures are three times as frequent as anything else, or ejections would be rare.
                let choice = choice.index(12 * count + 2);
                let choice = if choice < 8 * count { choice / 8 * 4 } else { choice - 8 * count };
                step(&mut outliers, &mut now, count, choice);
                check(&mut outliers, &mut told, now);
            }
        }
    }
}
