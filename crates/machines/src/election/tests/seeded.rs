//! Long histories by chance, the same for the same seed.

use super::faults::Fault;
use super::world::{Dice, NODES, Weather, World};
use crate::election::Mode;
use crate::election::flaw::Flaw;

/// How long everything must work until it has settled.
const SETTLES_MS: u64 = 40_000;

#[derive(Debug, Default)]
pub struct Tally {
    pub histories: u64,
    pub acknowledged: u64,
    pub promotions: u64,
    pub clones: u64,
}

fn some_fault(dice: &mut Dice) -> Fault {
    let id = dice.below(NODES as u64) as usize;
    let other = dice.below(NODES as u64) as usize;
    match dice.below(25) {
        0..=2 => Fault::KillDb(id),
        3 => Fault::KillRole(id),
        4..=6 => Fault::StartRole(id),
        7 => Fault::PowerOff(id),
        8 => Fault::PauseRole(id),
        9 => Fault::ResumeRole(id),
        10 => Fault::PauseDb(id),
        11 => Fault::ResumeDb(id),
        12 => Fault::CutFromStore(id),
        13 => Fault::BackToStore(id),
        14 => Fault::CutOneWay(id, other),
        15 => Fault::Isolate(id),
        16 | 17 => Fault::Join(id),
        18 => {
            if dice.one_in(3) {
                Fault::StoreDown
            } else {
                Fault::StoreUp
            }
        }
        19 => {
            if dice.one_in(2) {
                Fault::StopSql(id)
            } else {
                Fault::StartSql(id)
            }
        }
        20 | 21 => Fault::Switchover(dice.one_in(2).then_some(id)),
        22 => {
            if dice.one_in(2) {
                Fault::Late(id)
            } else {
                Fault::InTime(id)
            }
        }
        23 => {
            if dice.one_in(2) {
                Fault::Failover
            } else {
                Fault::Rejoin(id)
            }
        }
        _ => {
            if dice.one_in(6) {
                Fault::AllOff
            } else {
                Fault::StartRole(id)
            }
        }
    }
}

/// One history; what is wrong with it.
pub fn play(seed: u64, mode: Mode, automatic: bool, flaw: Option<Flaw>, tally: &mut Tally) -> Result<(), String> {
    let mut dice = Dice(seed ^ 0xFA17);
    let lost = [0, 40, 12][dice.below(3) as usize];
    let weather = Weather { lost, latency_ms: 1 + dice.below(25), failing: [0, 25][dice.below(2) as usize] };
    let mut world = World::new(seed, weather, automatic, mode, flaw);
    let mut faults = Vec::new();
    world.run(1_500);
    for _ in 0..4 + dice.below(12) {
        let fault = some_fault(&mut dice);
        faults.push((world.now.as_nanos() / 1_000_000, fault));
        world.befall(fault);
        // Often at once after one another, sometimes long enough for a lease to end.
        let pause = [20, 200, 1_000, 5_000][dice.below(4) as usize];
        world.run(1 + dice.below(pause));
    }
    settle(world, mode, &format!("seed {seed} {mode:?} {weather:?} {faults:?}"), SETTLES_MS / 2, tally)
}

/// Everything works again: nothing is lost, all is as it should be.
pub fn settle(mut world: World, mode: Mode, about: &str, writes_ms: u64, tally: &mut Tally) -> Result<(), String> {
    let wrong = |what: String, world: &World| Err(format!("{what}\n  {about}\n{}", world.report()));
    world.mend();
    world.run(writes_ms);
    world.writing = false;
    world.run(1_000);
    let mut waited = 0;
    while world.unsettled().is_some() && waited < SETTLES_MS && world.broken.is_none() {
        world.run(500);
        waited += 500;
    }
    tally.histories += 1;
    tally.acknowledged += world.acknowledged.len() as u64;
    tally.promotions += world.promotions;
    tally.clones += world.clones;
    if let Some(broken) = world.broken.clone() {
        return wrong(broken, &world);
    }
    if let Some(unsettled) = world.unsettled() {
        return wrong(format!("has not settled: {unsettled}"), &world);
    }
    match world.lost() {
        Some(write) if mode != Mode::Async => wrong(format!("the acknowledged write {write} is lost"), &world),
        _ => Ok(()),
    }
}

fn seeds() -> u64 {
    option_env!("MAINSTAY_SEEDS").and_then(|count| count.parse().ok()).unwrap_or(300)
}

fn play_many(mode: Mode, automatic: bool) {
    let mut tally = Tally::default();
    for seed in 0..seeds() {
        play(seed, mode, automatic, None, &mut tally).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    println!("{mode:?} automatic {automatic}: {tally:?}");
    assert!(tally.acknowledged > 100 * tally.histories, "hardly anything was written: {tally:?}");
}

#[test]
fn nothing_acknowledged_is_lost_where_the_site_goes_on_alone() {
    play_many(Mode::Available, true);
}

#[test]
fn nothing_acknowledged_is_lost_where_writes_wait_for_a_replica() {
    play_many(Mode::Strict, true);
}

#[test]
fn an_operators_failover_loses_nothing_either() {
    play_many(Mode::Available, false);
}

#[test]
fn without_a_promise_it_still_settles() {
    play_many(Mode::Async, false);
}
