//! The clients: Debian's sysbench, unchanged.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use mainstay_bench::arena;

use super::contender::{Contender, Who};
use super::database::{CLIENT, PASSWORD};

/// How many clients ask how often, for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Queries a second; keeps one core of a contender about a fifth busy.
    pub rate: u32,
    /// How long a contender is measured at a time.
    pub seconds: u32,
}

impl Default for Load {
    fn default() -> Self {
        Load { rate: 4000, seconds: 4 }
    }
}

/// As many as an application server has workers.
const CLIENTS: u32 = 16;
/// They fit into the database's memory: the disk is not measured.
const ROWS: u32 = 10_000;

/// What was seen of one contender in one round.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub cpu_us: f64,
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Load {
    /// Makes the table, past every contender.
    pub fn prepare(&self) -> Result<()> {
        succeed(sysbench(Who::Nobody, &[], "prepare")?).map(drop)
    }

    /// Asks through one contender.
    pub fn run(&self, contender: &Contender) -> Result<Seen> {
        let how = [
            format!("--threads={CLIENTS}"),
            format!("--rate={}", self.rate),
            format!("--time={}", self.seconds),
            "--histogram=on".into(),
            "--percentile=99".into(),
        ];
        let before = contender.cpu_ns()?;
        let said = succeed(sysbench(contender.who, &how, "run")?)?;
        let spent = contender.cpu_ns()? - before;
        let queries = figure(&said, "total:").context("sysbench counts queries")?;
        Ok(Seen {
            cpu_us: spent as f64 / 1_000.0 / queries,
            per_second: queries / f64::from(self.seconds),
            p50_us: median_ms(&said).context("sysbench draws a histogram")? * 1_000.0,
            p99_us: figure(&said, "99th percentile:").context("sysbench counts latencies")? * 1_000.0,
        })
    }
}

/// Whether a query comes through.
pub fn answers(who: Who) -> bool {
    let how = ["--threads=1", "--events=1", "--time=5"].map(String::from);
    sysbench(who, &how, "run").is_ok_and(|output| output.status.success())
}

fn sysbench(who: Who, how: &[String], what: &str) -> Result<Output> {
    let scripts = arena::peer("share/sysbench")?;
    let address = who.address();
    Command::new(arena::peer("bin/sysbench")?)
        .arg(scripts.join("oltp_point_select.lua"))
        .args(["--db-driver=mysql", &format!("--mysql-user={CLIENT}"), &format!("--mysql-password={PASSWORD}")])
        .args([format!("--mysql-host={}", address.ip()), format!("--mysql-port={}", address.port())])
        .args([format!("--mysql-db={CLIENT}"), format!("--table-size={ROWS}")])
        .args(how)
        .arg(what)
        .env("LUA_PATH", format!("{}/?.lua", scripts.display()))
        .output()
        .context("sysbench cannot be started")
}

fn succeed(output: Output) -> Result<String> {
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    ensure!(output.status.success(), "sysbench failed: {said}{complained}");
    Ok(said)
}

/// The number behind a label.
fn figure(said: &str, label: &str) -> Option<f64> {
    said.split_once(label)?.1.split_whitespace().next()?.parse().ok()
}

/// Of the histogram's rows, `0.123 |***** 456`: the value, milliseconds, up to which half of the queries took.
fn median_ms(said: &str) -> Option<f64> {
    let row = |line: &str| {
        let (value, rest) = line.split_once('|')?;
        Some((value.trim().parse::<f64>().ok()?, rest.split_whitespace().last()?.parse::<f64>().ok()?))
    };
    let rows: Vec<(f64, f64)> = said.lines().filter_map(row).collect();
    let half = rows.iter().map(|(_, count)| count).sum::<f64>() / 2.0;
    let mut below = 0.0;
    rows.iter().find_map(|(value, count)| {
        below += count;
        (below >= half).then_some(*value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let said = "Latency histogram (values are in milliseconds)\n       value  ------------- distribution ------------- count\n\
                    \x20      0.099 |****                                     1\n       0.101 |****************** 2\n       0.103 |* 1\n\
                    SQL statistics:\n    queries performed:\n        read:     4\n        total:                           4\n\
                    \x20        99th percentile:                        0.28\n";
        assert_eq!((median_ms(said), figure(said, "total:")), (Some(0.101), Some(4.0)));
        assert_eq!(figure(said, "99th percentile:"), Some(0.28));
    }
}
