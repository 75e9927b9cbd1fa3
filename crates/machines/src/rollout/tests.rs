//! All short histories of four servers in two tiers, against what an operator would say.

use std::collections::{HashMap, HashSet, VecDeque};

use super::*;

const TARGET: u64 = 2;

/// A server as it is; `Member` is what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Server {
    tier: &'static str,
    changes: bool,
    on: bool,
    at: u64,
    turn: u64,
    health: Health,
    late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Health {
    Well,
    Unwell,
    Refuses,
}

type World = Vec<Server>;

fn known(world: &World) -> Vec<Member> {
    let member = |(place, server): (usize, &Server)| Member {
        name: place.to_string(),
        tiers: vec![server.tier],
        maintained: false,
        at: server.at,
        turn: server.turn,
        changes: server.changes,
        standing: match server.health {
            _ if !server.on => Standing::Away,
            Health::Well => Standing::Well,
            Health::Unwell => Standing::Unwell("starting".into()),
            Health::Refuses => Standing::Refuses("no".into()),
        },
        waited: if server.late { PATIENCE } else { Duration::ZERO },
    };
    world.iter().enumerate().map(member).collect()
}

fn is_changing(server: &Server) -> bool {
    server.turn == TARGET && !(server.at == TARGET && (server.health == Health::Well || !server.on))
}

/// What befalls the world on its own.
fn befalls(world: &World) -> Vec<World> {
    let mut next = Vec::new();
    for place in 0..world.len() {
        let mut with = |change: &dyn Fn(&mut Server)| {
            let mut other = world.clone();
            change(&mut other[place]);
            if other != *world {
                next.push(other);
            }
        };
        let server = &world[place];
        with(&|it| it.on = !it.on);
        if server.on && server.turn > server.at {
            with(&|it| (it.at, it.health) = (TARGET, Health::Unwell));
            with(&|it| (it.at, it.health) = (TARGET, Health::Well));
            with(&|it| it.health = Health::Refuses);
        }
        if server.on {
            with(&|it| it.health = Health::Well);
            with(&|it| it.health = if it.health == Health::Well { Health::Unwell } else { it.health });
        }
        if is_changing(server) {
            with(&|it| it.late = true);
        }
    }
    next
}

/// Carries the decision out, and says what an operator would not have wanted.
fn decide(world: &World, decide: &dyn Fn(&[Member]) -> Decision) -> Result<World, String> {
    let mut after = world.clone();
    let told = match decide(&known(world)) {
        Decision::Turn(told) => told,
        Decision::Done { away } => {
            let behind: Vec<String> =
                (0..world.len()).filter(|it| world[*it].at < TARGET).map(|it| it.to_string()).collect();
            let there = world.iter().any(|server| server.on && server.at < TARGET);
            return if away == behind && !there { Ok(after) } else { Err(format!("done too early: {away:?}")) };
        }
        Decision::Wait { .. } | Decision::Stop { .. } => return Ok(after),
    };
    for name in told {
        let place: usize = name.parse().unwrap();
        let server = &world[place];
        if !server.on || server.turn == TARGET {
            return Err(format!("{place} is told though it is away or was told"));
        }
        let others = || world.iter().enumerate().filter(|(it, _)| *it != place).map(|(_, it)| it);
        if others().any(|it| is_changing(it) && (it.late || (it.on && it.health == Health::Refuses))) {
            return Err(format!("{place} is told while another has failed"));
        }
        if server.changes {
            if others().any(|it| it.changes && is_changing(it)) {
                return Err(format!("{place} is told while another changes"));
            }
            let mut tier = others().filter(|it| it.tier == server.tier).peekable();
            let alone = tier.peek().is_some() && !tier.any(|it| it.on && it.health == Health::Well);
            if alone && server.health == Health::Well {
                return Err(format!("{place} is told though it is the last of its tier"));
            }
        }
        after[place].turn = TARGET;
    }
    Ok(after)
}

fn begin(changes: [bool; 4]) -> World {
    let tiers = ["balancer", "balancer", "web", "web"];
    let server =
        |(tier, changes)| Server { tier, changes, on: true, at: 1, turn: 1, health: Health::Well, late: false };
    tiers.into_iter().zip(changes).map(server).collect()
}

