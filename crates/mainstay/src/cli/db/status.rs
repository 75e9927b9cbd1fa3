//! `mainstay db status`: who leads, who may acknowledge, how far everybody is, and why.

use std::process::ExitCode;

use mainstay_site::model::FORMAT;
use mainstay_site::names::{Domain, ServerName};
use mainstay_site::wire::State;
use mainstay_site::wire::database::{Cluster, Mode, Receiving, Reign, Wish};
use mainstay_site::wire::upkeep::{Agreed, View};
use serde::Serialize;

use super::Of;
use super::ask::{Databases, Seen, agreed, primary};
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
        render::print(&table(site, &seen, &Paint(render::colour(&std::io::stdout()))));
    }
    let serves = |view: &Result<View, String>| view.as_ref().is_ok_and(|view| view.state == State::Serving);
    let well = primary(&seen).is_some() && seen.iter().all(|(_, view)| serves(view));
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(UNWELL) })
}

fn table(site: &Domain, seen: &Seen, paint: &Paint) -> String {
    let leader = primary(seen).map_or_else(|| paint.red("nobody is the primary"), |name| format!("primary: {name}"));
    let mut out = format!("{}  {leader}", paint.bold(site.as_str()));
    match agreed(seen) {
        None => out += "  (declared; the servers agree on nothing, and nobody is promoted)\n",
        Some(agreed) => out += &told(agreed, paint),
    }
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
fn told(agreed: &Agreed, paint: &Paint) -> String {
    if let Some(why) = &agreed.unreachable {
        return format!("  {}\n", paint.red(&format!("the store cannot be reached: {why}")));
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
    let last = |reign: &Reign| {
        format!(
            "last change: {} in epoch {}, from {}: {}\n",
            reign.primary, reign.epoch, reign.from_gtid, reign.because
        )
    };
    format!("{promise}\n{}", cluster.history.last().map(last).unwrap_or_default())
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
    let member = agreed.and_then(|agreed| agreed.members.get(name.as_str()));
    let local = view.local.as_ref();
    let role = match (member, local) {
        (Some(member), _) => member.state.as_str().to_owned(),
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
    let error = local.and_then(|local| local.replication_error.clone());
    let because = error.or_else(|| member.map(|member| member.because.clone())).unwrap_or_else(|| view.because.clone());
    let has = local.map(|local| local.gtid.clone()).unwrap_or_default();
    [name.to_string(), role, behind, has, received.unwrap_or_default(), plain(&because)]
}

/// What foreign programs say may have lines and escape sequences; a table has neither.
fn plain(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}
