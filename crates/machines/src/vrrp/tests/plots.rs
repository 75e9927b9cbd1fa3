//! What operators have met, one after the other. Each returns what is wrong.

use std::time::Duration;

use super::world::{DELAY, INTERVAL, Pause, World, settings};
use crate::Time;
use crate::vrrp::flaw::Flaw;
use crate::vrrp::{Fitness, Input, PATIENCE, Settings, State};

pub(super) type Plot = fn(Option<Flaw>) -> Result<(), String>;

/// Every plot with what it is called.
pub(super) const PLOTS: [(&str, Plot); 16] = [
    ("the first one takes it", first),
    ("power cut", power_cut),
    ("the master is frozen", |flaw| frozen(flaw, Pause::Frozen)),
    ("the master is suspended", |flaw| frozen(flaw, Pause::Suspended)),
    ("the backup is suspended", backup_suspended),
    ("nobody is served by the master", unfit),
    ("nobody is served by anybody", all_unfit),
    ("the master is not fit among strangers", unfit_among_strangers),
    ("split and healed", split),
    ("equals, split and healed", equals),
    ("the backup is deaf", deaf),
    ("the cable is pulled and put back", cable),
    ("planned hand-over", hand_over),
    ("who preempts", preempts),
    ("restarted at once", restarted),
    ("a fitter one has just begun", just_begun),
];

/// After the last change, with everybody fit.
const BOUND: Duration = Duration::from_millis(4 * 250 + 10);

fn ready(flaw: Option<Flaw>) -> World {
    let mut world = World::new(2, true, 7, flaw);
    world.run(BOUND * 2);
    (world.shared, world.vacant) = (Duration::ZERO, Duration::ZERO);
    world
}

fn expect(so: bool, what: &str, world: &World) -> Result<(), String> {
    let told = || {
        let (masters, holders) = (world.masters(), world.holders());
        format!(
            "{what}: masters {masters:?}, holders {holders:?}, shared {:?}, vacant {:?}",
            world.shared, world.vacant
        )
    };
    if so { Ok(()) } else { Err(told()) }
}

fn master_is(node: usize, world: &World) -> Result<(), String> {
    expect(world.masters() == [node] && world.holders() == [node], &format!("{node} is to be the master"), world)
}

/// Two machines that hear each other have it for no longer than it takes to hear each other.
fn not_shared(world: &World) -> Result<(), String> {
    expect(world.shared <= DELAY * 2, "two have the address", world)
}

fn first(flaw: Option<Flaw>) -> Result<(), String> {
    let world = ready(flaw);
    master_is(0, &world)?;
    expect(world.nodes[0].announced.len() >= 2, "announced, and again after it", &world)
}

fn power_cut(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.power_off(0);
    world.run(BOUND);
    master_is(1, &world)?;
    expect(world.vacant <= INTERVAL * 3 + INTERVAL / 4 + DELAY, "too long", &world)?;
    world.power_on(0);
    world.run(BOUND * 2);
    master_is(1, &world)
}

fn frozen(flaw: Option<Flaw>, pause: Pause) -> Result<(), String> {
    let mut world = ready(flaw);
    world.pause(0, pause);
    world.run(BOUND * 2);
    expect(world.holders() == [1], "the frozen one has lost it, the other one has it", &world)?;
    world.go_on(0);
    world.run(INTERVAL);
    master_is(1, &world)?;
    expect(world.nodes[0].vrrp.state() == State::Backup, "who stood still is a backup", &world)?;
    not_shared(&world)
}

fn backup_suspended(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.pause(1, Pause::Suspended);
    world.run(BOUND * 2);
    world.go_on(1);
    world.run(BOUND * 2);
    master_is(0, &world)?;
    expect(world.nodes[1].takeovers == 0, "what it could not hear was no silence", &world)
}

fn unfit(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.assess(0, Fitness::Silent);
    world.run(INTERVAL * 2);
    master_is(1, &world)?;
    expect(world.vacant <= INTERVAL / 4 + DELAY * 2, "the farewell makes it quick", &world)?;
    world.assess(0, Fitness::Fit);
    world.run(BOUND * 2);
    master_is(1, &world)?;
    not_shared(&world)
}

fn all_unfit(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.assess(1, Fitness::Empty);
    world.run(INTERVAL * 2);
    world.assess(0, Fitness::Empty);
    world.run(BOUND * 4);
    master_is(0, &world)?;
    expect(world.vacant == Duration::ZERO, "a 503 is better than nothing", &world)?;
    // One is fitter than the other, though not fit.
    world.assess(0, Fitness::Silent);
    world.run(INTERVAL * 3);
    master_is(1, &world)?;
    world.power_off(1);
    world.run(BOUND * 2);
    master_is(0, &world)?;
    world.power_on(1);
    world.run(INTERVAL * 2);
    expect(world.nodes[1].vrrp.state() != State::Initialize, "it takes part", &world)?;
    not_shared(&world)
}

fn unfit_among_strangers(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = World::new(2, false, 3, flaw);
    world.run(BOUND * 2);
    world.assess(0, Fitness::Empty);
    world.run(INTERVAL * 2);
    master_is(1, &world)?;
    world.assess(1, Fitness::Empty);
    world.run(BOUND * 2);
    expect(world.masters().len() == 1, "tried, and nobody took it for good", &world)?;
    let before: usize = world.nodes.iter().map(|node| node.takeovers).sum();
    world.run(BOUND * 20);
    let after: usize = world.nodes.iter().map(|node| node.takeovers).sum();
    expect(after <= before + 1, "it does not go to and fro", &world)
}

