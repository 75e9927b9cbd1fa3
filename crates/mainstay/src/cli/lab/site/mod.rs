//! Scenarios of a whole site: visitors post to the guestbook while something happens behind it.

mod guestbook;
mod play;
mod restore;
mod row;

use anyhow::Context;

use self::play::Outcome;
use self::row::Row;
use super::stage::Stage;
use crate::cli::up::say;
use crate::render;

/// A scenario.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// Plays it once.
    pub play: fn(&mut Stage) -> anyhow::Result<Outcome>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "db-guestbook-power-off",
        about: "the primary's server, with half of the web and application servers, is powered off while visitors post",
        play: play::power_off,
    },
    Scenario {
        name: "db-guestbook-switchover",
        about: "an operator moves the primary while visitors post",
        play: play::switchover,
    },
    Scenario {
        name: "db-restore",
        about: "backup, a dropped table, and back to the second before",
        play: restore::play,
    },
];

/// Names and what they are.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCENARIOS.iter().map(|scenario| (scenario.name, scenario.about))
}

/// Whether it is one of these.
pub fn is_one(name: &str) -> bool {
    SCENARIOS.iter().any(|scenario| scenario.name == name)
}

/// Runs those that are named, a line each; whether what is promised was kept in all.
pub fn run(wanted: &[String], runs: u32, json: bool) -> anyhow::Result<bool> {
    let mut stage = Stage::of("guestbook", guestbook::DECLARATION, guestbook::lay)?;
    play::open(&stage)?;
    if !json {
        render::print(&row::head());
    }
    let mut well = true;
    for scenario in wanted.iter().filter_map(|name| SCENARIOS.iter().find(|scenario| scenario.name == *name)) {
        let outcomes = repeat(&mut stage, scenario, runs)?;
        let row = Row::new(scenario.name, &outcomes);
        well &= row.is_well();
        if json { render::print_json(&row)? } else { render::print(&row::line(&row)) }
    }
    Ok(well)
}

fn repeat(stage: &mut Stage, scenario: &Scenario, runs: u32) -> anyhow::Result<Vec<Outcome>> {
    (1..=runs)
        .map(|number| {
            let run = (scenario.play)(stage).with_context(|| format!("{}, run {number}", scenario.name))?;
            let Outcome { tally, .. } = &run;
            say(&format!(
                "{} {number}/{runs}: {} requests, {} failed ({} under way at the fault), gap {} ms, slowest {} ms, {} posts, {} lost",
                scenario.name,
                tally.sent,
                tally.failed,
                tally.in_flight,
                tally.gap.as_millis(),
                tally.slowest.as_millis(),
                tally.acknowledged,
                tally.lost
            ));
            run.complaints().take(8).for_each(|complaint| say(&format!("  {complaint}")));
            Ok(run)
        })
        .collect()
}
