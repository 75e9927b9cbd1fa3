//! What a scenario showed, for people and for programs.

use mainstay_lab::scenario::Toll;
use mainstay_site::model::FORMAT;
use serde::Serialize;

use super::super::table::{self, Gap};
use super::Outcome;

/// Callers tell nothing shorter apart: two calls of theirs.
const APART_MS: u64 = 10;
/// Fewer runs say nothing of who is quicker.
const RUNS_TO_COMPARE: usize = 10;

/// All runs of one scenario.
#[derive(Debug, Serialize)]
pub struct Row {
    format: u32,
    scenario: &'static str,
    runs: usize,
    /// By which the moments of power cuts are drawn.
    seed: u64,
    /// The longest time without a good answer.
    gap_ms: Gap,
    /// Of the caller who keeps his connection: with the time until its end was noticed.
    gap_kept_ms: Gap,
    /// What the machine adds by itself: the longest time between two answers in the second before anything happened.
    calm_ms: Gap,
    asked: u64,
    failed: u64,
    /// Of those, the ones that nobody listened to.
    refused: u64,
    /// The same done to keepalived, at the same interval, in the same runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    keepalived: Option<Beside>,
    anomalies: Vec<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Beside {
    runs: usize,
    gap_ms: Gap,
    asked: u64,
    failed: u64,
}

impl Beside {
    /// What is promised is that it is not.
    fn is_quicker_than(&self, gap_ms: Gap) -> bool {
        self.runs >= RUNS_TO_COMPARE && gap_ms.median > self.gap_ms.median + APART_MS
    }
}

impl Row {
    pub fn new(scenario: &'static str, seed: u64, runs: &[Outcome]) -> Row {
        let ours: Vec<Toll> = runs.iter().map(|run| run.toll).collect();
        let others: Vec<Toll> = runs.iter().filter_map(|run| run.beside).collect();
        let sum = |tolls: &[Toll], of: fn(&Toll) -> u64| tolls.iter().map(of).sum();
        let keepalived = (!others.is_empty()).then(|| Beside {
            runs: others.len(),
            gap_ms: Gap::of(others.iter().map(|toll| toll.gap)),
            asked: sum(&others, |toll| toll.asked),
            failed: sum(&others, |toll| toll.failed),
        });
        let gap_ms = Gap::of(ours.iter().map(|toll| toll.gap));
        let slower = keepalived.filter(|beside: &Beside| beside.is_quicker_than(gap_ms));
        let slower =
            slower.map(|beside| format!("keepalived's median gap is {} ms, and ours longer", beside.gap_ms.median));
        Row {
            format: FORMAT,
            scenario,
            runs: runs.len(),
            seed,
            gap_ms,
            gap_kept_ms: Gap::of(ours.iter().map(|toll| toll.gap_kept)),
            calm_ms: Gap::of(runs.iter().map(|run| run.calm)),
            asked: sum(&ours, |toll| toll.asked),
            failed: sum(&ours, |toll| toll.failed),
            refused: sum(&ours, |toll| toll.refused),
            keepalived,
            anomalies: runs.iter().flat_map(|run| &run.wrong).cloned().chain(slower).collect(),
        }
    }
}

impl table::Row for Row {
    fn anomalies(&self) -> &[String] {
        &self.anomalies
    }

    fn line(&self) -> String {
        let beside = self.keepalived.map(|it| (it.gap_ms.to_string(), it.failed.to_string()));
        let (beside, beside_failed) = beside.unwrap_or_default();
        format!(
            "{:<24} {:>4}  {:>17}  {:>9}  {:>8}  {:>6}  {beside:>16}  {beside_failed}",
            self.scenario, self.runs, self.gap_ms, self.gap_kept_ms, self.asked, self.failed
        )
    }
}

pub fn head() -> String {
    format!(
        "{:<24} {:>4}  {:>17}  {:>9}  {:>8}  {:>6}  {:>16}  {}",
        "scenario", "runs", "gap ms median/max", "kept", "requests", "failed", "keepalived's gap", "failed"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn runs(count: usize, ours: u64, beside: u64) -> Vec<Outcome> {
        let toll = |ms| Toll { gap: Duration::from_millis(ms), ..Toll::default() };
        let run = || Outcome {
            moment: 0.5,
            toll: toll(ours),
            calm: Duration::ZERO,
            beside: Some(toll(beside)),
            wrong: Vec::new(),
        };
        std::iter::repeat_with(run).take(count).collect()
    }

    #[test]
    fn who_is_slower_than_keepalived_breaks_his_promise() {
        let is_well = |count, ours, beside| Row::new("vip", 1, &runs(count, ours, beside)).anomalies.is_empty();
        assert!(is_well(20, 300, 300) && is_well(20, 310, 300) && is_well(20, 200, 300));
        assert!(!is_well(20, 311, 300));
        assert!(is_well(3, 400, 300), "too few runs to say");
    }
}
