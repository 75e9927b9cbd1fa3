//! What scenarios showed: a line each, for people and for programs.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use super::stage::Stage;
use crate::cli::up::say;
use crate::render;

/// So many complaints of one scenario are told to people, and so many of one run while it goes on.
const COMPLAINTS: usize = 20;
const COMPLAINTS_RUN: usize = 8;

/// What one run showed, as a line for people.
pub trait Played: fmt::Display {
    /// What is wrong, in words.
    fn complaints(&self) -> impl Iterator<Item = &String>;
}

/// Plays a scenario so many times; `play` is given the number of the run, from 1 on.
pub fn repeat<P: Played>(
    stage: &mut Stage,
    name: &str,
    runs: u32,
    mut play: impl FnMut(&mut Stage, u32) -> anyhow::Result<P>,
) -> anyhow::Result<Vec<P>> {
    let once = |number| {
        let run = play(stage, number).inspect_err(|_| stage.keep_logs());
        let run = run.with_context(|| format!("{name}, run {number}"))?;
        tell(stage, name, (number, runs), &run);
        Ok(run)
    };
    (1..=runs).map(once).collect()
}

/// Tells people of one run; of one with complaints the logs are kept.
pub fn tell(stage: &Stage, name: &str, (number, runs): (u32, u32), run: &impl Played) {
    say(&format!("{name} {number}/{runs}: {run}"));
    run.complaints().take(COMPLAINTS_RUN).for_each(|complaint| say(&format!("  {complaint}")));
    if run.complaints().next().is_some() {
        stage.keep_logs();
    }
}

/// All runs of one scenario.
pub trait Row: Serialize {
    /// A line without its end.
    fn line(&self) -> String;

    /// What is wrong, in words.
    fn anomalies(&self) -> &[String];

    /// Whether what is promised was kept.
    fn is_well(&self) -> bool {
        self.anomalies().is_empty()
    }
}

/// Plays scenarios, a row each; whether what is promised was kept in all.
pub fn table<S, R: Row>(
    head: &str,
    wanted: impl Iterator<Item = S>,
    json: bool,
    mut play: impl FnMut(S) -> anyhow::Result<R>,
) -> anyhow::Result<bool> {
    if !json {
        render::print(&format!("{head}\n"));
    }
    let mut well = true;
    for scenario in wanted {
        let row = play(scenario)?;
        well &= row.is_well();
        if json {
            render::print_json(&row)?;
        } else {
            let told = row.anomalies().iter().take(COMPLAINTS).map(|anomaly| format!("  ! {anomaly}\n"));
            render::print(&format!("{}\n{}", row.line(), told.collect::<String>()));
        }
    }
    Ok(well)
}

/// The longest time for which something did not go on, in each run; in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Gap {
    pub median: u64,
    pub max: u64,
}

impl Gap {
    /// Of all runs.
    pub fn of(gaps: impl Iterator<Item = Duration>) -> Gap {
        let mut gaps: Vec<u64> = gaps.map(|gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX)).collect();
        gaps.sort_unstable();
        // Of an even number, between the two in the middle.
        let at = |place: usize| gaps.get(place).copied().unwrap_or_default();
        let median = u64::midpoint(at(gaps.len().saturating_sub(1) / 2), at(gaps.len() / 2));
        Gap { median, max: gaps.last().copied().unwrap_or_default() }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.median, self.max))
    }
}
