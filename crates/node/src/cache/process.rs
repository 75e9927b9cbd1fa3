//! The process of Redis: found, started, ended.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Error;
use crate::clock::unix_ms;
use crate::platform::process::{self, Process};

/// Where Debian puts programs, and where a build by hand does.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program under each of its names. Debian's package of the server starts a service of its own; that of the tools has the
/// same program as the checker of its files, which is the server when it is called by the server's name.
const PROGRAMS: [&str; 4] = ["redis-server", "valkey-server", "redis-check-rdb", "valkey-check-rdb"];

/// By what name it is called.
const NAME: &str = "redis-server";

/// What Redis gets for a clean end, in which it tells its copies; a service has 10 s in all.
const STOP: Duration = Duration::from_secs(3);

/// A Redis that runs.
pub struct Running {
    pub process: Process,
    pub since_ms: u64,
}

impl Running {
    fn of(process: Process) -> Running {
        Running { process, since_ms: unix_ms() }
    }

    /// The one that was started with this file, by whatever role.
    pub fn find(configuration: &Path) -> io::Result<Option<Running>> {
        let is_ours = |pid: u32| {
            let arguments = process::arguments(pid);
            let named = |at: usize, name: &str| arguments.get(at).is_some_and(|it| it == name);
            named(0, NAME) && configuration.to_str().is_some_and(|path| named(1, path))
        };
        Ok(Process::find(is_ours)?.map(Running::of))
    }

    /// Starts one.
    pub fn start(configuration: &Path) -> Result<Running, Error> {
        let mut command = Command::new(program()?);
        command.arg0(NAME).arg(configuration).current_dir("/").env_clear().env("PATH", PATH).stdin(Stdio::null());
        // It outlives its role, and a signal to our process group is not for it.
        command.process_group(0);
        Ok(Running::of(Process::open(command.spawn()?.id())?))
    }

    /// Ends it, cleanly if it still listens.
    pub async fn end(self) {
        self.process.end("Redis", STOP).await;
    }
}

fn program() -> Result<PathBuf, Error> {
    let executable =
        |file: &PathBuf| file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    let places = PROGRAMS.iter().flat_map(|name| PATH.split(':').map(move |folder| Path::new(folder).join(name)));
    places.into_iter().find(executable).ok_or(Error::Missing)
}
