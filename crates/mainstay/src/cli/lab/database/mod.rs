//! Scenarios of the database: clients write, something fails, and what they were told is compared with what is there.

mod act;
mod clocks;
mod coordination;
mod disks;
mod kills;
mod network;
mod orders;
mod pauses;
mod power;
mod rejoins;
mod replicas;
mod row;
mod run;

use std::mem;

use anyhow::Context;

use self::act::Act;
use self::row::Row;
use self::run::Outcome;
use super::ground::Ground;
use super::scenario::Asked;
use super::stage::Stage;
use super::table::{table, tell};

/// A scenario.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// What the servers stand on.
    ground: Ground,
    /// What befalls them, and its end.
    play: fn(&mut Act<'_>) -> anyhow::Result<()>,
}

impl Scenario {
    const fn new(name: &'static str, about: &'static str, play: fn(&mut Act<'_>) -> anyhow::Result<()>) -> Scenario {
        Scenario { name, about, ground: Ground::Plain, play }
    }

    const fn on(self, ground: Ground) -> Scenario {
        Scenario { ground, ..self }
    }
}

/// Every scenario, by subject.
const SUBJECTS: &[&[Scenario]] = &[
    kills::SCENARIOS,
    power::SCENARIOS,
    pauses::SCENARIOS,
    network::SCENARIOS,
    coordination::SCENARIOS,
    replicas::SCENARIOS,
    rejoins::SCENARIOS,
    disks::SCENARIOS,
    clocks::SCENARIOS,
    orders::SCENARIOS,
];

fn all() -> impl Iterator<Item = &'static Scenario> {
    SUBJECTS.iter().flat_map(|subject| subject.iter())
}

/// Names and what they are.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    all().map(|scenario| (scenario.name, scenario.about))
}

/// Runs those that are named, a line each; whether what is promised was kept in all.
///
/// One site serves all runs on the same ground; after a run that did not come to its end it is brought up anew.
pub fn run(wanted: &[String], Asked { runs, json, .. }: Asked) -> anyhow::Result<bool> {
    let mut stage = None;
    let wanted = wanted.iter().filter_map(|name| all().find(|scenario| scenario.name == *name));
    table(&row::head(), wanted, json, |scenario| {
        let outcomes = (1..=runs).map(|number| once(&mut stage, scenario, (number, runs)));
        Ok(Row::new(scenario.name, &outcomes.collect::<anyhow::Result<Vec<_>>>()?))
    })
}

fn once(stage: &mut Option<Stage>, scenario: &Scenario, run: (u32, u32)) -> anyhow::Result<Outcome> {
    let fits = |stage: &Stage| stage.ground == scenario.ground;
    let mut ready = match mem::take(stage).filter(fits) {
        Some(ready) => ready,
        None => Stage::on(scenario.ground).context("no scenario can be played")?,
    };
    let outcome = run::play(&mut ready, scenario).unwrap_or_else(|error| Outcome::broken_off(&error));
    tell(&ready, scenario.name, run, &outcome);
    *stage = outcome.diverged.is_none().then_some(ready);
    Ok(outcome)
}
