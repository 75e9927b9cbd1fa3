//! `mainstay db failover`.

use std::process::ExitCode;

use anyhow::Context;
use mainstay_site::wire::database::{Server, Wish};
use mainstay_site::wire::upkeep::Agreed;

use super::Of;
use super::ask::{Databases, agreed, confirm, lost};
use super::order;
use crate::cli::help;
use crate::cli::up::runtime;

/// Make a replica the primary where there is none any more
#[derive(clap::Args, Debug)]
#[command(after_help = help::DB_FAILOVER)]
pub struct Args {
    #[command(flatten)]
    of: Of,
    /// Whom (default: the replica that is furthest)
    #[arg(long, value_name = "SERVER", required_if_eq("force", "true"))]
    to: Option<String>,
    /// Also if servers that may know more cannot be asked: what only they have is lost
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Says what may be lost, gives the order and says who leads then.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let databases = Databases::of(args.of)?;
    let to = args.to.as_deref().map(|to| databases.known(to)).transpose()?;
    runtime()?.block_on(async {
        let seen = databases.look().await;
        if let Some(lost) = lost(&databases, &seen) {
            return Err(lost);
        }
        let now = agreed(&seen).context("the servers of this site agree on nothing: there is nobody to promote")?;
        if let Some((leader, _)) = &now.leader {
            anyhow::bail!("{} leads: `mainstay db switchover` moves the primary without loss", leader.server);
        }
        if args.force {
            confirm(&loss(now, args.to.as_deref().unwrap_or_default()), args.yes)?;
        }
        let wish = Wish::Failover { to: to.as_ref().map(Server::from), force: args.force };
        order::carry_out(&databases, wish).await?;
        let before = now.cluster.as_ref().map(|cluster| cluster.primary.to_string());
        order::led(&databases, before).await?.print(args.json)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// What `to` does not have and others may.
fn loss(now: &Agreed, to: &str) -> String {
    let has =
        now.members.get(to).map(|member| member.gtid_received.to_string()).unwrap_or_else(|| "nothing known".into());
    let mut text = format!("{to} has received up to {has}.");
    if let Some(cluster) = &now.cluster {
        let others = cluster.sync.iter().filter(|server| server.0 != to);
        let known = |server: &Server| match now.members.get(&server.0) {
            Some(member) => format!("{server} said last that it has {}", member.gtid_received),
            None => format!("{server} never said what it has"),
        };
        let known: Vec<String> = others.map(known).collect();
        text += &match known.is_empty() {
            true => format!(" What {} acknowledged alone is lost.", cluster.primary),
            false => format!(" Also allowed to acknowledge: {}.", known.join("; ")),
        };
    }
    text + " Whatever others have beyond that is lost, though clients were told that it is written; when those servers \
            come back, it is put aside as a file and their data are copied anew."
}
