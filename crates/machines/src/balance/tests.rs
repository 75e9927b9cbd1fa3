use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn member(weight: u16, spare: bool, well: bool) -> Member {
    Member { identity: 0, weight, parts: slow_start::PARTS, spare, well }
}

fn members(weights: &[u16]) -> Vec<Member> {
    let numbered = weights.iter().enumerate();
    numbered
        .map(|(number, weight)| Member { identity: hash::draw(7, number as u64), ..member(*weight, false, true) })
        .collect()
}

/// Members with the same figures but for who is free.
struct Idle<F: Fn(usize) -> bool>(F);

impl<F: Fn(usize) -> bool> Figures for Idle<F> {
    fn is_free(&self, member: usize) -> bool {
        self.0(member)
    }

    fn outstanding(&self, _: usize) -> u32 {
        0
    }

    fn latency(&self, _: usize) -> Latency {
        Latency::new(Time::ZERO)
    }

    fn total(&self) -> u64 {
        0
    }
}

fn asked(turn: u64) -> Asked {
    Asked { turn, now: Time::ZERO, key: hash::draw(1, turn) }
}

/// Every pool of up to four members with any mix of spare and well: the rule an operator would give.
#[test]
fn spares_serve_only_when_no_other_is_well() {
    for size in 0..=4u32 {
        for mix in 0..4u32.pow(size) {
            let kinds = (0..size).map(|place| mix / 4u32.pow(place) % 4);
            let members: Vec<_> = kinds.map(|kind| member(1, kind & 1 == 1, kind & 2 == 2)).collect();
            let regular = members.iter().any(|member| member.well && !member.spare);
            // A table of slots takes milliseconds to make, and three members show what four do.
            let slots = |it: &&Algorithm| size < 4 || **it != Algorithm::ConsistentHash;
            for algorithm in Algorithm::ALL.iter().filter(slots) {
                let roster = Roster::new(*algorithm, &members);
                let anyone = members.iter().any(|member| member.well);
                assert_eq!(roster.is_empty(), !anyone);
                for turn in 0..8 {
                    let chosen = roster.pick(&asked(turn), &Idle(|_| true));
                    assert_eq!(chosen.is_some(), anyone);
                    let fits = |place: usize| members[place].well && members[place].spare != regular;
                    assert!(chosen.is_none_or(fits), "{algorithm:?} {members:?} chose {chosen:?}");
                }
            }
        }
    }
}

#[test]
fn who_is_not_free_is_passed_over() {
    for count in [2, FEW + 1] {
        let mut members = members(&vec![1; count]);
        members.push(member(1, true, true));
        for algorithm in Algorithm::ALL {
            let roster = Roster::new(algorithm, &members);
            let only = Idle(|place| place == 1);
            assert!((0..40).all(|turn| roster.pick(&asked(turn), &only) == Some(1)), "{algorithm:?}");
            let nobody = roster.pick(&asked(0), &Idle(|place| place == count));
            assert_eq!(nobody, None, "a spare does not relieve those that are only busy");
        }
    }
}

/// How often it was asked about a member.
#[derive(Default)]
struct Looks(Cell<u32>);

impl Figures for Looks {
    fn is_free(&self, _: usize) -> bool {
        self.0.set(self.0.get() + 1);
        true
    }

    fn outstanding(&self, _: usize) -> u32 {
        self.0.set(self.0.get() + 1);
        3
    }

    fn latency(&self, _: usize) -> Latency {
        self.0.set(self.0.get() + 1);
        Latency::new(Time::ZERO)
    }

    fn total(&self) -> u64 {
        3_000
    }
}

/// A choice among a thousand looks at two of them.
#[test]
fn a_thousand_cost_no_more_than_a_few() {
    let members = members(&vec![1; 1_000]);
    for algorithm in Algorithm::ALL {
        let roster = Roster::new(algorithm, &members);
        for turn in 0..1_000 {
            let looks = Looks::default();
            assert!(roster.pick(&asked(turn), &looks).is_some());
            assert!(looks.0.get() <= 6, "{algorithm:?}: {}", looks.0.get());
        }
    }
}

/// A pool in virtual time: requests come every `gap` µs, each member takes its own time for one whatever waits.
struct Pool {
    took: Vec<u64>,
    running: RefCell<BinaryHeap<Reverse<(u64, usize)>>>,
    loads: RefCell<Vec<u32>>,
    latencies: RefCell<Vec<Latency>>,
}

impl Figures for Pool {
    fn is_free(&self, _: usize) -> bool {
        true
    }

    fn outstanding(&self, member: usize) -> u32 {
        self.loads.borrow()[member]
    }

