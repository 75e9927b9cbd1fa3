//! `mainstay db status`: who leads, who may acknowledge, how far everybody is, and why.

use std::process::ExitCode;

use mainstay_site::model::FORMAT;
use mainstay_site::names::{Domain, ServerName};
use mainstay_site::wire::State;
use mainstay_site::wire::database::{Cluster, Mode, Receiving, Reign, Wish};
use mainstay_site::wire::upkeep::{Agreed, View};
use serde::Serialize;
use time::OffsetDateTime;

use super::Of;
use super::ask::{Databases, Seen, agreed, answers, primary, without_votes};
use crate::cli::exit::UNWELL;
use crate::cli::help;
use crate::cli::up::runtime;
use crate::render::{self, Paint};

/// Show who is the primary and since when, who may acknowledge, how far every server is, and why
#[derive(clap::Args, Debug)]
#[command(after_help = help::DB_STATUS)]
pub struct Args {
    #[command(flatten)]
    of: Of,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    site: &'a Domain,
    primary: Option<ServerName>,
    agreed: Option<&'a Agreed>,
    servers: Vec<Server<'a>>,
}

#[derive(Serialize)]
struct Server<'a> {
    server: &'a ServerName,
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<&'a View>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Looks and prints. The exit code is 0 if somebody leads and every server serves, else 5.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let databases = Databases::of(args.of)?;
    let seen = runtime()?.block_on(databases.look());
    let site = &databases.running.site.domain;
    if args.json {
        let servers = seen.iter().map(|(server, view)| Server {
            server,
            view: view.as_ref().ok(),
            error: view.as_ref().err().map(String::as_str),
        });
        let (primary, agreed) = (primary(&seen), agreed(&seen));
        render::print_json(&Report { format: FORMAT, site, primary, agreed, servers: servers.collect() })?;
    } else {
        render::print(&table(&databases, &seen, &Paint(render::colour(&std::io::stdout()))));
    }
    let serves = |view: &Result<View, String>| view.as_ref().is_ok_and(|view| view.state == State::Serving);
    let well = primary(&seen).is_some() && seen.iter().all(|(_, view)| serves(view));
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(UNWELL) })
}

fn table(databases: &Databases, seen: &Seen, paint: &Paint) -> String {
    let site = &databases.running.site.domain;
    let leader = match primary(seen) {
        Some(name) => format!("primary: {name}"),
        None if answers(seen) => paint.red("nobody is the primary"),
        None => paint.red("no database server answers: whether there is a primary is not known"),
    };
    let mut out = format!("{}  {leader}", paint.bold(site.as_str()));
    match agreed(seen) {
        None if !answers(seen) => out.push('\n'),
        None => out += "  (declared; the servers agree on nothing, and nobody is promoted)\n",
        Some(agreed) => out += &told(agreed, databases, paint),
    }
    let refused = seen.iter().filter_map(|(name, view)| Some((name, view.as_ref().ok()?.refused.as_ref()?)));
    refused.for_each(|(name, refused)| out += &format!("last order refused: {refused} ({name})\n"));
    let backups = seen.iter().filter_map(|(name, view)| Some((name, view.as_ref().ok()?.backup.as_ref()?)));
    backups.for_each(|(name, backup)| out += &format!("last backup: {backup} ({name})\n"));
    let rows: Vec<[String; 6]> = seen.iter().map(|(name, view)| row(name, view, agreed(seen))).collect();
    let header = ["", "state", "behind", "has", "received", "because"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&header]).map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |cells: &[String; 6]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    out += &format!("\n{}", paint.dim(&line(&header)));
    rows.iter().for_each(|row| out += &line(row));
    out
}

/// What the store says.
fn told(agreed: &Agreed, databases: &Databases, paint: &Paint) -> String {
    if let Some(why) = &agreed.unreachable {
        return format!("\n{}\n{}\n", paint.red(&without_votes(&databases.running.site)), plain(why));
    }
    let mut out = agreed.leader.as_ref().map(|(_, epoch)| format!("  (epoch {epoch})")).unwrap_or_default() + "\n";
    out += &agreed.cluster.as_ref().map(cluster).unwrap_or_default();
    if let Some(order) = &agreed.order {
        out += &paint.yellow(&format!("under way: {}\n", wish(&order.wish)));
    }
    out
}

