//! `mainstay service NAME`: one service, started by `mainstay serve`. Hidden, since it cannot be used by hand.

use std::process::ExitCode;

/// What follows the verb.
#[derive(clap::Args)]
pub struct Args {
    /// The service's name in the plan.
    name: String,
}

/// Runs the service until it is told to end.
pub fn run(args: Args) -> ExitCode {
    mainstay_node::harness::run(&args.name)
}
