//! What operators have met, one after the other. Each returns what is wrong.

use std::time::Duration;

use super::world::{DELAY, INTERVAL, Pause, World, address, settings};
use crate::Time;
use crate::vrrp::flaw::Flaw;
use crate::vrrp::{ANNOUNCE_EVERY, Fitness, Input, PATIENCE, Settings, State};

pub(super) type Plot = fn(Option<Flaw>) -> Result<(), String>;

/// Every plot with what it is called.
pub(super) const PLOTS: [(&str, Plot); 27] = [
    ("the first one takes it", first),
    ("power cut", power_cut),
    ("several heirs", heirs),
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
    ("maintained", maintained),
    ("connections are inherited from who is still there", inherited),
    ("and from nobody else", not_inherited),
    ("who preempts", preempts),
    ("restarted at once", restarted),
    ("a fitter one has just begun", just_begun),
    ("who is not fit does not preempt", unfit_preempts_not),
    ("the backup is deaf and cannot serve", deaf_and_empty),
    ("somebody else says farewell", farewell_of_another),
    ("farewell over and over", farewell_again),
    ("an order is taken back", taken_back),
    ("nobody is there to take it", nobody_there),
    ("the wire is told for ever", told_for_ever),
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
    // It is the only heir, and waits for nobody.
    expect(world.vacant <= INTERVAL * 3 + INTERVAL / 64 + DELAY, "too long", &world)?;
    world.power_on(0);
    world.run(BOUND * 2);
    master_is(1, &world)
}

