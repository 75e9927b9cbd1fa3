//! Scenarios of a whole site: visitors post to the guestbook while something happens behind it.

pub mod guestbook;
mod play;
mod restore;
mod row;

use anyhow::Context;

use self::play::Outcome;
pub use self::play::{differ, empty, goes_on, open, posts};
use self::row::Row;
use super::scenario::Asked;
use super::stage::Stage;
use super::table::table;
use crate::cli::up::say;

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

/// Runs those that are named, a line each; whether what is promised was kept in all.
pub fn run(wanted: &[String], Asked { runs, json, .. }: Asked) -> anyhow::Result<bool> {
    let mut stage = Stage::of("guestbook", guestbook::DECLARATION, guestbook::lay)?;
    play::open(&stage)?;
    let wanted = wanted.iter().filter_map(|name| SCENARIOS.iter().find(|scenario| scenario.name == *name));
    table(&row::head(), wanted, json, |scenario| Ok(Row::new(scenario.name, &repeat(&mut stage, scenario, runs)?)))
}

fn repeat(stage: &mut Stage, scenario: &Scenario, runs: u32) -> anyhow::Result<Vec<Outcome>> {
    (1..=runs)
        .map(|number| {
            let run = (scenario.play)(stage).inspect_err(|_| stage.keep_logs());
            let run = run.with_context(|| format!("{}, run {number}", scenario.name))?;
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
            if run.complaints().next().is_some() {
                stage.keep_logs();
            }
            Ok(run)
        })
        .collect()
}
