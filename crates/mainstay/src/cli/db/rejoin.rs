//! `mainstay db rejoin`.

use std::process::ExitCode;

use mainstay_site::wire::database::{Server, Wish};

use super::Of;
use super::ask::{Databases, confirm};
use super::order;
use crate::cli::help;
use crate::cli::up::runtime;
use crate::render;

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
}

/// Gives the order.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let databases = Databases::of(args.of)?;
    let what =
        format!("{} puts its data aside and copies them anew; until then there is one replica less.", args.server);
    confirm(&what, args.yes)?;
    runtime()?.block_on(async {
        order::carry_out(&databases, Wish::Rejoin { server: Server::from(args.server.as_str()) }).await?;
        render::print(&format!("{} took the order; `mainstay db status` shows how far it is\n", args.server));
        Ok(ExitCode::SUCCESS)
    })
}
