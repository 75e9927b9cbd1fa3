//! `mainstay lab`: what the lab can show of Mainstay itself.

mod charge;
mod database;
mod ground;
mod left;
mod patience;
mod scaled;
mod scenario;
mod site;
mod stage;
mod table;
mod vip;

use std::process::ExitCode;

use clap::Subcommand;

use super::help;

/// Have the site's machinery fail on purpose, on this machine, and see what becomes of it
#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true, after_help = help::LAB_SCENARIO)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Scenario(scenario::Args),
}

/// Runs the verb.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Scenario(args) => scenario::run(args),
    }
}
