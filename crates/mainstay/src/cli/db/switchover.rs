//! `mainstay db switchover`.

use std::process::ExitCode;

use anyhow::{bail, ensure};
use mainstay_site::wire::database::Server;

use super::Of;
use super::ask::{Databases, Seen, leading};
use super::order;
use crate::cli::help;
use crate::cli::up::runtime;

/// Hand the primary's place over to a replica, losing nothing
#[derive(clap::Args, Debug)]
#[command(after_help = help::DB_SWITCHOVER)]
pub struct Args {
    #[command(flatten)]
    of: Of,
    /// To whom (default: the replica that is furthest)
    #[arg(long, value_name = "SERVER")]
    to: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Gives the order and says who leads then.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let databases = Databases::of(args.of)?;
    runtime()?.block_on(async {
        let before = leading(&databases, &databases.look().await)?.to_string();
        let to = args.to.as_deref().map(|to| databases.known(to)).transpose()?;
        ensure!(to.as_ref().is_none_or(|to| to.as_str() != before), "{before} is the primary already");
        let to = to.as_ref().map(Server::from);
        let seen = order::switch_over(&databases, to).await?;
        let changed = order::led(&databases, Some(before.clone())).await?;
        if changed.primary == before {
            bail!("{before} is still the primary{}", refusal(&seen, &before));
        }
        changed.print(args.json)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Why the primary did not hand over, in its own words.
fn refusal(seen: &Seen, primary: &str) -> String {
    let view = seen.iter().find(|(name, _)| name.as_str() == primary).and_then(|(_, view)| view.as_ref().ok());
    let refused = view.and_then(|view| view.refused.as_ref());
    refused.map_or_else(|| "; its log says why: mainstay logs".into(), |why| format!("; it said at {why}"))
}
