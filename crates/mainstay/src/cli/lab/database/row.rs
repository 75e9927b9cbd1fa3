//! What the runs of a scenario showed, in a line.

use mainstay_site::model::FORMAT;
use serde::Serialize;

use super::super::table::{self, Gap, Played};
use super::run::Outcome;

/// What a scenario showed.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub format: u32,
    pub scenario: String,
    pub runs: usize,
    /// The longest time without an acknowledged INSERT.
    pub gap_ms: Gap,
    pub acknowledged: u64,
    pub lost: u64,
    pub writable_primaries_max: usize,
    pub converged: bool,
    pub anomalies: Vec<String>,
}

impl Row {
    pub fn new(scenario: &str, runs: &[Outcome]) -> Row {
        Row {
            format: FORMAT,
            scenario: scenario.to_owned(),
            runs: runs.len(),
            gap_ms: Gap::of(runs.iter().map(|run| run.verdict.gap)),
            acknowledged: runs.iter().map(|run| run.verdict.acknowledged).sum(),
            lost: runs.iter().map(|run| run.verdict.lost).sum(),
            writable_primaries_max: runs.iter().map(|run| run.verdict.writable_primaries_max).max().unwrap_or(0),
            converged: runs.iter().all(|run| run.diverged.is_none()),
            anomalies: runs.iter().flat_map(Played::complaints).cloned().collect(),
        }
    }
}

impl table::Row for Row {
    fn is_well(&self) -> bool {
        self.lost == 0 && self.writable_primaries_max <= 1 && self.converged && self.anomalies.is_empty()
    }

    fn anomalies(&self) -> &[String] {
        &self.anomalies
    }

    fn line(&self) -> String {
        let Row { scenario, runs, gap_ms, acknowledged, lost, writable_primaries_max: primaries, converged, .. } = self;
        let converged = if *converged { "yes" } else { "NO" };
        format!("{scenario:<28} {runs:>4}  {gap_ms:>17}  {acknowledged:>12}  {lost:>4}  {primaries:>9}  {converged}")
    }
}

pub fn head() -> String {
    format!(
        "{:<28} {:>4}  {:>17}  {:>12}  {:>4}  {:>9}  {}",
        "scenario", "runs", "gap ms median/max", "acknowledged", "lost", "primaries", "converged"
    )
}
