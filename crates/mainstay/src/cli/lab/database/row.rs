//! What the runs of a scenario showed, in a line.

use std::time::Duration;

use mainstay_site::model::FORMAT;
use serde::Serialize;

use super::run::Outcome;

/// What a scenario showed.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub format: u32,
    pub scenario: String,
    pub runs: usize,
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
    pub fn new(scenario: &str, runs: &[Outcome]) -> Row {
        let mut gaps: Vec<Duration> = runs.iter().map(|run| run.verdict.gap).collect();
        gaps.sort_unstable();
        let ms = |gap: Option<&Duration>| gap.map_or(0, |gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX));
        Row {
            format: FORMAT,
            scenario: scenario.to_owned(),
            runs: runs.len(),
            gap_ms: Gap { median: ms(gaps.get(gaps.len() / 2)), max: ms(gaps.last()) },
            acknowledged: runs.iter().map(|run| run.verdict.acknowledged).sum(),
            lost: runs.iter().map(|run| run.verdict.lost).sum(),
            writable_primaries_max: runs.iter().map(|run| run.verdict.writable_primaries_max).max().unwrap_or(0),
            converged: runs.iter().all(|run| run.diverged.is_none()),
            anomalies: runs.iter().flat_map(Outcome::complaints).cloned().collect(),
        }
    }

    /// Whether what is promised was kept.
    pub fn is_well(&self) -> bool {
        self.lost == 0 && self.writable_primaries_max <= 1 && self.converged && self.anomalies.is_empty()
    }
}

pub fn head() -> String {
    format!(
        "{:<28} {:>4}  {:>17}  {:>12}  {:>4}  {:>9}  {}\n",
        "scenario", "runs", "gap ms median/max", "acknowledged", "lost", "primaries", "converged"
    )
}

pub fn line(row: &Row) -> String {
    let gap = format!("{}/{}", row.gap_ms.median, row.gap_ms.max);
    let converged = if row.converged { "yes" } else { "NO" };
    let mut text = format!(
        "{:<28} {:>4}  {gap:>17}  {:>12}  {:>4}  {:>9}  {converged}\n",
        row.scenario, row.runs, row.acknowledged, row.lost, row.writable_primaries_max
    );
    row.anomalies.iter().take(20).for_each(|anomaly| text += &format!("  ! {anomaly}\n"));
    text
}
