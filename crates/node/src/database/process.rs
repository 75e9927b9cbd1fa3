//! The process `mariadbd`: found, started, watched, ended.
//!
//! It outlives the role that started it: it has a session of its own, writes to a file instead of our pipes, and the next
//! role finds it by its command line, which names this server's own configuration. No pid file is trusted: one is stale
//! after a crash and missing if the role died between start and note.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::timeout;

use super::engine::Start;
use super::places::Places;
use super::{Error, find_program, mariadb};
use crate::platform::process;
use crate::platform::program;

/// A `mariadbd` that was started here or by a role before this one.
pub struct Process {
    /// Whether it was found running.
    pub adopted: bool,
    held: process::Process,
}

impl Process {
    /// Finds the one that runs with this server's configuration.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn find(places: &Places) -> io::Result<Option<Process>> {
        let argument = configuration_argument(places);
        let found = process::Process::find(|pid| {
            let arguments = process::arguments(pid);
            arguments.first().is_some_and(|program| program.ends_with("mariadbd"))
                && arguments.get(1) == Some(&argument)
        })?;
        Ok(found.map(|held| Process { adopted: true, held }))
    }

    /// Starts one with the configuration that is in its place.
    ///
    /// # Errors
    /// The program is missing or cannot be executed.
    pub fn start(places: &Places, how: Start) -> Result<Process, Error> {
        let program = find_program("mariadbd")?;
        let errors = OpenOptions::new().append(true).create(true).open(&places.errors)?;
        let mut command = Command::new(program);
        command
            .arg(configuration_argument(places))
            .current_dir("/")
            .env_clear()
            .env("PATH", program::PATH)
            .env("TMPDIR", places.temporary())
            .stdin(Stdio::null())
            .stdout(errors.try_clone()?)
            .stderr(errors)
            // A signal to our process group is not for the data.
            .process_group(0);
        if how == Start::Truncated {
            command.arg(mariadb::TRUNCATE);
        }
        if let Some(user) = places.user {
            command.uid(user).gid(user);
        }
        Ok(Process { adopted: false, held: process::Process::open(command.spawn()?.id())? })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.held.pid()
    }

    /// The process itself.
    pub fn held(&self) -> &process::Process {
        &self.held
    }

    /// Ends it at once: nothing that it has not told its clients is committed by that.
    ///
    /// # Errors
    /// It is still there after `patience`.
    pub async fn kill(self, patience: Duration) -> Result<(), Error> {
        let _ = self.held.signal(Signal::KILL);
        timeout(patience, self.held.ended()).await.map(drop).map_err(|_| Error::Unkillable { pid: self.pid() })
    }

    /// Ends it cleanly, or not cleanly after `patience`: InnoDB recovers from that at the next start.
    pub async fn stop(self, patience: Duration) {
        self.held.end("mariadbd", patience).await;
    }
}

fn configuration_argument(places: &Places) -> String {
    format!("--defaults-file={}", places.configuration.display())
}
