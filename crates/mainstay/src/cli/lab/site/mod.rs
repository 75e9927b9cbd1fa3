//! Scenarios of a whole site: visitors post to the guestbook while something happens behind it.

pub mod guestbook;
mod play;
mod restore;
mod row;

use self::play::Outcome;
pub use self::play::{differ, empty, goes_on, open, posts};
use self::row::Row;
use super::scenario::Asked;
use super::stage::Stage;
use super::table::{repeat, table};

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
    table(&row::head(), wanted, json, |scenario| {
        let outcomes = repeat(&mut stage, scenario.name, runs, |stage, _| (scenario.play)(stage))?;
        Ok(Row::new(scenario.name, &outcomes))
    })
}
