//! Several limiters in virtual time, beside one that sees everything.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

fn at(ms: u64) -> Time {
    Time::from_millis(ms + 1_000_000)
}

fn limit(interval_ms: u64, burst: u32) -> Limit {
    Limit { interval: Duration::from_millis(interval_ms), burst }
}

/// Limiters that tell each other each `period`, whose messages take `delay`; milliseconds.
struct Cluster {
    limiters: Vec<Limiter>,
    period: u64,
    delay: u64,
    /// When, to whom, what.
    wire: Vec<(u64, usize, Message)>,
    lossy: bool,
}

impl Cluster {
    fn new(count: usize, limit: Limit, ban: Option<Ban>, (period, delay): (u64, u64)) -> Cluster {
        let mut limiters = vec![Limiter::new(limit, 64, ban); count];
        limiters.iter_mut().for_each(|limiter| limiter.share(true));
        Cluster { limiters, period, delay, wire: Vec::new(), lossy: false }
    }

    /// One millisecond passes.
    fn tick(&mut self, now: u64) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.wire).into_iter().partition(|(when, ..)| *when <= now);
        self.wire = later;
        for (_, to, message) in due {
            self.limiters[to].hear(at(now), &message);
        }
        if !now.is_multiple_of(self.period) {
            return;
        }
        for from in 0..self.limiters.len() {
            let message = self.limiters[from].tell(at(now));
            for to in (0..self.limiters.len()).filter(|to| *to != from && !self.lossy) {
                self.wire.push((now + self.delay, to, message.clone()));
            }
        }
    }

    fn ask(&mut self, now: u64, limiter: usize, key: u64) -> Result<(), Refusal> {
        self.limiters[limiter].ask(at(now), key)
    }
}

/// A client asks each of `count` in turn, every millisecond, for `length`; how many were admitted.
fn alternating(cluster: &mut Cluster, length: u64) -> u64 {
    let count = cluster.limiters.len();
    let mut admitted = 0;
    for now in 0..length {
        cluster.tick(now);
        admitted += u64::from(cluster.ask(now, now as usize % count, 7).is_ok());
    }
    admitted
}

#[test]
fn who_alternates_gets_the_rate_and_not_twice_of_it() {
    // 20 a second with a burst of 20, for a minute: 1,220 from one limiter.
    let mut two = Cluster::new(2, limit(50, 20), None, (100, 5));
    let admitted = alternating(&mut two, 60_000);
    assert!((1_220..=1_220 + 20 + 3).contains(&admitted), "{admitted}");
    let mut deaf = Cluster { lossy: true, ..Cluster::new(2, limit(50, 20), None, (100, 5)) };
    assert!(alternating(&mut deaf, 60_000) > 2_400, "without a word between them it is twice as much");
}

#[test]
fn a_ban_holds_everywhere_and_one_who_begins_anew_learns_of_it() {
    let ban = Ban { refusals: 10, within: Duration::from_secs(60), lasts: Duration::from_secs(30) };
    let mut two = Cluster::new(2, limit(1_000, 1), Some(ban), (100, 5));
    for now in 0..20 {
        two.tick(now);
        let _ = two.ask(now, 0, 7);
    }
    assert!(matches!(two.ask(20, 0, 7), Err(Refusal::Banned(_))), "ten refusals were too many");
    assert_eq!(two.ask(20, 1, 7), Ok(()), "the other does not know yet");
    (21..=105).for_each(|now| two.tick(now));
    assert!(matches!(two.ask(105, 1, 7), Err(Refusal::Banned(_))), "one period and the way later it does");
    assert_eq!(two.ask(105, 1, 8), Ok(()), "nobody else is meant");

    two.limiters[1] = Limiter::new(limit(1_000, 1), 64, Some(ban));
    two.limiters[1].share(true);
    let repeat = REPEAT.as_millis() as u64;
    (106..=repeat + 300).for_each(|now| two.tick(now));
    assert!(matches!(two.ask(repeat + 300, 1, 7), Err(Refusal::Banned(_))));
    (repeat + 301..=30_100).for_each(|now| two.tick(now));
    assert!([0, 1].into_iter().all(|limiter| two.ask(30_100, limiter, 7).is_ok()), "and then it is over");
    assert_eq!(two.limiters[0].banned(at(30_100)), 0);
}

