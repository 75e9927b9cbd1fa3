//! `mainstay status`: every server, service and process of a site that is up.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mainstay_node::page::{Observer, Overview, Sight, ago, bytes, rate};
use mainstay_site::plan::Notice;
use mainstay_site::wire::{ServiceStatus, State};

use super::exit::UNWELL;
use super::host_pids;
use super::running::{Running, Which};
use super::up::{runtime, sign};
use crate::render::{self, Paint};

/// Between the two looks from which requests a second are told.
const RATE_OVER: Duration = Duration::from_millis(500);

/// Show how every server, service and process of a site is, since when, and why
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::STATUS)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Print JSON, as the status page's /status.json
    #[arg(long)]
    json: bool,
}

/// Looks and prints. The exit code is 0 if everything serves, else 5.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let running = args.which.running()?;
    let seen = runtime()?.block_on(look(&running));
    if args.json {
        render::print_json(&seen)?;
    } else {
        render::print(&table(&running, &seen, &Paint(render::colour(&std::io::stdout()))));
    }
    Ok(if seen.state == State::Serving { ExitCode::SUCCESS } else { ExitCode::from(UNWELL) })
}

async fn look(running: &Running) -> Overview {
    let mut observer = Observer::new(Arc::new(running.site.clone()), running.folder.watched(&running.site));
    observer.look().await;
    tokio::time::sleep(RATE_OVER).await;
    let mut seen = observer.look().await;
    let off = |sight: &Sight| {
        let known = running.record.servers.iter().find(|known| known.name == sight.server);
        !known.and_then(|known| known.process).is_some_and(|process| process.alive())
    };
    for sight in seen.servers.iter_mut().filter(|sight| sight.status.is_none()) {
        if off(sight) {
            (sight.state, sight.because) = (State::Failed, "switched off".into());
        }
    }
    host_pids::put(&mut seen.servers, &running.record);
    Overview::new(&running.site, seen.at_ms, seen.servers)
}

/// A row of the table; the columns are as wide as their widest cell, the last takes the rest.
struct Row {
    cells: [String; 5],
    because: String,
    state: State,
}

fn table(running: &Running, seen: &Overview, paint: &Paint) -> String {
    let mut out = format!("{}  {}  {}\n", paint.bold(seen.site.as_str()), coloured(paint, seen.state), seen.because);
    let mut published: Vec<String> =
        running.record.published.iter().map(|one| format!("{} {}", one.what, one.address)).collect();
    // DNS has two transports on one port.
    published.dedup();
    out += &paint.dim(&format!("published: {}\n", published.join(", ")));
    let rows: Vec<Row> = seen.servers.iter().flat_map(|sight| rows(sight, seen.at_ms)).collect();
    let header = ["", "state", "since", "req/s", "memory"];
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row.cells[column].chars().count());
        cells.chain([header[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    out += &paint.dim(&format!("\n{}  because\n", aligned(&header.map(str::to_owned), widths)));
    for row in &rows {
        let line = format!("{}  {}", aligned(&row.cells, widths), row.because);
        out += &format!("{}\n", tinted(paint, row.state, line.trim_end()));
    }
    let notices = notices(seen);
    if !notices.is_empty() {
        out += "\nDeclared, not enforced yet:\n";
        notices.iter().for_each(|one| out += &format!("  {} {}: {}\n", paint.yellow("!"), one.declared, one.instead));
    }
    out
}

fn aligned(cells: &[String; 5], widths: [usize; 5]) -> String {
    let [name, state, since, rate, memory] = cells;
    let [a, b, c, d, e] = widths;
    format!("{name:<a$}  {state:<b$}  {since:>c$}  {rate:>d$}  {memory:>e$}")
}

fn rows(sight: &Sight, now_ms: u64) -> Vec<Row> {
    let since = sight.status.as_ref().map(|status| ago(status.since_ms, now_ms)).unwrap_or_default();
    let because = if sight.state == State::Serving { String::new() } else { sight.because.clone() };
    let server = format!("{}  {}", sight.server, sight.address);
    let mut rows = vec![row(server, sight.state, since, sight.busiest().map(rate), String::new(), because)];
    for service in sight.status.iter().flat_map(|status| &status.services) {
        let counted = sight.requests_per_second.get(&service.name).copied().map(rate);
        rows.push(self::service(service, counted, now_ms));
        let parts = service.report.iter().flat_map(|report| &report.parts);
        rows.extend(parts.map(|part| {
            let name = match part.pid {
                Some(pid) => format!("    {} ({pid})", part.name),
                None => format!("    {}", part.name),
            };
            row(name, part.state, ago(part.since_ms, now_ms), None, String::new(), part.because.clone())
        }));
    }
    rows
}

fn service(service: &ServiceStatus, counted: Option<String>, now_ms: u64) -> Row {
    let again = match service.restarts {
        0 => String::new(),
        1 => "; restarted once".into(),
        times => format!("; restarted {times} times"),
    };
    let because = format!("{}{again}", service.because);
    let name = match service.pid {
        Some(pid) => format!("  {} ({pid})", service.name),
        None => format!("  {}", service.name),
    };
    row(name, service.state, ago(service.since_ms, now_ms), counted, bytes(service.rss_bytes), because)
}

fn row(name: String, state: State, since: String, rate: Option<String>, memory: String, because: String) -> Row {
    let told = format!("{} {}", sign(state), state.as_str());
    // What foreign programs say may have lines and escape sequences; a table has neither.
    let because = because.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    Row { cells: [name, told, since, rate.unwrap_or_default(), memory], because, state }
}

fn coloured(paint: &Paint, state: State) -> String {
    tinted(paint, state, &format!("{} {}", sign(state), state.as_str()))
}

fn tinted(paint: &Paint, state: State, text: &str) -> String {
    match state {
        State::Serving => text.to_owned(),
        State::Failed => paint.red(text),
        State::Degraded | State::Starting => paint.yellow(text),
        State::Stopping | State::Stopped => paint.dim(text),
    }
}

fn notices(seen: &Overview) -> Vec<&Notice> {
    let mut all: Vec<&Notice> =
        seen.servers.iter().filter_map(|sight| sight.status.as_ref()).flat_map(|status| &status.notices).collect();
    all.sort();
    all.dedup();
    all
}
