//! What a scenario showed, for people and for programs.

use mainstay_site::model::FORMAT;
use serde::Serialize;

use super::play::Outcome;

/// All runs of one scenario.
#[derive(Debug, Serialize)]
pub struct Row {
    format: u32,
    scenario: &'static str,
    runs: usize,
    requests_sent: u64,
    requests_failed: u64,
    /// Of the failed ones, those that were under way when something was broken.
    requests_failed_in_flight: u64,
    gap_ms: Gap,
    posts_acknowledged: u64,
    posts_lost: u64,
    converged: bool,
    anomalies: Vec<String>,
}

/// The longest time without an acknowledged post, in each run.
#[derive(Debug, Serialize)]
struct Gap {
    median: u64,
    max: u64,
}

impl Row {
    pub fn new(scenario: &'static str, runs: &[Outcome]) -> Row {
        let mut gaps: Vec<u64> = runs.iter().map(|run| run.tally.gap.as_millis() as u64).collect();
        gaps.sort_unstable();
        let sum = |of: fn(&Outcome) -> u64| runs.iter().map(of).sum();
        Row {
            format: FORMAT,
            scenario,
            runs: runs.len(),
            requests_sent: sum(|run| run.tally.sent),
            requests_failed: sum(|run| run.tally.failed),
            requests_failed_in_flight: sum(|run| run.tally.in_flight),
            gap_ms: Gap {
                median: gaps.get(gaps.len() / 2).copied().unwrap_or_default(),
                max: gaps.last().copied().unwrap_or_default(),
            },
            posts_acknowledged: sum(|run| run.tally.acknowledged),
            posts_lost: sum(|run| run.tally.lost),
            converged: runs.iter().all(|run| run.diverged.is_none()),
            anomalies: runs.iter().flat_map(Outcome::complaints).cloned().collect(),
        }
    }

    /// Whether what is promised was kept.
    pub fn is_well(&self) -> bool {
        self.posts_lost == 0 && self.converged && self.anomalies.is_empty()
    }
}

pub fn head() -> String {
    format!(
        "{:<24} {:>4}  {:>8}  {:>6}  {:>9}  {:>17}  {:>5}  {:>4}  {}\n",
        "scenario", "runs", "requests", "failed", "in flight", "gap ms median/max", "posts", "lost", "converged"
    )
}

pub fn line(row: &Row) -> String {
    let gap = format!("{}/{}", row.gap_ms.median, row.gap_ms.max);
    let mut text = format!(
        "{:<24} {:>4}  {:>8}  {:>6}  {:>9}  {gap:>17}  {:>5}  {:>4}  {}\n",
        row.scenario,
        row.runs,
        row.requests_sent,
        row.requests_failed,
        row.requests_failed_in_flight,
        row.posts_acknowledged,
        row.posts_lost,
        if row.converged { "yes" } else { "NO" }
    );
    row.anomalies.iter().take(20).for_each(|anomaly| text += &format!("  ! {anomaly}\n"));
    text
}