    fn latency(&self, member: usize) -> Latency {
        self.latencies.borrow()[member]
    }

    fn total(&self) -> u64 {
        self.running.borrow().len() as u64
    }
}

impl Pool {
    fn new(took: &[u64]) -> Pool {
        let latencies = RefCell::new(vec![Latency::new(Time::ZERO); took.len()]);
        let loads = RefCell::new(vec![0; took.len()]);
        Pool { took: took.to_vec(), running: RefCell::default(), loads, latencies }
    }

    fn request(&self, roster: &Roster, turn: u64, gap: u64) -> usize {
        let at = turn * gap;
        let mut running = self.running.borrow_mut();
        while running.peek().is_some_and(|Reverse((end, _))| *end <= at) {
            let Some(Reverse((end, member))) = running.pop() else { break };
            let took = Duration::from_micros(self.took[member]);
            self.latencies.borrow_mut()[member].sample(Time::from_nanos(end * 1_000), took);
            self.loads.borrow_mut()[member] -= 1;
        }
        drop(running);
        let chosen = roster.pick(&Asked { now: Time::from_nanos(at * 1_000), ..asked(turn) }, self).unwrap();
        self.loads.borrow_mut()[chosen] += 1;
        self.running.borrow_mut().push(Reverse((at + self.took[chosen], chosen)));
        chosen
    }

    /// How many requests each of them got.
    fn serve(&self, roster: &Roster, gap: u64, turns: std::ops::Range<u64>) -> Vec<u32> {
        let mut served = vec![0; self.took.len()];
        turns.for_each(|turn| served[self.request(roster, turn, gap)] += 1);
        served
    }
}

/// Fairness: equal members under load get equal shares, few or many, whatever the algorithm.
#[test]
fn equals_are_served_alike() {
    for (count, requests) in [(3, 30_000), (40, 80_000)] {
        for algorithm in Algorithm::ALL {
            let roster = Roster::new(algorithm, &members(&vec![1; count]));
            // Each has three requests at a time on average.
            let served = Pool::new(&vec![3_000 * count as u64; count]).serve(&roster, 1_000, 0..requests);
            let due = requests as f64 / count as f64;
            // Hashing is as even as its table and chance; the fastest does not count what waits.
            let exact = algorithm.hashes().is_none() && algorithm != Algorithm::Fastest;
            let slack = if exact { 0.10 } else { 0.20 };
            for one in &served {
                assert!((f64::from(*one) - due).abs() < slack * due, "{algorithm:?} {count}: {served:?}");
            }
        }
    }
}

/// Those under which a weight is a share; under fastest it is a handicap.
fn sharing() -> impl Iterator<Item = Algorithm> {
    Algorithm::ALL.into_iter().filter(|it| *it != Algorithm::Fastest)
}

/// Weights: a member of three times the weight gets about three times as much under load, few or many.
#[test]
fn weights_are_shares() {
    for count in [4, 40] {
        let weights: Vec<u16> = (0..count).map(|place| if place % 2 == 0 { 3 } else { 1 }).collect();
        for algorithm in sharing() {
            let roster = Roster::new(algorithm, &members(&weights));
            let took = 20_000 * count as u64;
            let served = Pool::new(&vec![took; count]).serve(&roster, 1_000, 0..40_000);
            let heavy: u32 = served.iter().step_by(2).sum();
            let share = f64::from(heavy) / 40_000.0;
            assert!((0.68..0.82).contains(&share), "{algorithm:?} {count}: {share}");
        }
    }
}

/// Of a slow member and quick ones, those that measure give the slow one less than its turn; yet in a large pool too it is
/// asked again and again.
#[test]
fn the_slow_get_less_and_do_not_starve() {
    for count in [3usize, 30] {
        let mut took = vec![5_000; count];
        took[0] = 100_000;
        for algorithm in Algorithm::ALL.into_iter().filter(|it| it.measures()) {
            let roster = Roster::new(algorithm, &members(&vec![1; count]));
            let pool = Pool::new(&took);
            let turns = 100_000;
            let served = pool.serve(&roster, 1_000, 0..turns);
            assert!(served[0] < turns as u32 / count as u32 / 2, "{algorithm:?} {count}: {}", served[0]);
            // The bound of a small pool: 16 s for one with nothing outstanding, 100 s of load; drawn at random, later.
            assert!(served[0] >= 3, "{algorithm:?} {count}: {}", served[0]);
        }
    }
}

