//! What a scenario showed, for people and for programs.

use mainstay_lab::scenario::Step;
use mainstay_site::model::FORMAT;
use serde::Serialize;

use super::super::table::{self, Gap};
use super::play::{Outcome, ROUND, reached};

/// All runs of one scenario.
#[derive(Debug, Serialize)]
pub struct Row {
    format: u32,
    scenario: &'static str,
    runs: usize,
    requests_sent: u64,
    /// What was reached of what was wanted; less where the site could not keep up.
    requests_per_second: f64,
    requests_per_second_wanted: u32,
    requests_failed: u64,
    /// Of the failed ones, those that only read.
    reads_failed: u64,
    /// Of the failed ones, those that were under way when something was broken.
    requests_failed_in_flight: u64,
    /// The longest time in which nobody was answered.
    gap_ms: Gap,
    posts_acknowledged: u64,
    posts_lost: u64,
    /// The longest order, where orders were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    order_ms: Option<Gap>,
    anomalies: Vec<String>,
}

impl Row {
    pub fn new(scenario: &'static str, rate: u32, runs: &[Outcome]) -> Row {
        let sum = |of: fn(&Outcome) -> u64| runs.iter().map(of).sum();
        let orders = || runs.iter().filter_map(|run| run.order);
        Row {
            format: FORMAT,
            scenario,
            runs: runs.len(),
            requests_sent: sum(|run| run.sent),
            requests_per_second: (reached(sum(|run| run.sent), runs.iter().map(|run| run.lasted).sum()) * 10.0).round()
                / 10.0,
            requests_per_second_wanted: rate,
            requests_failed: sum(|run| run.failed),
            reads_failed: sum(|run| run.reads_failed),
            requests_failed_in_flight: sum(|run| run.in_flight),
            gap_ms: Gap::of(runs.iter().map(|run| run.gap)),
            posts_acknowledged: sum(|run| run.acknowledged),
            posts_lost: sum(|run| run.lost),
            order_ms: orders().next().map(|_| Gap::of(orders())),
            anomalies: runs.iter().flat_map(|run| &run.wrong).cloned().collect(),
        }
    }
}

impl table::Row for Row {
    fn anomalies(&self) -> &[String] {
        &self.anomalies
    }

    fn line(&self) -> String {
        let order = self.order_ms.map(|it| it.to_string()).unwrap_or_default();
        format!(
            "{:<24} {:>4}  {:>8}  {:>5.0}  {:>6}  {:>5}  {:>9}  {:>17}  {:>5}  {:>4}  {order}",
            self.scenario,
            self.runs,
            self.requests_sent,
            self.requests_per_second,
            self.requests_failed,
            self.reads_failed,
            self.requests_failed_in_flight,
            self.gap_ms,
            self.posts_acknowledged,
            self.posts_lost,
        )
    }
}

pub fn head(rate: u32) -> String {
    let of = |step: Step| ROUND.iter().filter(|it| **it == step).count();
    let load = format!(
        "{rate} requests a second are wanted, whatever becomes of those before; of {}, {} read a page, {} post, {} fetch a file",
        ROUND.len(),
        of(Step::Page),
        of(Step::Post),
        of(Step::File),
    );
    format!(
        "{load}\n{:<24} {:>4}  {:>8}  {:>5}  {:>6}  {:>5}  {:>9}  {:>17}  {:>5}  {:>4}  {}",
        "scenario",
        "runs",
        "requests",
        "req/s",
        "failed",
        "reads",
        "in flight",
        "gap ms median/max",
        "posts",
        "lost",
        "order ms median/max"
    )
}