#[test]
fn memory_is_bounded_and_what_is_not_told_is_counted() {
    let ban = Ban { refusals: 1, within: Duration::from_secs(60), lasts: Duration::from_secs(3600) };
    let mut limiter = Limiter::new(limit(1_000, 1), 64, Some(ban));
    limiter.share(true);
    let hash = |key| crate::balance::hash::draw(3, key);
    for key in 0..10_000 {
        for _ in 0..3 {
            let _ = limiter.ask(at(1), hash(key));
        }
    }
    assert_eq!(limiter.banned(at(1)), BANNED_MAX);
    assert!(limiter.untold() > 9_000);
    let message = limiter.tell(at(2));
    assert!(message.admitted.len() == TOLD_MAX && message.banned.len() <= 10_000);
    limiter.share(false);
    assert!(
        limiter.ask(at(4), 1).is_ok() && limiter.tell(at(5)).admitted.is_empty(),
        "alone, nothing is kept to be told"
    );
}

proptest! {
    /// The bound of the module, for any number of limiters, rates, periods, delays and ways to ask, over every time between two
    /// requests.
    #[test]
    fn never_more_than_the_bound(
        count in 1usize..5,
        interval in 1u64..40,
        burst in 1u32..12,
        (period, delay) in (1u64..60, 0u64..20),
        requests in prop::collection::vec((0u64..12, 0usize..5), 1..400),
    ) {
        let mut cluster = Cluster::new(count, limit(interval, burst), None, (period, delay));
        let (mut now, mut admitted) = (0, Vec::new());
        for (pause, limiter) in requests {
            (now + 1..=now + pause).for_each(|ms| cluster.tick(ms));
            now += pause;
            if cluster.ask(now, limiter % count, 7).is_ok() {
                admitted.push(now);
            }
        }
        let rate = |ms: u64| ms as f64 / interval as f64;
        let slack = (count - 1) as f64 * (f64::from(burst) + rate(period + delay) + 1.0);
        for (place, from) in admitted.iter().enumerate() {
            for (more, to) in admitted[place..].iter().enumerate() {
                let bound = f64::from(burst) + rate(to - from) + slack;
                prop_assert!((more + 1) as f64 <= bound + 1e-6, "{} in {} ms, bound {bound}", more + 1, to - from);
            }
        }
    }

    /// Who keeps the rate with all together, counted by one that sees everything, and leaves of the burst what comes in until a
    /// request is counted everywhere, is never refused by any.
    #[test]
    fn who_keeps_the_rate_is_not_refused(
        count in 1usize..5,
        interval in 1u64..40,
        kept in 1u32..12,
        (period, delay) in (1u64..60, 0u64..20),
        requests in prop::collection::vec((0u64..60, 0usize..5, 0u64..3), 1..300),
    ) {
        let late = (period + delay).div_ceil(interval) as u32;
        let mut cluster = Cluster::new(count, limit(interval, kept + late), None, (period, delay));
        let mut all = Rates::new(limit(interval, kept), 64, 0);
        let mut now = 0;
        for (pause, limiter, key) in requests {
            (now + 1..=now + pause).for_each(|ms| cluster.tick(ms));
            now += pause;
            if all.ask_hashed(at(now), key).is_ok() {
                prop_assert_eq!(cluster.ask(now, limiter % count, key), Ok(()));
            }
        }
    }

    /// What is charged is paid off like what was asked for, and is told when.
    #[test]
    fn a_charge_is_paid_off(requests in 1u32..50, later in 0u64..600) {
        let mut rates = Rates::new(limit(10, 1), 8, 0);
        rates.charge(at(100), 7, requests);
        let told = rates.ask_hashed(at(100 + later), 7).err().map_or(0, |wait| wait.as_nanos() as u64);
        prop_assert_eq!(told, (u64::from(requests) * 10 * MS).saturating_sub(later * MS));
    }
}

/// A door that has no fellows tells nobody, for as long as it runs.
#[test]
fn who_tells_nobody_remembers_no_more_than_he_may() {
    let ban = Ban { refusals: 1, within: Duration::from_secs(1), lasts: Duration::from_secs(60) };
    let mut alone = Limiter::new(limit(1_000, 1), 64, Some(ban));
    let keys = BANNED_MAX as u64 * 3;
    for key in 1..=keys {
        while !matches!(alone.ask(at(0), key), Err(Refusal::Banned(_))) {}
    }
    let bans = alone.bans.as_ref().unwrap();
    assert!(bans.fresh.len() <= BANNED_MAX && bans.until.len() <= BANNED_MAX);
    assert!(alone.admitted.is_none());
}
