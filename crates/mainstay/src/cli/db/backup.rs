//! `mainstay db backup`.

use std::process::ExitCode;

use anyhow::Context;
use mainstay_site::names::ServerName;
use mainstay_site::wire::upkeep::Ask;

use super::Of;
use super::ask::Databases;
use super::job;
use crate::cli::help;
use crate::cli::up::runtime;

/// Make a full backup now, and restore it once to see that it can be
#[derive(clap::Args, Debug)]
#[command(after_help = help::DB_BACKUP)]
pub struct Args {
    #[command(flatten)]
    of: Of,
    /// An absolute folder on the server (default: that of `backup` in the declaration)
    #[arg(long, value_name = "FOLDER")]
    to: Option<String>,
    /// Which server's data (default: the last database server's)
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Do not restore it
    #[arg(long)]
    no_test: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Has it made and waits.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let databases = Databases::of(args.of)?;
    let server = args.server.map(ServerName).or_else(|| databases.keeper().cloned()).context("there is no database")?;
    let begin = Ask::Backup { to: args.to, test: !args.no_test };
    runtime()?.block_on(job::follow(&databases, &server, &begin, args.json))
}
