//! Short histories that are aimed at one place each: what chance finds once in a thousand. Their pauses vary by chance.

use super::faults::Fault;
use super::seeded::{Tally, settle};
use super::world::{Dice, Weather, World};
use crate::election::flaw::Flaw;
use crate::election::{Epoch, Mode};

/// What befalls them, each after so many milliseconds and up to so many more. db1 is the primary, S is all others.
pub type Plot = &'static [(u64, u64, Fault)];

use Fault::{
    BackToStore, Corrupt, CutFromStore, CutOneWay, Isolate, Join, KillDb, KillRole, Late, PauseDb, PauseRole, PowerOff,
    ResumeRole, Served, StartRole, StartSql, StopSql, Switchover, Wipe,
};

pub const PLOTS: [(&str, Plot); 20] = [
    (
        "the record is changed late by a leader that was deposed",
        &[
            (0, 0, StopSql(1)),
            (0, 0, StopSql(2)),
            (100, 0, CutFromStore(0)),
            (0, 0, Isolate(0)),
            (6_500, 0, StartSql(1)),
            (0, 0, StartSql(2)),
            (500, 0, PowerOff(0)),
        ],
    ),
    (
        "a member of S without a role goes on acknowledging",
        &[(0, 0, KillRole(2)), (4_500, 0, CutOneWay(0, 1)), (300, 900, PowerOff(0)), (5_000, 0, StartRole(2))],
    ),
    (
        "the rest of S lacks what the one taken out had acknowledged",
        &[(0, 0, KillRole(2)), (2_600, 700, CutOneWay(0, 1)), (100, 600, PowerOff(0)), (5_000, 0, StartRole(2))],
    ),
    (
        "the primary is alone, without store and replicas",
        &[(0, 0, CutFromStore(0)), (0, 0, Isolate(0)), (6_000, 0, BackToStore(0)), (100, 0, Join(0))],
    ),
    (
        "the primary dies when a replica has just been taken in",
        &[
            (0, 0, Isolate(1)),
            (0, 0, Isolate(2)),
            (8_000, 0, Join(1)),
            (480, 300, PowerOff(0)),
            (6_000, 0, StartRole(0)),
        ],
    ),
    (
        "the store is lost while a replica is taken in, and what was sent comes late",
        &[
            (0, 0, Isolate(1)),
            (0, 0, Isolate(2)),
            (2_500, 0, Join(1)),
            (480, 300, CutFromStore(0)),
            (0, 0, Isolate(0)),
            (2_600, 1_500, PowerOff(0)),
            (4_000, 0, Join(1)),
        ],
    ),
    (
        "a replica is lost while it is taken in, the primary goes on alone, and then the record has it",
        &[
            (0, 0, Isolate(1)),
            (0, 0, Isolate(2)),
            (2_500, 0, Late(0)),
            (0, 0, Join(1)),
            (900, 700, Isolate(1)),
            (1_200, 1_200, PowerOff(0)),
            (4_000, 0, Join(1)),
        ],
    ),
    (
        "a switchover to one that lags",
        &[
            (0, 0, CutOneWay(0, 1)),
            (10, 60, Switchover(Some(1))),
            (3_000, 0, Served),
            (0, 0, PowerOff(0)),
            (5_000, 0, Join(1)),
        ],
    ),
    (
        "a switchover whose answer comes late",
        &[
            (0, 0, Switchover(Some(1))),
            (1, 60, CutFromStore(0)),
            (1_000, 2_000, BackToStore(0)),
            (2_000, 0, PowerOff(0)),
            (5_000, 0, StartRole(0)),
        ],
    ),
    (
        "one that was let go acknowledges to a primary that was started again",
        &[
            (0, 0, KillRole(2)),
            (4_500, 0, CutFromStore(1)),
            (0, 0, KillDb(0)),
            (2_500, 0, BackToStore(1)),
            (600, 0, CutOneWay(0, 1)),
            (300, 300, PowerOff(0)),
            (5_000, 0, StartRole(2)),
        ],
    ),
    (
        "the last of S has lost its data",
        &[
            (0, 0, PowerOff(2)),
            (3_000, 0, PowerOff(0)),
            (0, 0, Wipe(1)),
            (100, 0, StartRole(1)),
            (6_000, 0, StartRole(0)),
            (6_000, 0, StartRole(2)),
        ],
    ),
    (
        "the new primary is cut off before it is on record",
        &[(0, 200, KillDb(0)), (10, 80, CutFromStore(1)), (2_000, 0, PowerOff(1)), (6_000, 0, StartRole(1))],
    ),
    ("the replicas are gone and the site goes on", &[(0, 0, PowerOff(1)), (0, 500, PowerOff(2)), (4_000, 0, Served)]),
    (
        "the primary dies, and its place is taken",
        &[(0, 200, KillDb(0)), (1_500, 0, Served), (0, 0, PowerOff(1)), (6_000, 0, Served)],
    ),
    (
        "the primary is asleep, wakes up and finds another one",
        &[
            (0, 0, PauseRole(0)),
            (5_000, 0, Served),
            (0, 0, ResumeRole(0)),
            (1_000, 0, Served),
            (0, 0, PowerOff(2)),
            (3_000, 0, Served),
        ],
    ),
    (
        "the primary's data cannot be started again, nor then a replica's",
        &[(0, 200, Corrupt(0)), (9_000, 0, Served), (6_000, 0, Corrupt(2)), (2_000, 0, Served)],
    ),
    (
        "a switchover, and who was named dies at once",
        &[(0, 300, Switchover(Some(1))), (60, 200, PowerOff(1)), (6_000, 0, Served), (0, 0, StartRole(1))],
    ),
    (
        "a switchover, and the others die at once",
        &[
            (0, 300, Switchover(Some(1))),
            (60, 200, PowerOff(0)),
            (0, 100, PowerOff(2)),
            // Before the handover was done these two may have had what nobody else has.
            (5_000, 0, StartRole(0)),
            (0, 0, StartRole(2)),
            (6_000, 0, Served),
        ],
    ),
    (
        "who takes the place of the primary has what the other one never got, and dies too",
        &[
            (0, 0, CutOneWay(0, 1)),
            (0, 0, CutOneWay(2, 1)),
            (300, 200, PowerOff(0)),
            (3_100, 700, PowerOff(2)),
            (6_000, 0, StartRole(0)),
        ],
    ),
    (
        "one of S dies with what it had received, and then the primary",
        &[
            (0, 0, StopSql(1)),
            (0, 0, StopSql(2)),
            (500, 100, KillDb(1)),
            (0, 50, KillDb(2)),
            (0, 20, PowerOff(0)),
            (4_000, 0, StartSql(1)),
            (0, 0, StartSql(2)),
            (5_000, 0, StartRole(0)),
        ],
    ),
];