/// One after the other takes over, and never two at once.
fn heirs(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = World::new(4, true, 7, flaw);
    world.run(BOUND * 2);
    for (gone, heir) in [(0, 1), (1, 2), (2, 3)] {
        let before: usize = world.nodes.iter().map(|node| node.takeovers).sum();
        world.power_off(gone);
        world.run(BOUND);
        master_is(heir, &world)?;
        let after: usize = world.nodes.iter().map(|node| node.takeovers).sum();
        expect(after == before + 1, "only one takes it over", &world)?;
        world.run(BOUND);
    }
    Ok(())
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
    // Whatever the other one is at when it is pulled, and when it is put back.
    for (pulled, away) in (0..8).flat_map(|pulled| (0..12).map(move |away| (pulled, away))) {
        let mut world = ready(flaw);
        world.run(INTERVAL * pulled / 8);
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

fn maintained(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.assess(0, Fitness::Maintained);
    world.run(INTERVAL);
    master_is(1, &world)?;
    expect(world.vacant == Duration::ZERO, "nobody was without it", &world)?;
    // Nobody else is there: better it than nobody. And when there is somebody again, that one.
    world.power_off(1);
    world.run(BOUND * 2);
    master_is(0, &world)?;
    world.power_on(1);
    world.run(BOUND * 2);
    master_is(1, &world)?;
    world.assess(0, Fitness::Fit);
    world.run(BOUND);
    master_is(1, &world)?;
    not_shared(&world)
}

/// Who handed over answers its connections, and who has the address sends on what belongs to them.
fn inherited(flaw: Option<Flaw>) -> Result<(), String> {
    for change in [Input::Yield, Input::Fitness(Fitness::Maintained)] {
        let mut world = ready(flaw);
        world.tell(0, change);
        world.run(INTERVAL);
        let [old, new] = &world.nodes[..] else { return Err("there are two".into()) };
        expect(new.inherited == [address(0)] && old.released_to == Some(address(1)), "it is inherited", &world)?;
    }
    let lower = Settings { priority: 100, preempt: true, ..settings(0, true) };
    let higher = Settings { priority: 150, preempt: true, ..settings(1, true) };
    let mut world = World::of(vec![lower, higher], 5, flaw);
    world.power_off(1);
    world.run(BOUND);
    world.power_on(1);
    world.run(BOUND);
    let [old, new] = &world.nodes[..] else { return Err("there are two".into()) };
    expect(new.inherited == [address(0)] && old.released_to == Some(address(1)), "so by who preempts", &world)
}

fn not_inherited(flaw: Option<Flaw>) -> Result<(), String> {
    type Change = fn(&mut World);
    let kinds: [(bool, Change); 3] = [
        (true, |world| world.power_off(0)),
        (true, |world| world.assess(0, Fitness::Empty)),
        // Others do not answer at an address that they gave up.
        (false, |world| world.tell(0, Input::Yield)),
    ];
    for (kin, change) in kinds {
        let mut world = World::new(2, kin, 7, flaw);
        world.run(BOUND * 2);
        change(&mut world);
        world.run(BOUND * 2);
        expect(world.masters() == [1], "the other one has it", &world)?;
        let [old, new] = &world.nodes[..] else { return Err("there are two".into()) };
        expect(new.inherited.is_empty() && old.released_to.is_none(), "nothing is inherited", &world)?;
    }
    Ok(())
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

fn unfit_preempts_not(flaw: Option<Flaw>) -> Result<(), String> {
    // Among strangers, who do not say that they are fitter.
    let lower = Settings { priority: 1, preempt: true, ..settings(0, false) };
    let higher = Settings { priority: 250, preempt: true, ..settings(1, false) };
    let mut world = World::of(vec![lower, higher], 5, flaw);
    world.assess(1, Fitness::Empty);
    // It tries it once: nobody says that he is fitter.
    world.run(BOUND * 3);
    master_is(0, &world)?;
    let before = world.nodes[1].takeovers;
    world.run(BOUND * 4);
    master_is(0, &world)?;
    expect(world.nodes[1].takeovers == before, "who cannot serve takes it from nobody", &world)?;
    world.assess(1, Fitness::Fit);
    world.run(BOUND);
    master_is(1, &world)
}

fn deaf_and_empty(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.assess(1, Fitness::Empty);
    world.cut(0, 1);
    world.run(BOUND + INTERVAL * (PATIENCE + 4));
    expect(world.masters().contains(&0), "who serves does not give way to who cannot", &world)?;
    world.heal();
    world.run(INTERVAL * 2);
    master_is(0, &world)
}

fn farewell_of_another(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = World::new(3, true, 7, flaw);
    world.run(BOUND * 2);
    let farewell =
        Input::Advert { from: address(1), priority: 0, interval: INTERVAL, fitness: Some(Fitness::Maintained) };
    for _ in 0..10 {
        world.tell(2, farewell.clone());
        world.run(INTERVAL * 11 / 10);
    }
    master_is(0, &world)?;
    expect(world.nodes[2].takeovers == 0, "its master is still there", &world)
}

fn farewell_again(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = World::new(3, true, 7, flaw);
    world.run(BOUND * 2);
    let farewell = Input::Advert { from: address(0), priority: 0, interval: INTERVAL, fitness: Some(Fitness::Fit) };
    world.power_off(0);
    for _ in 0..20 {
        world.tell(1, farewell.clone());
        world.run(INTERVAL / 20);
    }
    master_is(1, &world)
}

/// An order, or a bad state, that is over before anybody acted on it.
fn taken_back(flaw: Option<Flaw>) -> Result<(), String> {
    let kinds = [[Input::Yield, Input::Return], [Input::Fitness(Fitness::Maintained), Input::Fitness(Fitness::Fit)]];
    for [order, back] in kinds {
        // With three there is a skew, in which it is taken back.
        let mut world = World::new(3, true, 7, flaw);
        world.run(BOUND * 2);
        world.tell(0, order);
        world.run(DELAY * 2);
        world.tell(0, back);
        world.run(BOUND * 2);
        master_is(0, &world)?;
        expect(world.nodes[1].takeovers + world.nodes[2].takeovers == 0, "nobody else took it", &world)?;
    }
    Ok(())
}

/// Whoever is the last holds the address until he leaves.
fn nobody_there(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.power_off(1);
    world.tell(0, Input::Yield);
    world.run(INTERVAL * 15 / 4);
    expect(world.holders() == [0], "it gives others time to take it", &world)?;
    world.run(INTERVAL);
    expect(world.holders().is_empty(), "it leaves all the same", &world)
}

fn told_for_ever(flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = ready(flaw);
    world.run(Duration::from_secs(100));
    let last = world.nodes[0].announced.iter().rev().take(3).map(|at| world.now.since(*at)).max();
    let recent = last.is_some_and(|last| last <= ANNOUNCE_EVERY * 3);
    expect(recent && world.nodes[0].announced.len() >= 7, "what aged out is mended", &world)
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
