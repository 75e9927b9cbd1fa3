//! What a request costs: Mainstay beside Debian's HAProxy and nginx, and beside the floor, which parses nothing: a relay, or where
//! nobody is asked behind us a responder.
//!
//! Everything runs in a network namespace of its own. The contenders share core 0 and take turns, round by round; the
//! clients and the backend are one loop on core 1. The figure is the CPU time of all processes of a contender, its log
//! collector included, divided by the requests. Needs root, two cores, `bench/peers` and a release build (`bin/release` makes
//! both):
//!
//! ```text
//! bin/release && target/shipped/release/http [CASE …] [--json] [--rounds N]
//! ```

mod arena;
mod cases;
mod channel;
mod contender;
mod gate;
mod http2;
mod load;
mod relay;
mod responder;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use mainstay_bench::{Row, print};

use cases::{CASES, Case};
use contender::Contender;
use load::{Figures, Load};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match std::env::args().nth(1).as_deref() {
        Some("relay") => return relay::run(&arguments.nth(1).context("relay: where to listen")?),
        Some("responder") => {
            let address = arguments.nth(1).context("responder: where to listen")?;
            return responder::run(&address, arguments.next().context("responder: bytes of a body")?.parse()?);
        }
        _ => {}
    }
    let (mut rounds, mut wanted, mut peers) = (5, Vec::new(), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => {}
            "--rounds" => rounds = arguments.next().context("--rounds N")?.parse()?,
            // Ours alone, for a profiler.
            "--peers" => peers = Some(arguments.next().context("--peers NAME,…")?),
            name => wanted.push(name.to_owned()),
        }
    }
    let cases: Vec<&Case> =
        CASES.iter().filter(|case| wanted.is_empty() || wanted.iter().any(|want| case.name.contains(want))).collect();
    ensure!(!cases.is_empty(), "no such case; there are {}", CASES.map(|case| case.name).join(", "));
    arena::enter()?;
    let mut load = Load::new()?;
    let mut rows = Vec::new();
    for case in cases {
        rows.extend(run(case, peers.as_deref(), rounds, &mut load)?);
    }
    print(&rows)?;
    Ok(())
}

/// Runs a case for every contender in turn, `rounds` times.
fn run(case: &Case, peers: Option<&str>, rounds: usize, load: &mut Load) -> Result<Vec<Row>> {
    let folder = mainstay_bench::arena::folder()?;
    load.stand_behind(case)?;
    let asked = |who: &&contender::Who| {
        who.name() == "mainstay" || peers.is_none_or(|peers| peers.split(',').any(|name| name == who.name()))
    };
    let contenders = case
        .who
        .iter()
        .filter(asked)
        .map(|who| Contender::start(*who, case, folder.path(), load))
        .collect::<Result<Vec<_>>>()?;
    let mut figures: BTreeMap<&str, Vec<Figures>> = BTreeMap::new();
    // Memory that was taken once is used again: only the first round tells.
    let rounds = if case.wire.is_idle() { 0 } else { rounds };
    for round in 0..=rounds {
        for contender in &contenders {
            let seen = load.run(contender, case).with_context(|| {
                format!("{} in {}; its output is in {}", contender.who.name(), case.name, folder.path().display())
            })?;
            eprintln!(
                "{} {round} {:9} {:7.2} µs  {:8.0}/s  p50 {:6.0} p99 {:6.0} p99.9 {:6.0} µs  {:6.0} bytes",
                case.name,
                contender.who.name(),
                seen.cpu_us,
                seen.per_second,
                seen.p50_us,
                seen.p99_us,
                seen.p999_us,
                seen.bytes
            );
            // The first round warms up.
            if round > 0 || case.wire.is_idle() {
                figures.entry(contender.who.name()).or_default().push(seen);
            }
        }
    }
    contenders.iter().try_for_each(Contender::has_logged)?;
    let column = |who: &str, of: fn(&Figures) -> f64| figures[who].iter().map(of).collect::<Vec<f64>>();
    let mut rows = Vec::new();
    for peer in contenders.iter().map(|contender| contender.who.name()).filter(|name| *name != "mainstay") {
        if case.wire.is_idle() {
            let bytes: fn(&Figures) -> f64 = |figures| figures.bytes;
            let name = format!("{}/{peer}", case.name);
            rows.push(Row::beside(name, &column("mainstay", bytes), &column(peer, bytes), "bytes"));
            continue;
        }
        let cpu: fn(&Figures) -> f64 = |figures| figures.cpu_us;
        rows.push(Row::beside(format!("{}/{peer}", case.name), &column("mainstay", cpu), &column(peer, cpu), "µs CPU"));
        if case.rate.is_some() {
            let p99: fn(&Figures) -> f64 = |figures| figures.p99_us;
            let name = format!("{}-p99/{peer}", case.name);
            rows.push(Row::beside(name, &column("mainstay", p99), &column(peer, p99), "µs"));
        }
    }
    Ok(rows)
}
