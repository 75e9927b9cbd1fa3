//! Every short history: each of these faults after each other, at once or after a while.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::faults::Fault;
use super::seeded::{Tally, settle};
use super::world::{Weather, World};
use crate::election::Mode;

use Fault::{
    CutFromStore, CutOneWay, Isolate, KillDb, KillRole, Late, Nothing, PauseDb, PauseRole, PowerOff, StopSql,
    StoreDown, Switchover,
};

/// What may befall next. db1 is the primary at first; the others are alike, so db3 is touched only where db2 is not.
const FAULTS: [Fault; 19] = [
    Nothing,
    KillDb(0),
    KillDb(1),
    KillRole(0),
    KillRole(1),
    PowerOff(0),
    PowerOff(1),
    PowerOff(2),
    PauseRole(0),
    PauseDb(0),
    PauseDb(1),
    CutFromStore(0),
    CutFromStore(1),
    Late(0),
    CutOneWay(1, 0),
    Isolate(0),
    StopSql(1),
    StoreDown,
    Switchover(None),
];
/// A moment, in which a message is under way; and longer than a replica may be away and a former leader waits.
const PAUSES_MS: [u64; 2] = [25, 2_200];

fn branch(world: &World, faults: &mut Vec<(Fault, u64)>, depth: usize, mode: Mode, tally: &mut Tally) {
    if depth == 0 {
        settle(world.clone(), mode, &format!("{mode:?} {faults:?}"), 800, tally)
            .unwrap_or_else(|wrong| panic!("{wrong}"));
        return;
    }
    for fault in FAULTS {
        for pause in PAUSES_MS {
            let mut next = world.clone();
            next.befall(fault);
            next.run(pause);
            faults.push((fault, pause));
            branch(&next, faults, depth - 1, mode, tally);
            faults.pop();
        }
    }
}

/// Every history of so many faults, by as many threads as there are cores: each takes one first fault and its pause at a time.
fn every_history(depth: usize, mode: Mode) {
    let weather = Weather { lost: 0, latency_ms: 2, failing: 0 };
    let mut world = World::new(7, weather, true, mode, None);
    world.run(2_500);
    let first: Vec<(Fault, u64)> = FAULTS.into_iter().flat_map(|fault| PAUSES_MS.map(|pause| (fault, pause))).collect();
    let (next, tallies) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let play = || {
        let mut tally = Tally::default();
        while let Some((fault, pause)) = first.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut begun = world.clone();
            begun.befall(*fault);
            begun.run(*pause);
            branch(&begun, &mut vec![(*fault, *pause)], depth - 1, mode, &mut tally);
        }
        tallies.lock().unwrap().push(tally);
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (0..cores).for_each(|_| drop(scope.spawn(play)));
    });
    let histories: u64 = tallies.into_inner().unwrap().iter().map(|tally| tally.histories).sum();
    println!("{mode:?}, depth {depth}: {histories} histories");
    assert_eq!(histories, (first.len() as u64).pow(u32::try_from(depth).unwrap()));
}

#[test]
fn every_history_of_two_faults() {
    every_history(2, Mode::Available);
}

#[test]
fn every_history_of_two_faults_where_writes_wait() {
    every_history(2, Mode::Strict);
}

/// Three minutes of both cores: `cargo test -p mainstay-machines every_history_of_three -- --ignored`, which sets no time (nextest would end it).
#[test]
#[ignore = "54,872 histories"]
fn every_history_of_three_faults() {
    every_history(3, Mode::Available);
}
