//! Every short history of two machines, against what an operator would say.

use std::time::Duration;

use super::world::{DELAY, INTERVAL, Pause, World};
use crate::vrrp::flaw::Flaw;
use crate::vrrp::{Fitness, Input};

/// What may happen to a machine; each is followed by a pause of one of two lengths.
const EVENTS: [fn(&mut World, usize); 11] = [
    |world, node| world.power_off(node),
    |world, node| world.power_on(node),
    |world, node| world.pause(node, Pause::Frozen),
    |world, node| world.go_on(node),
    |world, node| world.assess(node, Fitness::Empty),
    |world, node| world.assess(node, Fitness::Fit),
    |world, node| world.unplug(node),
    |world, node| {
        if world.nodes[node].unplugged {
            world.plug(node)
        }
    },
    |world, node| world.tell(node, Input::Yield),
    |world, node| world.assess(node, Fitness::Maintained),
    |world, node| world.tell(node, Input::Return),
];

const PAUSES: [Duration; 2] = [Duration::from_millis(130), Duration::from_millis(900)];

/// Two machines in fault may wait for each other's last word, and one interval more.
const SETTLES: Duration = Duration::from_millis(250 * 5 + 20);

/// Plays every history of `length` events; what is wrong with the first that is.
pub(super) fn play_all(length: u32, flaw: Option<Flaw>) -> Result<u64, String> {
    let choices = EVENTS.len() * 2 * PAUSES.len();
    let all = (choices as u64).pow(length);
    for number in 0..all {
        play(number, length, choices as u64, flaw)?;
    }
    Ok(all)
}

fn play(number: u64, length: u32, choices: u64, flaw: Option<Flaw>) -> Result<(), String> {
    let mut world = World::new(2, true, number, flaw);
    world.run(INTERVAL * 5);
    (world.shared, world.vacant) = (Duration::ZERO, Duration::ZERO);
    let mut yielded = [false; 2];
    let mut rest = number;
    let mut told = String::new();
    for _ in 0..length {
        let choice = (rest % choices) as usize;
        rest /= choices;
        let (event, node, pause) = (choice / 4, choice % 2, choice / 2 % 2);
        told += &format!("{event} of {node}, {:?}; ", PAUSES[pause]);
        EVENTS[event](&mut world, node);
        let awake = world.nodes[node].on && world.nodes[node].pause.is_none();
        match event {
            // A new life knows of no order.
            0 => yielded[node] = false,
            8 | 10 if awake || world.nodes[node].pause == Some(Pause::Frozen) => yielded[node] = event == 8,
            _ => {}
        }
        world.run(PAUSES[pause]);
    }
    world.run(SETTLES);
    right(&world, yielded).map_err(|wrong| format!("{told}{wrong}"))
}

/// Whoever can serve does, of several one, and never two at once for longer than packets take.
fn right(world: &World, yielded: [bool; 2]) -> Result<(), String> {
    let awake = |node: usize| {
        let it = &world.nodes[node];
        it.on && it.pause.is_none() && !it.unplugged && !yielded[node]
    };
    let able: Vec<usize> = (0..2).filter(|node| awake(*node)).collect();
    let fittest = able.iter().map(|node| world.nodes[*node].fitness).max();
    let best: Vec<usize> = able.into_iter().filter(|node| Some(world.nodes[*node].fitness) == fittest).collect();
    let holders = world.holders();
    let right = if best.is_empty() { holders.is_empty() } else { holders.len() == 1 && best.contains(&holders[0]) };
    if !right {
        return Err(format!("the address is at {holders:?}, and {best:?} should have it"));
    }
    if world.shared > DELAY * 8 {
        return Err(format!("both had the address for {:?}", world.shared));
    }
    Ok(())
}

#[test]
fn every_short_history_of_two_is_as_the_operator_says() {
    let mut histories = 0;
    for length in 1..=3 {
        histories += play_all(length, None).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    println!("{histories} histories");
}
