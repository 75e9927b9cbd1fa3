//! The command line: one verb a file, each with `Args` and `run`.

mod init;
mod service;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The whole web infrastructure of one site, from one file.
#[derive(Parser)]
#[command(name = "mainstay", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    #[command(hide = true)]
    Init(init::Args),
    #[command(hide = true)]
    Service(service::Args),
}

/// Runs the verb and says on standard error what went wrong.
pub fn run() -> ExitCode {
    match Cli::parse().verb {
        Verb::Init(args) => init::run(args),
        Verb::Service(args) => service::run(args),
    }
}
