//! The process of Redis: found, started, ended.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Error;
use crate::platform::process::{self, Process};
use crate::platform::program;

/// The program under each of its names. Debian's package of the server starts a service of its own; that of the tools has the
/// same program as the checker of its files, which is the server when it is called by the server's name.
const PROGRAMS: [&str; 4] = ["redis-server", "valkey-server", "redis-check-rdb", "valkey-check-rdb"];

/// By what name it is called.
const NAME: &str = "redis-server";

/// What Redis gets for a clean end, in which it tells its copies; a service has 10 s in all.
const STOP: Duration = Duration::from_secs(3);

/// The one that was started with this file, by whatever role.
pub fn find(configuration: &Path) -> io::Result<Option<Process>> {
    Process::find(|pid| {
        let arguments = process::arguments(pid);
        let named = |at: usize, name: &str| arguments.get(at).is_some_and(|it| it == name);
        named(0, NAME) && configuration.to_str().is_some_and(|path| named(1, path))
    })
}

/// Starts one.
pub fn start(configuration: &Path) -> Result<Process, Error> {
    let program = PROGRAMS.iter().find_map(|name| program::find(name)).ok_or(Error::Missing)?;
    let mut command = Command::new(program);
    command.arg0(NAME).arg(configuration).current_dir("/").env_clear().env("PATH", program::PATH).stdin(Stdio::null());
    // It outlives its role, and a signal to our process group is not for it.
    command.process_group(0);
    Ok(Process::open(command.spawn()?.id())?)
}

/// Ends it, cleanly if it still listens.
pub async fn end(process: &Process) {
    process.end("Redis", STOP).await;
}