/// Three members that no two algorithms judge alike: the first is quick and busy, the last idle and had a hiccup.
#[test]
fn each_algorithm_asks_for_its_own_figures() {
    let pool = Pool::new(&[10_000, 20_000, 30_000]);
    for at in 0..1_000 {
        for (latency, took) in pool.latencies.borrow_mut().iter_mut().zip(&pool.took) {
            latency.sample(Time::from_millis(at), Duration::from_micros(*took));
        }
    }
    pool.latencies.borrow_mut()[2].sample(Time::from_millis(1_000), Duration::from_millis(100));
    *pool.loads.borrow_mut() = vec![5, 1, 0];
    let asked = Asked { now: Time::from_millis(1_000), ..asked(0) };
    for (algorithm, due) in [
        (Algorithm::LeastConnections, 2),
        (Algorithm::Fastest, 0),
        (Algorithm::Observed, 2),
        (Algorithm::Predictive, 1),
    ] {
        let roster = Roster::new(algorithm, &members(&[1; 3]));
        assert_eq!(roster.pick(&asked, &pool), Some(due), "{algorithm:?}");
    }
}

/// In a large pool that has nothing to do too, a weight is a share, and a newcomer's part as well.
#[test]
fn weights_are_shares_of_the_idle() {
    let mut members = members(&[1; 40]);
    members[0].weight = 4;
    members[1].parts = 5;
    let idle = Idle(|_| true);
    for algorithm in Algorithm::ALL.into_iter().filter(|it| it.hashes().is_none()) {
        let roster = Roster::new(algorithm, &members);
        let mut served = [0; 40];
        (0..42_500).for_each(|turn| served[roster.pick(&asked(turn), &idle).unwrap()] += 1);
        let due = [(0, 4_000), (1, 500), (2, 1_000), (39, 1_000)];
        assert!(
            due.iter().all(|(place, due)| served[*place] * 5 > due * 4 && served[*place] * 5 < due * 6),
            "{served:?}"
        );
    }
}

/// When one of many turns ill, whose client it was not keeps its member, also where the pool is then a small one; and a
/// client stays however much its member has to do.
#[test]
fn clients_stay_when_another_turns_ill() {
    let mut members = members(&[1; FEW + 1]);
    let before = Roster::new(Algorithm::SourceHash, &members);
    members[3].well = false;
    let after = Roster::new(Algorithm::SourceHash, &members);
    let (idle, busy) = (Idle(|_| true), Pool::new(&[1; FEW + 1]));
    let mut moved = 0;
    for turn in 0..1_000 {
        let home = before.pick(&asked(turn), &idle).unwrap();
        moved += u32::from(home != 3 && after.pick(&asked(turn), &idle) != Some(home));
        busy.loads.borrow_mut()[home] += 1_000;
        assert_eq!(before.pick(&asked(turn), &busy), Some(home));
    }
    assert!(moved < 50, "{moved}");
}

/// Slow start: who is in it gets its parts, and hashing moves nothing.
#[test]
fn a_newcomer_gets_its_part() {
    for (count, parts) in [(2, 1), (2, 5), (40, 5)] {
        let mut members = members(&vec![1; count]);
        let whole: Vec<_> = sharing().map(|it| Roster::new(it, &members)).collect();
        members[1].parts = parts;
        for (algorithm, whole) in sharing().zip(whole) {
            let roster = Roster::new(algorithm, &members);
            if algorithm.hashes().is_some() {
                assert_eq!(roster.table, whole.table);
                continue;
            }
            let served = Pool::new(&vec![20_000 * count as u64; count]).serve(&roster, 1_000, 0..40_000);
            let due = 40_000.0 * f64::from(parts) / (f64::from(parts) + 10.0 * (count as f64 - 1.0));
            assert!((f64::from(served[1]) / due - 1.0).abs() < 0.25, "{algorithm:?} {count}: {} of {due}", served[1]);
        }
    }
}

proptest! {
    /// Whatever the members, someone eligible and free is chosen if there is one.
    #[test]
    fn someone_is_found(
        mix in prop::collection::vec((0u16..300, 0u8..12, any::<bool>(), any::<bool>(), any::<bool>()), 0..40),
        turn in any::<u64>(),
    ) {
        let members: Vec<_> = mix
            .iter()
            .enumerate()
            .map(|(number, it)| Member { identity: number as u64, weight: it.0, parts: it.1, spare: it.2, well: it.3 })
            .collect();
        for algorithm in Algorithm::ALL.into_iter().filter(|it| *it != Algorithm::ConsistentHash) {
            let roster = Roster::new(algorithm, &members);
            let chosen = roster.pick(&asked(turn), &Idle(|place| mix[place].4));
            let someone = roster.eligible().iter().any(|place| mix[*place].4);
            prop_assert_eq!(chosen.is_some(), someone);
            prop_assert!(chosen.is_none_or(|place| members[place].well && mix[place].4));
        }
    }
}