fn split(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.cut(0, 1);
    world.cut(1, 0);
    world.run(BOUND * 4);
    expect(world.masters() == [0, 1], "each is the master of its own part", &world)?;
    world.heal();
    let healed = world.now;
    world.run(INTERVAL * 2);
    master_is(0, &world)?;
    expect(world.nodes[0].announced.iter().any(|at| *at > healed), "the wire is told again", &world)
}

fn equals(flaw: Option<Flaw>) -> Result<(), String> {
    let equal = |node| Settings { priority: 100, ..settings(node, true) };
    let mut world = World::of(vec![equal(0), equal(1)], 5, flaw);
    world.run(BOUND * 2);
    world.cut(0, 1);
    world.cut(1, 0);
    world.run(BOUND * 4);
    world.heal();
    world.run(INTERVAL * 2);
    // The higher address (§ 6.4.3).
    master_is(1, &world)
}

fn deaf(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.cut(0, 1);
    world.run(BOUND + INTERVAL * (PATIENCE + 4));
    master_is(1, &world)?;
    world.heal();
    world.run(BOUND * 2);
    master_is(1, &world)
}

fn cable(flaw: Option<Flaw>) -> Result<(), String> {
    for away in 0..12 {
        let mut world = ready(flaw);
        world.unplug(0);
        world.run(BOUND * 2 + INTERVAL * away / 4);
        expect(world.holders() == [1], "the other one has it", &world)?;
        let before = world.nodes[0].takeovers;
        world.plug(0);
        world.run(BOUND * 2);
        master_is(1, &world)?;
        expect(world.nodes[0].takeovers == before, "it listens before it takes anything", &world)?;
    }
    Ok(())
}

fn hand_over(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.tell(0, Input::Yield);
    world.run(INTERVAL);
    master_is(1, &world)?;
    expect(world.vacant == Duration::ZERO, "nobody was without it", &world)?;
    world.power_off(1);
    world.run(BOUND * 2);
    expect(world.holders().is_empty(), "who is away stays away", &world)?;
    world.tell(0, Input::Return);
    world.run(BOUND);
    master_is(0, &world)?;
    // Nobody is there to take it.
    world.tell(0, Input::Yield);
    world.run(BOUND * 2);
    expect(world.holders().is_empty(), "it leaves all the same", &world)?;
    not_shared(&world)
}

fn preempts(flaw: Option<Flaw>) -> Result<(), String> {
    for (priority, preempt) in [(150, true), (255, false)] {
        let lower = Settings { priority: 100, ..settings(0, true) };
        let mut world = World::of(vec![lower, Settings { priority, preempt, ..settings(1, true) }], 5, flaw);
        world.run(BOUND);
        master_is(1, &world)?;
        world.power_off(1);
        world.run(BOUND);
        master_is(0, &world)?;
        world.power_on(1);
        world.run(BOUND);
        master_is(1, &world)?;
    }
    Ok(())
}

fn restarted(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    let held = world.nodes[0].held;
    let known = world.nodes[0].vrrp.settings.clone();
    world.run(INTERVAL / 2);
    world.nodes[0].vrrp = crate::vrrp::Vrrp::new(known.clone(), world.now, held);
    world.tell(0, Input::Fitness(Fitness::Fit));
    world.run(BOUND * 2);
    master_is(0, &world)?;
    expect(world.nodes[1].takeovers == 0 && world.vacant == Duration::ZERO, "nobody noticed", &world)?;
    let late = crate::vrrp::Vrrp::new(known, world.now, Some(Time::from_millis(10)));
    expect(late.state() == State::Initialize, "what is over is over", &world)
}

fn just_begun(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.assess(0, Fitness::Empty);
    world.power_off(0);
    world.power_off(1);
    world.run(BOUND);
    let before = world.nodes[0].takeovers;
    world.power_on(0);
    world.run(INTERVAL * 2);
    world.power_on(1);
    world.run(BOUND * 2);
    master_is(1, &world)?;
    expect(world.nodes[0].takeovers == before, "it waits for who is fitter", &world)
}

#[test]
fn they_end_well() {
    for (name, plot) in PLOTS {
        if let Err(wrong) = plot(None) {
            panic!("{name}: {wrong}");
        }
    }
}

#[test]
fn a_storm_is_not_answered_by_one() {
    let mut world = ready(None);
    let from = "10.0.0.99".parse().unwrap();
    let advert = Input::Advert { from, priority: 1, interval: INTERVAL, fitness: Some(Fitness::Empty) };
    let (before, announced) = (world.nodes[0].advertised, world.nodes[0].announced.len());
    for _ in 0..1_000 {
        world.tell(0, advert.clone());
        world.run(Duration::from_millis(1));
    }
    let (adverts, announcements) = (world.nodes[0].advertised - before, world.nodes[0].announced.len() - announced);
    assert!(adverts <= 13 && announcements <= 13, "{adverts} adverts, {announcements} announcements in a second");
}
