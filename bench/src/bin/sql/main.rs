//! What a query costs through the SQL endpoint: Mainstay beside Debian's HAProxy in TCP mode, and beside no proxy at all.
//!
//! Everything runs in a network namespace of its own. The contenders stand on core 0 and take turns, round by round;
//! sysbench (`oltp_point_select` at a fixed rate) and MariaDB share core 1. The figure is the CPU time of a contender's
//! processes divided by the queries. Needs root, two cores, Debian's mariadb-server-core, `bench/peers` and a release build
//! (`bin/release` makes both):
//!
//! ```text
//! bin/release && target/shipped/release/sql [--json] [--rounds N] [--rate N] [--seconds N]
//! ```

mod contender;
mod database;
mod sysbench;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use mainstay_bench::{Row, arena, print};

use contender::{APP, Contender, DATABASE, HAPROXY, Who};
use database::Database;
use sysbench::{Load, Seen};

fn main() -> Result<()> {
    let (mut rounds, mut load) = (5, Load::default());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().with_context(|| format!("{argument} N"))?.parse().context("a number");
        match argument.as_str() {
            "--json" => {}
            "--rounds" => rounds = number()?,
            "--rate" => load.rate = number()?,
            "--seconds" => load.seconds = number()?,
            other => bail!("unknown argument {other}"),
        }
    }
    arena::enter(&[APP, HAPROXY, DATABASE])?;
    let folder = arena::folder()?;
    let database = Database::start(folder.path())?;
    load.prepare()?;
    let contenders = [Who::Mainstay, Who::Haproxy, Who::Nobody];
    let contenders = contenders.map(|who| Contender::start(who, &database, folder.path()));
    let contenders = contenders.into_iter().collect::<Result<Vec<_>>>()?;
    let mut figures: BTreeMap<Who, Vec<Seen>> = BTreeMap::new();
    for round in 0..=rounds {
        for contender in &contenders {
            let seen = load.run(contender)?;
            eprintln!(
                "{round} {:9} {:6.2} µs  {:6.0}/s  p50 {:6.0} µs  p99 {:6.0} µs",
                contender.who.name(),
                seen.cpu_us,
                seen.per_second,
                seen.p50_us,
                seen.p99_us
            );
            // The first round warms up.
            if round > 0 {
                figures.entry(contender.who).or_default().push(seen);
            }
        }
    }
    print(&rows(&figures))?;
    Ok(())
}

/// CPU per query, and what the way through a contender adds to a query's latency.
fn rows(figures: &BTreeMap<Who, Vec<Seen>>) -> Vec<Row> {
    let column = |who: Who, of: fn(&Seen) -> f64| figures[&who].iter().map(of).collect::<Vec<f64>>();
    let added = |who: Who, of: fn(&Seen) -> f64| {
        let rounds = column(who, of).into_iter().zip(column(Who::Nobody, of));
        rounds.map(|(through, without)| through - without).collect::<Vec<f64>>()
    };
    let beside = |name: &str, of: &dyn Fn(Who) -> Vec<f64>, unit| {
        Row::beside(format!("{name}/haproxy"), &of(Who::Mainstay), &of(Who::Haproxy), unit)
    };
    vec![
        beside("point-select", &|who| column(who, |seen| seen.cpu_us), "µs CPU"),
        beside("point-select-p50", &|who| column(who, |seen| seen.p50_us), "µs"),
        beside("point-select-added-p50", &|who| added(who, |seen| seen.p50_us), "µs"),
        beside("point-select-p99", &|who| column(who, |seen| seen.p99_us), "µs"),
        Row::alone("point-select-p50/nobody", &column(Who::Nobody, |seen| seen.p50_us), "µs"),
    ]
}
