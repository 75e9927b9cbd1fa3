//! `mainstay lab scenario`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use mainstay_site::model::FORMAT;
use serde::Serialize;

use super::database;
use super::faults::{SCENARIOS, Scenario};
use super::site;
use super::stage::Stage;
use crate::cli::exit::FAILED;
use crate::cli::help;
use crate::cli::up::say;
use crate::render;

/// Run a scenario: clients write, something fails, and what they were told is compared with what is there
#[derive(clap::Args, Debug)]
#[command(after_help = help::LAB_SCENARIO)]
pub struct Args {
    /// Which; several are run one after the other
    #[arg(value_name = "NAME", required_unless_present = "list")]
    names: Vec<String>,
    /// How often
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Name them all
    #[arg(long)]
    list: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// What a scenario showed.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub format: u32,
    pub scenario: String,
    pub runs: u32,
    pub gap_ms: Gap,
    pub acknowledged: u64,
    pub lost: u64,
    pub writable_primaries_max: usize,
    pub converged: bool,
    pub anomalies: Vec<String>,
}

/// The longest time without an acknowledged INSERT, in each run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Gap {
    pub median: u64,
    pub max: u64,
}

impl Row {
    fn new(scenario: &Scenario, runs: Vec<database::Outcome>) -> Row {
        let mut gaps: Vec<Duration> = runs.iter().map(|run| run.verdict.gap).collect();
        gaps.sort_unstable();
        let ms = |gap: Option<&Duration>| gap.map_or(0, |gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX));
        Row {
            format: FORMAT,
            scenario: scenario.name.to_owned(),
            runs: u32::try_from(runs.len()).unwrap_or(u32::MAX),
            gap_ms: Gap { median: ms(gaps.get(gaps.len() / 2)), max: ms(gaps.last()) },
            acknowledged: runs.iter().map(|run| run.verdict.acknowledged).sum(),
            lost: runs.iter().map(|run| run.verdict.lost).sum(),
            writable_primaries_max: runs.iter().map(|run| run.verdict.writable_primaries_max).max().unwrap_or(0),
            converged: runs.iter().all(|run| run.diverged.is_none()),
            anomalies: runs.iter().flat_map(database::Outcome::complaints).collect(),
        }
    }

    /// Whether what is promised was kept.
    fn is_well(&self) -> bool {
        self.lost == 0 && self.writable_primaries_max <= 1 && self.converged && self.anomalies.is_empty()
    }
}

/// Runs what was asked for, one line each.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.list {
        return list(args.json);
    }
    let known = |name: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == *name);
        found.with_context(|| format!("there is no scenario {name}; `mainstay lab scenario --list` names them all"))
    };
    let (whole, names): (Vec<String>, Vec<String>) = args.names.iter().cloned().partition(|name| site::is_one(name));
    let scenarios: Vec<&Scenario> = names.iter().map(known).collect::<Result<_, _>>()?;
    ensure!(rustix::process::geteuid().is_root(), "scenarios make network namespaces: run them as root");
    let kept = whole.is_empty() || site::run(&whole, args.runs, args.json)?;
    if scenarios.is_empty() {
        return Ok(if kept { ExitCode::SUCCESS } else { ExitCode::from(FAILED) });
    }
    let mut stage = Stage::raise()?;
    let mut well = kept;
    if !args.json {
        render::print(&head());
    }
    for scenario in scenarios {
        let runs = repeat(&mut stage, scenario, args.runs)?;
        let row = Row::new(scenario, runs);
        well &= row.is_well();
        if args.json { render::print_json(&row)? } else { render::print(&line(&row)) }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn repeat(stage: &mut Stage, scenario: &Scenario, runs: u32) -> anyhow::Result<Vec<database::Outcome>> {
    (1..=runs)
        .map(|number| {
            let run = database::play(stage, scenario).with_context(|| format!("{}, run {number}", scenario.name))?;
            let gap = run.verdict.gap.as_millis();
            say(&format!(
                "{} {number}/{runs}: gap {gap} ms, {} acknowledged, {} lost",
                scenario.name, run.verdict.acknowledged, run.verdict.lost
            ));
            run.complaints().iter().take(8).for_each(|complaint| say(&format!("  {complaint}")));
            Ok(run)
        })
        .collect()
}

/// Names and what they are.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCENARIOS.iter().map(|scenario| (scenario.name, scenario.about)).chain(site::names())
}

fn list(json: bool) -> anyhow::Result<ExitCode> {
    if json {
        let names: Vec<(&str, &str)> = all().collect();
        render::print_json(&names)?;
    } else {
        let lines = all().map(|(name, about)| format!("{name:<24} {about}\n"));
        render::print(&lines.collect::<String>());
    }
    Ok(ExitCode::SUCCESS)
}

fn head() -> String {
    format!(
        "{:<24} {:>4}  {:>17}  {:>12}  {:>4}  {:>9}  {}\n",
        "scenario", "runs", "gap ms median/max", "acknowledged", "lost", "primaries", "converged"
    )
}

fn line(row: &Row) -> String {
    let gap = format!("{}/{}", row.gap_ms.median, row.gap_ms.max);
    let converged = if row.converged { "yes" } else { "NO" };
    let mut text = format!(
        "{:<24} {:>4}  {gap:>17}  {:>12}  {:>4}  {:>9}  {converged}\n",
        row.scenario, row.runs, row.acknowledged, row.lost, row.writable_primaries_max
    );
    row.anomalies.iter().take(20).for_each(|anomaly| text += &format!("  ! {anomaly}\n"));
    text
}