/// Every world that can come about within so many happenings; the first complaint.
fn explore(changes: [bool; 4], faults: usize, how: &dyn Fn(&[Member]) -> Decision) -> Result<HashSet<World>, String> {
    let mut seen: HashMap<World, usize> = HashMap::from([(begin(changes), 0)]);
    let mut waiting = VecDeque::from([begin(changes)]);
    while let Some(world) = waiting.pop_front() {
        let depth = seen[&world];
        let mut next = vec![decide(&world, how).map_err(|why| format!("{why}: {world:?}"))?];
        if depth < faults {
            next.extend(befalls(&world));
        }
        for other in next {
            if !seen.contains_key(&other) {
                seen.insert(other.clone(), depth + 1);
                waiting.push_back(other);
            }
        }
    }
    Ok(seen.into_keys().collect())
}

/// Everybody is on, and what is on its way arrives.
fn calm(mut world: World, how: &dyn Fn(&[Member]) -> Decision) -> World {
    for _ in 0..20 {
        for server in &mut world {
            (server.on, server.late, server.health) = (true, false, Health::Well);
            server.at = server.at.max(server.turn);
        }
        world = decide(&world, how).unwrap();
    }
    world
}

fn honest(members: &[Member]) -> Decision {
    next(TARGET, members)
}

#[test]
fn over_all_short_histories_a_tier_never_changes_at_once_and_the_end_is_reached() {
    let mut histories = 0;
    for bits in 0..16_u8 {
        let changes = std::array::from_fn(|place| bits & (1 << place) != 0);
        let worlds = explore(changes, 7, &honest).unwrap();
        histories += worlds.len();
        for world in worlds {
            let end = calm(world, &honest);
            assert!(end.iter().all(|server| server.at == TARGET), "{end:?}");
        }
    }
    assert!(histories > 10_000, "{histories}");
}

/// Machines with one flaw each: the model notices them all.
#[test]
fn the_model_notices_flaws() {
    let told = |members: &[Member], who: &dyn Fn(&Member) -> bool| {
        let due = members.iter().filter(|it| it.at < TARGET && it.turn < TARGET && who(it));
        due.map(|it| it.name.clone()).collect::<Vec<_>>()
    };
    let everybody = |members: &[Member]| match honest(members) {
        Decision::Turn(_) => Decision::Turn(told(members, &|it| !it.is_away())),
        other => other,
    };
    let goes_on_after_a_failure = |members: &[Member]| match honest(members) {
        Decision::Stop { .. } => Decision::Turn(told(members, &|it| !it.is_away()).into_iter().take(1).collect()),
        other => other,
    };
    let takes_the_last = |members: &[Member]| match honest(members) {
        Decision::Wait { because } if because.contains("only") => {
            Decision::Turn(told(members, &Member::is_well).into_iter().take(1).collect())
        }
        other => other,
    };
    let does_not_wait = |members: &[Member]| match honest(members) {
        Decision::Wait { because } if because.ends_with("changing") => {
            Decision::Turn(told(members, &Member::is_well).into_iter().take(1).collect())
        }
        other => other,
    };
    let tells_the_absent = |members: &[Member]| match honest(members) {
        Decision::Done { away } if !away.is_empty() => Decision::Turn(away),
        other => other,
    };
    let forgets_the_absent = |members: &[Member]| match honest(members) {
        Decision::Done { .. } => Decision::Done { away: Vec::new() },
        other => other,
    };
    type Flawed<'f> = &'f dyn Fn(&[Member]) -> Decision;
    let flawed: [Flawed<'_>; 6] =
        [&everybody, &goes_on_after_a_failure, &takes_the_last, &does_not_wait, &tells_the_absent, &forgets_the_absent];
    for (place, machine) in flawed.iter().enumerate() {
        assert!(explore([true; 4], 9, machine).is_err(), "flaw {place} is not noticed");
    }
}

#[test]
fn who_refuses_is_named_with_its_reason() {
    let mut world = begin([true; 4]);
    (world[1].turn, world[1].health) = (TARGET, Health::Refuses);
    assert_eq!(honest(&known(&world)), Decision::Stop { server: "1".into(), because: "no".into() });
}

#[test]
fn one_that_was_taken_out_is_not_counted_on() {
    let mut world = begin([true; 4]);
    world[0].on = false;
    let mut members = known(&world);
    members.remove(3);
    members.remove(2);
    assert!(matches!(honest(&members), Decision::Wait { because } if because.contains("only balancer")));
    members[0].maintained = true;
    assert_eq!(honest(&members), Decision::Turn(vec!["1".into()]));
}

#[test]
fn one_that_has_not_joined_yet_is_not_counted_on() {
    let mut world = begin([true; 4]);
    (world[1].on, world[1].at) = (false, 0);
    let mut members = known(&world);
    members.truncate(2);
    assert_eq!(honest(&members), Decision::Turn(vec!["0".into()]), "it grows from one to two");
}
