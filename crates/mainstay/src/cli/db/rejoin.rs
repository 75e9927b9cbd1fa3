//! `mainstay db rejoin`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mainstay_site::model::FORMAT;
use mainstay_site::names::ServerName;
use mainstay_site::wire::database::{Cluster, Mode, Receiving, Server, State, Wish};
use mainstay_site::wire::upkeep::View;
use serde::Serialize;

use super::Of;
use super::ask::{Databases, Seen, agreed, confirm, leading};
use super::order;
use crate::cli::help;
use crate::cli::up::runtime;
use crate::render;

/// A copy of much data takes hours; whoever ends the command earlier ends only the waiting.
const PATIENCE: Duration = Duration::from_secs(12 * 3600);
/// A server that took the order has begun by then.
const BEGINS: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Have a replica throw its data away and copy them anew
#[derive(clap::Args, Debug)]
#[command(after_help = help::DB_REJOIN)]
pub struct Args {
    /// Which
    #[arg(value_name = "SERVER")]
    server: String,
    #[command(flatten)]
    of: Of,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    server: &'a str,
    copied_in_ms: u64,
    state: &'static str,
    because: String,
}

/// Gives the order and waits until the server is a replica again.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let databases = Databases::of(args.of)?;
    let server = databases.known(&args.server)?;
    runtime()?.block_on(async {
        let seen = databases.look().await;
        let primary = leading(&databases, &seen)?;
        ensure!(
            primary != server,
            "{server} is the primary, whose data the others copy; `mainstay db switchover` moves it"
        );
        reachable(&server, &seen)?;
        confirm(&warning(&server, &primary, &seen), args.yes)?;
        let begun = Instant::now();
        order::carry_out(&databases, Wish::Rejoin { server: Server::from(&server) }).await?;
        let (state, because) = follow(&databases, &server, begun).await?;
        let copied_in_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if args.json {
            let state = state.as_str();
            render::print_json(&Report { format: FORMAT, server: server.as_str(), copied_in_ms, state, because })?;
        } else {
            render::print(&format!(
                "{server} {because}; its data before are kept as mariadb.aside beside the new ones\n"
            ));
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn cluster(seen: &Seen) -> Option<&Cluster> {
    agreed(seen)?.cluster.as_ref()
}

fn warning(server: &ServerName, primary: &ServerName, seen: &Seen) -> String {
    let sync = cluster(seen).map(|cluster| &cluster.sync);
    let last = sync.is_some_and(|sync| sync.len() == 1 && sync.contains(&Server::from(server)));
    let alone = if last {
        format!(
            " It is the only one that acknowledges: until then writes are on {primary} alone, and nobody can replace it."
        )
    } else {
        String::new()
    };
    format!("{server} puts its data aside and copies them anew; until then there is one replica less.{alone}")
}

/// An order to who is away would wait, and end with its time.
fn reachable(server: &ServerName, seen: &Seen) -> anyhow::Result<()> {
    let view = seen.iter().find(|(name, _)| name == server).map(|(_, view)| view);
    let view = match view.with_context(|| format!("{server} was not asked"))? {
        Ok(view) => view,
        Err(why) => bail!("{server} cannot be reached, and must run to copy its data: {why}"),
    };
    match view.store.as_ref().and_then(|store| store.unreachable.as_ref()) {
        Some(why) => bail!("{server} is cut off from the others: {why}"),
        None => Ok(()),
    }
}

/// Waits for the end of the copy, and says what it is at.
async fn follow(databases: &Databases, server: &ServerName, begun: Instant) -> anyhow::Result<(State, String)> {
    let (mut shown, mut copying) = (String::new(), false);
    while begun.elapsed() < PATIENCE {
        let seen = databases.look().await;
        let member = agreed(&seen).and_then(|agreed| agreed.members.get(server.as_str()));
        if let Some(member) = member {
            let doing = doing(&seen, server).unwrap_or_else(|| member.because.clone());
            if doing != shown {
                writeln!(io::stderr(), "{server}: {doing}")?;
                shown = doing;
            }
            copying |= member.state == State::Cloning;
            // Where replicas acknowledge it is back when it may: only then can it take the primary's place.
            let acknowledges = member.receiving == Receiving::Acknowledging;
            let whole = acknowledges || cluster(&seen).is_some_and(|cluster| cluster.mode == Mode::Async);
            if member.state == State::Replica && copying && whole {
                return Ok((member.state, member.because.clone()));
            }
            ensure!(copying || begun.elapsed() < BEGINS, "{server} did not begin to copy: {shown}");
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("{server} is still at it; `mainstay db status` shows how far")
}

fn doing(seen: &Seen, server: &ServerName) -> Option<String> {
    let view: &View = seen.iter().find(|(name, _)| name == server)?.1.as_ref().ok()?;
    Some(view.because.clone())
}
