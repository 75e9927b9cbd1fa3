//! `mainstay db`: what an operator does with the site's databases.

pub(in crate::cli) mod ask;
mod backup;
mod failover;
mod job;
pub(in crate::cli) mod order;
mod rejoin;
mod restore;
mod status;
mod switchover;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use super::help;

/// Look at the site's databases, move the primary, make backups, go back in time
#[derive(clap::Args, Debug)]
#[command(after_help = help::DB, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Status(status::Args),
    Switchover(switchover::Args),
    Failover(failover::Args),
    Rejoin(rejoin::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Verify(verify::Args),
}

/// Runs the verb.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Status(args) => status::run(args),
        Verb::Switchover(args) => switchover::run(args),
        Verb::Failover(args) => failover::run(args),
        Verb::Rejoin(args) => rejoin::run(args),
        Verb::Backup(args) => backup::run(args),
        Verb::Restore(args) => restore::run(args),
        Verb::Verify(args) => verify::run(args),
    }
}

/// Which site, for verbs whose words are servers.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Of {
    /// The site's domain; may be left out when only one is up
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
}
