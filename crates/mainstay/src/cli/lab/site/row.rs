//! What a scenario showed, for people and for programs.

use mainstay_site::model::FORMAT;
use serde::Serialize;

use super::super::table::{self, Gap, Played};
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
    /// The longest time without an acknowledged post.
    gap_ms: Gap,
    posts_acknowledged: u64,
    posts_lost: u64,
    converged: bool,
    anomalies: Vec<String>,
}

impl Row {
    pub fn new(scenario: &'static str, runs: &[Outcome]) -> Row {
        let sum = |of: fn(&Outcome) -> u64| runs.iter().map(of).sum();
        Row {
            format: FORMAT,
            scenario,
            runs: runs.len(),
            requests_sent: sum(|run| run.tally.sent),
            requests_failed: sum(|run| run.tally.failed),
            requests_failed_in_flight: sum(|run| run.tally.in_flight),
            gap_ms: Gap::of(runs.iter().map(|run| run.tally.gap)),
            posts_acknowledged: sum(|run| run.tally.acknowledged),
            posts_lost: sum(|run| run.tally.lost),
            converged: runs.iter().all(|run| run.diverged.is_none()),
            anomalies: runs.iter().flat_map(Played::complaints).cloned().collect(),
        }
    }
}

impl table::Row for Row {
    fn is_well(&self) -> bool {
        self.posts_lost == 0 && self.converged && self.anomalies.is_empty()
    }

    fn anomalies(&self) -> &[String] {
        &self.anomalies
    }

    fn line(&self) -> String {
        format!(
            "{:<24} {:>4}  {:>8}  {:>6}  {:>9}  {:>17}  {:>5}  {:>4}  {}",
            self.scenario,
            self.runs,
            self.requests_sent,
            self.requests_failed,
            self.requests_failed_in_flight,
            self.gap_ms,
            self.posts_acknowledged,
            self.posts_lost,
            if self.converged { "yes" } else { "NO" }
        )
    }
}

pub fn head() -> String {
    format!(
        "{:<24} {:>4}  {:>8}  {:>6}  {:>9}  {:>17}  {:>5}  {:>4}  {}",
        "scenario", "runs", "requests", "failed", "in flight", "gap ms median/max", "posts", "lost", "converged"
    )
}
