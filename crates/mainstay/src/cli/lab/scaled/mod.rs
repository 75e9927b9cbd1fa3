//! Scenarios of the scaled-up design: visitors read and post through its floating address while servers fail, are maintained,
//! and change their configuration.

mod changes;
mod faults;
mod growth;
mod kills;
mod orders;
mod play;
mod row;

use std::time::Duration;

use anyhow::Context;
use mainstay_lab::scenario::Visitors;

use self::play::{Happened, Outcome};
use self::row::Row;
use super::scenario::Asked;
use super::site::{guestbook, open};
use super::stage::Stage;
use super::table::{repeat, table};
use crate::cli::up::say;

/// What may come of it.
#[derive(Clone, Copy, Debug)]
struct Marks {
    /// Whether requests that only read may fail, if they were under way when something was broken.
    reads_fail: bool,
    /// The longest time for which nobody may be answered.
    gap_max: Option<Duration>,
    /// The longest time that an order may take.
    order_max: Option<Duration>,
}

/// Nobody who reads is failed. Who posts is failed only where something was broken while his request was under way, which the
/// tally knows.
const READS_NEVER_FAIL: Marks = Marks { reads_fail: false, gap_max: None, order_max: None };

/// A scenario.
struct Scenario {
    name: &'static str,
    about: &'static str,
    marks: Marks,
    act: fn(&mut Stage, &Visitors) -> anyhow::Result<Happened>,
}

const PLAIN: Scenario = Scenario { name: "", about: "", marks: READS_NEVER_FAIL, act: faults::web_off };

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "site-balancer-off",
        about: "the balancer that has the floating address is powered off, and on again",
        marks: Marks { reads_fail: true, gap_max: Some(Duration::from_secs(1)), order_max: None },
        act: faults::balancer_off,
    },
    Scenario {
        name: "site-web-off",
        about: "a web server is powered off, and on again",
        act: faults::web_off,
        ..PLAIN
    },
    Scenario {
        name: "site-app-off",
        about: "an application server is powered off, and on again",
        act: faults::app_off,
        ..PLAIN
    },
    Scenario {
        name: "site-maintain",
        about: "every server is maintained and brought back, one after the other",
        act: changes::maintain,
        ..PLAIN
    },
    Scenario { name: "site-release", about: "a new release of the codebase", act: changes::release, ..PLAIN },
    Scenario {
        name: "site-release-broken",
        about: "a release that does not work, which is gone back from by itself",
        act: changes::broken_release,
        ..PLAIN
    },
    Scenario {
        name: "site-apply-pool",
        about: "another weight of a web server; every server follows within two seconds",
        marks: Marks { order_max: Some(Duration::from_secs(2)), ..READS_NEVER_FAIL },
        act: changes::pool,
    },
    Scenario {
        name: "site-apply-kill-command",
        about: "kill -9 of `mainstay apply` at several moments",
        act: kills::command,
        ..PLAIN
    },
    Scenario {
        name: "site-apply-kill-server",
        about: "an application server loses its power while it changes",
        act: kills::server,
        ..PLAIN
    },
    Scenario {
        name: "site-apply-kill-leader",
        about: "the server that leads the store loses its power while others change",
        marks: Marks { reads_fail: true, gap_max: None, order_max: None },
        act: kills::leader,
    },
];

/// These are played on the design with a cache.
const CACHE_SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "site-cache-off",
        about: "the server of the applications' Redis is powered off, and on again",
        act: faults::cache_off,
        ..PLAIN
    },
    Scenario { name: "site-cache-killed", about: "kill -9 of Redis", act: faults::cache_killed, ..PLAIN },
    Scenario {
        name: "site-cache-frozen",
        about: "Redis stands still for some seconds and answers nobody",
        act: faults::cache_frozen,
        ..PLAIN
    },
];

const GROWTH: (&str, &str) =
    ("site-growth", "one site grows from the simple to the scaled-up design by three orders, posts kept");

const DESIGN: &str = include_str!("../../../../../../designs/3-scale-up.toml");

fn declaration() -> String {
    ours(DESIGN)
}

/// A design as it is in the repository, under another name and with the codebase beside it.
fn ours(design: &str) -> String {
    design.replace("foobar.com", "DOMAIN").replace("../examples/guestbook-flask", "code")
}

/// The design with a server for the applications' cache.
fn with_cache() -> String {
    declaration()
        + "\n[cache]\nmemory = \"16 MiB\"\n\n[servers.cache1]\naddress = \"10.80.0.61\"\nroles = [\"cache\"]\n"
}

/// Names and what they are.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = SCENARIOS.iter().chain(CACHE_SCENARIOS);
    all.map(|scenario| (scenario.name, scenario.about)).chain([GROWTH])
}

/// Runs those that are named, a line each; whether what is promised was kept in all.
pub fn run(wanted: &[String], asked: Asked) -> anyhow::Result<bool> {
    let mut well = true;
    for (scenarios, declared) in [(SCENARIOS, declaration()), (CACHE_SCENARIOS, with_cache())] {
        let named: Vec<&Scenario> =
            wanted.iter().filter_map(|name| scenarios.iter().find(|scenario| scenario.name == *name)).collect();
        if !named.is_empty() {
            well &= play_all(&named, &declared, asked)?;
        }
    }
    if wanted.iter().any(|name| name == GROWTH.0) {
        well &= grow(asked)?;
    }
    Ok(well)
}

/// Plays scenarios on one site.
fn play_all(scenarios: &[&Scenario], declared: &str, Asked { runs, json, rate, .. }: Asked) -> anyhow::Result<bool> {
    let mut stage = raise(declared)?;
    table(&row::head(rate), scenarios.iter(), json, |scenario| {
        let play = |stage: &mut Stage, _| play::run(stage, scenario.act, &scenario.marks, rate);
        Ok(Row::new(scenario.name, rate, &repeat(&mut stage, scenario.name, runs, play)?))
    })
}

fn raise(declared: &str) -> anyhow::Result<Stage> {
    let stage = Stage::of("scaled", declared, guestbook::lay)?;
    open(&stage)?;
    orders::book(&stage)?;
    Ok(stage)
}

/// A row for each step.
fn grow(Asked { runs, json, rate, .. }: Asked) -> anyhow::Result<bool> {
    let mut steps: Vec<(&str, Vec<Outcome>)> = Vec::new();
    for number in 1..=runs {
        let run = growth::play(rate).with_context(|| format!("{}, run {number}", GROWTH.0))?;
        for (place, (name, outcome)) in run.into_iter().enumerate() {
            say(&format!("{name} {number}/{runs}: {outcome}"));
            match steps.get_mut(place) {
                Some((_, known)) => known.push(outcome),
                None => steps.push((name, vec![outcome])),
            }
        }
    }
    table(&row::head(rate), steps.iter(), json, |(name, runs)| Ok(Row::new(name, rate, runs)))
}
