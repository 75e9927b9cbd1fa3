//! Two to five machines, with loss, delay, partitions, pauses, power cuts, bad health and hand-overs, in virtual time.

use std::time::Duration;

use super::world::{DELAY, Dice, INTERVAL, Pause, World};
use crate::vrrp::flaw::Flaw;
use crate::vrrp::{Fitness, Input, State};

/// After the last change with every machine fit: three intervals and a skew, less than one more, and packets on their way.
const BOUND: Duration = Duration::from_millis(4 * 250 + 20);

#[derive(Default)]
pub(super) struct Tally {
    pub(super) histories: u64,
    pub(super) changes: u64,
    /// Of those with one-way partitions: how many had several masters before the partition's end, and how many none.
    one_way: u64,
    several: u64,
}

/// Plays a history; tells what is wrong.
pub(super) fn play(seed: u64, flaw: Option<Flaw>, tally: &mut Tally) -> Result<(), String> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let count = 2 + dice.below(4) as usize;
    let mut world = World::new(count, true, seed, flaw);
    world.run(BOUND);
    tally.histories += 1;
    let mut was_calm = true;
    for _ in 0..dice.below(8) + 3 {
        tally.changes += 1;
        world.shared = Duration::ZERO;
        let calm = change(&mut world, &mut dice, tally);
        world.run(Duration::from_millis(dice.below(1_500)));
        if calm {
            world.run(BOUND);
            let right = settled(&world).and_then(|()| if was_calm { apart(&world) } else { Ok(()) });
            right.map_err(|wrong| format!("seed {seed}, {count} machines: {wrong}"))?;
        }
        was_calm = calm;
        world.wrong.take().map_or(Ok(()), |wrong| Err(format!("seed {seed}, {count} machines: {wrong}")))?;
    }
    mend(&mut world);
    world.run(BOUND);
    settled(&world).map_err(|wrong| format!("seed {seed}, {count} machines, in the end: {wrong}"))
}

fn mend(world: &mut World) {
    world.heal();
    world.loss = 0;
    for node in 0..world.nodes.len() {
        world.go_on(node);
        if world.nodes[node].unplugged {
            world.plug(node);
        }
        world.assess(node, Fitness::Fit);
        world.power_on(node);
        world.tell(node, Input::Return);
    }
}

/// Changes something; whether what is promised holds after it.
fn change(world: &mut World, dice: &mut Dice, tally: &mut Tally) -> bool {
    let count = world.nodes.len();
    let (one, other) = (dice.below(count as u64) as usize, dice.below(count as u64) as usize);
    match dice.below(14) {
        0 | 1 => world.power_off(one),
        2 => world.power_on(one),
        3 => world.pause(one, if dice.below(2) == 0 { Pause::Frozen } else { Pause::Suspended }),
        4 | 5 => world.go_on(one),
        6 => {
            world.cut(one, other);
            world.cut(other, one);
            return false;
        }
        7 if one != other => {
            world.cut(one, other);
            world.run(BOUND);
            tally.one_way += 1;
            tally.several += u64::from(world.masters().len() > 1);
            return false;
        }
        8 => world.unplug(one),
        9 => {
            mend(world);
            return true;
        }
        10 => {
            world.loss = dice.below(20);
            return false;
        }
        11 => world.tell(one, Input::Yield),
        12 => world.tell(one, Input::Return),
        _ => {
            let fitness = Fitness::ALL[1 + dice.below(4) as usize];
            world.assess(one, fitness);
            return false;
        }
    }
    world.loss == 0 && world.lost.iter().flatten().all(|lost| !lost) && all_fit(world)
}

fn all_fit(world: &World) -> bool {
    world.nodes.iter().all(|node| node.fitness == Fitness::Fit || node.unplugged)
}

/// Exactly one master among those that can be one, all of whom hear each other, and it alone has the address.
fn settled(world: &World) -> Result<(), String> {
    let takes_part = |node: &usize| {
        let node = &world.nodes[*node];
        node.on && node.pause.is_none() && !node.unplugged && !node.vrrp.is_away()
    };
    let able: Vec<usize> = (0..world.nodes.len()).filter(takes_part).collect();
    let masters: Vec<usize> =
        able.iter().copied().filter(|node| world.nodes[*node].vrrp.state() == State::Master).collect();
    let holders = world.holders();
    let right = if able.is_empty() { holders.is_empty() } else { masters.len() == 1 && holders == masters };
    let told = || format!("of {able:?} masters are {masters:?}, the address is at {holders:?} at {:?}", world.now);
    if right { Ok(()) } else { Err(told()) }
}

/// From one calm state to the next no two that hear each other have it for longer than it takes to hear each other.
fn apart(world: &World) -> Result<(), String> {
    let told = || format!("two had the address for {:?} until {:?}", world.shared, world.now);
    if world.shared <= DELAY * 8 { Ok(()) } else { Err(told()) }
}

#[test]
fn one_master_in_every_part_within_the_bound() {
    let mut tally = Tally::default();
    for seed in 0..4_000 {
        if let Err(wrong) = play(seed, None, &mut tally) {
            panic!("{wrong}");
        }
    }
    let Tally { histories, changes, one_way, several } = tally;
    println!("{histories} histories, {changes} changes; {one_way} one-way partitions, several masters after {several}");
}

/// Who hears whom is drawn; each part in which all hear each other and nobody else has exactly one master.
#[test]
fn every_symmetric_part_has_its_own() {
    for seed in 0..500 {
        let mut dice = Dice(seed * 2 + 1);
        let count = 3 + dice.below(3) as usize;
        let mut world = World::new(count, true, seed, None);
        world.run(BOUND);
        let parts: Vec<u64> = (0..count).map(|_| dice.below(3)).collect();
        for (one, other) in (0..count).flat_map(|one| (0..count).map(move |other| (one, other))) {
            world.lost[one][other] = parts[one] != parts[other];
        }
        world.run(BOUND);
        for part in 0..3 {
            let members: Vec<usize> = (0..count).filter(|node| parts[*node] == part).collect();
            let masters = world.masters().into_iter().filter(|node| members.contains(node)).count();
            assert_eq!(masters, usize::from(!members.is_empty()), "seed {seed}, part {part} of {parts:?}");
        }
        world.heal();
        world.run(INTERVAL * 2 + DELAY);
        assert_eq!(world.masters().len(), 1, "seed {seed}, healed");
    }
}
