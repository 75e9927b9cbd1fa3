//! What every bench shares: rows, and how they are printed.
//!
//! A row compares a figure of ours with a peer's of the same run, or, where there is no peer, states ours alone.

pub mod arena;
pub mod cpu;

use std::io::{self, Write};

use serde::Serialize;

/// One figure.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The median of ours.
    pub ours: f64,
    /// The median of the peer's, measured in alternation with ours.
    pub peer: Option<f64>,
    /// `ours ÷ peer`.
    pub ratio: Option<f64>,
    /// Of `ours` and `peer`.
    pub unit: &'static str,
    /// How many runs the median is of.
    pub runs: usize,
}

impl Row {
    /// A figure without a peer: the median of `figures`.
    pub fn alone(name: impl Into<String>, figures: &[f64], unit: &'static str) -> Row {
        Row { name: name.into(), ours: median(figures), peer: None, ratio: None, unit, runs: figures.len() }
    }

    /// A figure beside a peer's.
    pub fn beside(name: impl Into<String>, ours: &[f64], peer: &[f64], unit: &'static str) -> Row {
        let (mine, theirs) = (median(ours), median(peer));
        Row {
            name: name.into(),
            ours: mine,
            peer: Some(theirs),
            ratio: Some(mine / theirs),
            unit,
            runs: ours.len().min(peer.len()),
        }
    }
}

/// The middle figure; the mean of the middle two for an even count; NaN for none.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}

/// Prints the rows: a table, or with `--json` among the arguments one array.
pub fn print(rows: &[Row]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if std::env::args().any(|argument| argument == "--json") {
        serde_json::to_writer_pretty(&mut out, rows)?;
        return writeln!(out);
    }
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(4);
    writeln!(out, "{:width$}  {:>10}  {:>10}  {:>6}  {:<6} {:>4}", "name", "ours", "peer", "ratio", "unit", "runs")?;
    let figure = |value: Option<f64>, digits| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
    for row in rows {
        writeln!(
            out,
            "{:width$}  {:>10}  {:>10}  {:>6}  {:<6} {:>4}",
            row.name,
            figure(Some(row.ours), 3),
            figure(row.peer, 3),
            figure(row.ratio, 2),
            row.unit,
            row.runs
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