fn cluster(cluster: &Cluster) -> String {
    let sync: Vec<&str> = cluster.sync.iter().map(|server| server.0.as_str()).collect();
    let promise = match (cluster.mode, sync.is_empty()) {
        (Mode::Async, _) => "an acknowledged write is on the primary's disk alone".into(),
        (Mode::Available, true) => {
            "no replica may acknowledge now: writes are on the primary's disk alone, and nobody is promoted".into()
        }
        (Mode::Strict, true) => "no replica may acknowledge now: writes wait".into(),
        (_, false) => format!("an acknowledged write is also on one of: {}", sync.join(", ")),
    };
    format!("{promise}\n{}", cluster.history.last().map(last).unwrap_or_default())
}

/// Since when the primary is it, and why.
fn last(reign: &Reign) -> String {
    let when = if reign.at_ms == 0 { String::new() } else { format!(" since {}", utc(reign.at_ms)) };
    let from = if reign.from_gtid.is_start() { "the beginning".to_owned() } else { reign.from_gtid.to_string() };
    format!("last change: {} leads{when}, from {from} on: {}\n", reign.primary, reign.because)
}

/// `2026-11-21 10:15:00 UTC`.
fn utc(unix_ms: u64) -> String {
    let at = i64::try_from(unix_ms / 1_000).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    at.map_or_else(String::new, |at| {
        let (day, time) = (at.date(), at.time());
        let time = format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
        format!("{:04}-{:02}-{:02} {time} UTC", day.year(), u8::from(day.month()), day.day())
    })
}

fn wish(wish: &Wish) -> String {
    match wish {
        Wish::Switchover { to: Some(to) } => format!("a switchover to {to}"),
        Wish::Switchover { to: None } => "a switchover".into(),
        Wish::Failover { to: Some(to), .. } => format!("a failover to {to}"),
        Wish::Failover { to: None, .. } => "a failover".into(),
        Wish::Rejoin { server } => format!("{server} copies its data anew"),
    }
}

fn row(name: &ServerName, view: &Result<View, String>, agreed: Option<&Agreed>) -> [String; 6] {
    let view = match view {
        Ok(view) => view,
        Err(why) => {
            return [name.to_string(), "unknown".into(), String::new(), String::new(), String::new(), plain(why)];
        }
    };
    // Who is cut off from the store is not what he said there last.
    let cut_off = view.store.as_ref().is_some_and(|store| store.unreachable.is_some());
    let member = agreed.and_then(|agreed| agreed.members.get(name.as_str())).filter(|_| !cut_off);
    let local = view.local.as_ref();
    let role = match (member, local) {
        (Some(member), _) => member.state.as_str().to_owned(),
        _ if cut_off => "cut off".into(),
        (None, Some(local)) if local.source.is_some() => "replica".into(),
        (None, Some(local)) if !local.read_only => "primary".into(),
        _ => view.state.as_str().to_owned(),
    };
    let behind = match local {
        Some(local) if local.source.is_some() => local.lag_s.map_or("?".into(), |seconds| format!("{seconds} s")),
        _ => "–".into(),
    };
    let received = member.map(|member| match member.receiving {
        Receiving::No => "–".into(),
        Receiving::Silently => format!("{}, silently", member.gtid_received),
        Receiving::Acknowledging => format!("{}, acknowledges", member.gtid_received),
    });
    // While nobody leads, what matters is why nobody is promoted, not that there is nobody to replay.
    let led = agreed.is_some_and(|agreed| agreed.leader.is_some());
    let error = local.and_then(|local| local.replication_error.clone()).filter(|_| led || member.is_none());
    let because = error.or_else(|| member.map(|member| member.because.clone())).unwrap_or_else(|| view.because.clone());
    let has = local.map(|local| local.gtid.clone()).unwrap_or_default();
    [name.to_string(), role, behind, has, received.unwrap_or_default(), plain(&because)]
}

/// What foreign programs say may have lines and escape sequences; a table has neither.
fn plain(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}
