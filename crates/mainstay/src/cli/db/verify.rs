//! `mainstay db verify`.

use std::process::ExitCode;

use mainstay_site::wire::upkeep::Ask;

use super::Of;
use super::ask::{Databases, leading};
use super::job;
use crate::cli::help;
use crate::cli::up::runtime;

/// Compare every table of the primary with every replica's, at one and the same position
#[derive(clap::Args, Debug)]
#[command(after_help = help::DB_VERIFY)]
pub struct Args {
    #[command(flatten)]
    of: Of,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Has the primary do it and waits.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let databases = Databases::of(args.of)?;
    runtime()?.block_on(async {
        let primary = leading(&databases, &databases.look().await)?;
        job::follow(&databases, &primary, &Ask::Verify, args.json).await
    })
}
