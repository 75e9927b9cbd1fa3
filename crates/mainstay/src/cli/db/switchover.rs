//! `mainstay db switchover`.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use mainstay_site::wire::database::{Server, Wish};

use super::Of;
use super::ask::{Databases, primary};
use super::order;
use crate::cli::help;
use crate::cli::up::runtime;
use crate::render;

/// Hand the primary's place over to a replica, losing nothing
#[derive(clap::Args, Debug)]
#[command(after_help = help::DB_SWITCHOVER)]
pub struct Args {
    #[command(flatten)]
    of: Of,
    /// To whom (default: the replica that is furthest)
    #[arg(long, value_name = "SERVER")]
    to: Option<String>,
}

/// Gives the order and says who leads then.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let databases = Databases::of(args.of)?;
    runtime()?.block_on(async {
        let before = primary(&databases.look().await).context("nobody is the primary: there is nobody to hand over")?;
        ensure!(args.to.as_deref() != Some(before.as_str()), "{before} is the primary already");
        let to = args.to.as_deref().map(Server::from);
        order::carry_out(&databases, Wish::Switchover { to }).await?;
        let agreed = order::led(&databases).await?;
        let (leader, epoch) = agreed.leader.context("nobody leads")?;
        if leader.server.0 == before.0 {
            let why = agreed.members.get(&before.0).map(|member| member.because.clone()).unwrap_or_default();
            anyhow::bail!("{before} is still the primary: {why}");
        }
        render::print(&format!("{} is the primary now (epoch {epoch}), {before} was\n", leader.server));
        Ok(ExitCode::SUCCESS)
    })
}
