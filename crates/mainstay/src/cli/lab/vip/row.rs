//! What a scenario showed, for people and for programs.

use std::time::Duration;

use mainstay_lab::scenario::Toll;
use mainstay_site::model::FORMAT;
use serde::Serialize;

use super::Outcome;

/// All runs of one scenario.
#[derive(Debug, Serialize)]
pub struct Row {
    format: u32,
    scenario: &'static str,
    runs: usize,
    gap_ms: Gap,
    /// Of the caller who keeps his connection: with the time until its end was noticed.
    gap_kept_ms: Gap,
    asked: u64,
    failed: u64,
    /// The same done to keepalived, at the same interval, in the same runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    keepalived: Option<Beside>,
    anomalies: Vec<String>,
}

/// The longest time without a good answer, in each run.
#[derive(Clone, Copy, Debug, Serialize)]
struct Gap {
    median: u64,
    max: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Beside {
    runs: usize,
    gap_ms: Gap,
    asked: u64,
    failed: u64,
}

impl Row {
    pub fn new(scenario: &'static str, runs: &[Outcome]) -> Row {
        let ours: Vec<Toll> = runs.iter().map(|run| run.toll).collect();
        let others: Vec<Toll> = runs.iter().filter_map(|run| run.beside).collect();
        let sum = |tolls: &[Toll], of: fn(&Toll) -> u64| tolls.iter().map(of).sum();
        let keepalived = (!others.is_empty()).then(|| Beside {
            runs: others.len(),
            gap_ms: gap(&others, |toll| toll.gap),
            asked: sum(&others, |toll| toll.asked),
            failed: sum(&others, |toll| toll.failed),
        });
        Row {
            format: FORMAT,
            scenario,
            runs: runs.len(),
            gap_ms: gap(&ours, |toll| toll.gap),
            gap_kept_ms: gap(&ours, |toll| toll.gap_kept),
            asked: sum(&ours, |toll| toll.asked),
            failed: sum(&ours, |toll| toll.failed),
            keepalived,
            anomalies: runs.iter().flat_map(|run| &run.wrong).cloned().collect(),
        }
    }

    /// Whether what is promised was kept.
    pub fn is_well(&self) -> bool {
        self.anomalies.is_empty()
    }
}

fn gap(tolls: &[Toll], of: fn(&Toll) -> Duration) -> Gap {
    let mut gaps: Vec<u64> = tolls.iter().map(|toll| of(toll).as_millis() as u64).collect();
    gaps.sort_unstable();
    Gap { median: gaps.get(gaps.len() / 2).copied().unwrap_or(0), max: gaps.last().copied().unwrap_or(0) }
}

pub fn head() -> String {
    format!(
        "{:<24} {:>4}  {:>17}  {:>9}  {:>8}  {:>6}  {:>16}  {}\n",
        "scenario", "runs", "gap ms median/max", "kept", "requests", "failed", "keepalived's gap", "failed"
    )
}

pub fn line(row: &Row) -> String {
    let gap = |gap: Gap| format!("{}/{}", gap.median, gap.max);
    let (beside, failed) = row.keepalived.map_or_else(Default::default, |it| (gap(it.gap_ms), it.failed.to_string()));
    let mut text = format!(
        "{:<24} {:>4}  {:>17}  {:>9}  {:>8}  {:>6}  {beside:>16}  {failed}\n",
        row.scenario,
        row.runs,
        gap(row.gap_ms),
        gap(row.gap_kept_ms),
        row.asked,
        row.failed
    );
    row.anomalies.iter().take(20).for_each(|anomaly| text += &format!("  ! {anomaly}\n"));
    text
}
