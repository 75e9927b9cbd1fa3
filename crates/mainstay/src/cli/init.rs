//! `mainstay init -- COMMAND…`: process 1 of a server of the lab. Hidden, since `mainstay up` starts it.

use std::ffi::OsString;
use std::process::ExitCode;

use mainstay_lab::init::{self, Options};

/// What follows the verb.
#[derive(clap::Args)]
pub struct Args {
    /// Mount a /proc of this PID namespace.
    #[arg(long)]
    mount_proc: bool,
    /// Bring the loopback interface up.
    #[arg(long)]
    loopback_up: bool,
    /// What to run, and to run again when it crashes.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the command until it ended as asked.
pub fn run(args: Args) -> ExitCode {
    mainstay_node::log::start();
    let Args { mount_proc, loopback_up, command } = args;
    match init::run(Options { mount_proc, loopback_up, command }) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