/// Plays one; what is wrong with it.
pub fn play(
    (name, plot): (&str, Plot),
    seed: u64,
    mode: Mode,
    flaw: Option<Flaw>,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut dice = Dice(seed ^ 0x9107);
    let weather = Weather { lost: 0, latency_ms: 1 + dice.below(6), failing: 0 };
    let mut world = World::new(seed, weather, true, mode, flaw);
    world.run(3_000);
    for (pause, more, fault) in plot {
        world.run(pause + dice.below(more + 1));
        // Only where the site goes on alone.
        if *fault != Served || mode == Mode::Available {
            world.befall(*fault);
        }
    }
    settle(world, mode, &format!("{name}, seed {seed}, {mode:?}"), 5_000, tally)
}

#[test]
fn the_plots_come_to_nothing() {
    let mut tally = Tally::default();
    for seed in 0..12 {
        for plot in PLOTS {
            for mode in [Mode::Available, Mode::Strict] {
                play(plot, seed, mode, None, &mut tally).unwrap_or_else(|wrong| panic!("{wrong}"));
            }
        }
    }
    println!("{tally:?}");
}

#[test]
fn they_begin_with_the_declared_primary_and_all_others_in_s() {
    let mut world = World::new(1, Weather { lost: 0, latency_ms: 2, failing: 0 }, true, Mode::Available, None);
    world.run(3_000);
    let cluster = world.store.mirror.cluster.as_ref().map(|entry| entry.value.clone()).unwrap();
    assert!(cluster.epoch > Epoch::default());
    assert_eq!((cluster.primary, cluster.sync), ("db1".into(), ["db2".into(), "db3".into()].into()));
}

#[test]
fn replicas_that_vanish_are_missed_though_nobody_writes() {
    let mut world = World::new(1, Weather { lost: 0, latency_ms: 2, failing: 0 }, true, Mode::Available, None);
    world.run(3_000);
    world.writing = false;
    world.run(1_000);
    // Their connections stay: a machine that is off says nothing.
    for fault in [PauseRole(1), PauseDb(1), PauseRole(2), PauseDb(2)] {
        world.befall(fault);
    }
    world.run(8_000);
    let sync = world.store.mirror.cluster.as_ref().map(|entry| entry.value.sync.clone()).unwrap();
    assert_eq!((sync, world.broken), (Default::default(), None));
}
