//! The process `mariadbd`: found, started, watched, ended.
//!
//! It outlives the role that started it: it has a session of its own, writes to a file instead of our pipes, and the next
//! role finds it by its command line, which names this server's own configuration. No pid file is trusted: one is stale
//! after a crash and missing if the role died between start and note.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::engine::Start;
use super::places::Places;
use super::{Error, mariadb, programs};

/// Clock ticks in /proc: USER_HZ is 100 on every architecture of Debian (proc_pid_stat(5), time(7)).
const TICKS_PER_SECOND: f64 = 100.0;

/// A `mariadbd` that was started here or by a role before this one.
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started: Unix time in milliseconds.
    pub since_ms: u64,
    /// Whether it was found running.
    pub adopted: bool,
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    /// Finds the one that runs with this server's configuration.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn find(places: &Places) -> io::Result<Option<Process>> {
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else { continue };
            if !is_ours(pid, places) {
                continue;
            }
            // The descriptor first, then a second look: the number may have passed to another process in between.
            let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) else { continue };
            if is_ours(pid, places) {
                return Process::watch(pid, pidfd, true).map(Some);
            }
        }
        Ok(None)
    }

    /// Starts one with the configuration that is in its place.
    ///
    /// # Errors
    /// The program is missing or cannot be executed.
    pub fn start(places: &Places, how: Start) -> Result<Process, Error> {
        let program = programs::find("mariadbd")?;
        let errors = OpenOptions::new().append(true).create(true).open(&places.errors)?;
        let mut command = Command::new(program);
        command
            .arg(configuration_argument(places))
            .current_dir("/")
            .env_clear()
            .env("PATH", programs::PATH)
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
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        Ok(Process::watch(
            pid,
            rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(io::Error::from)?,
            false,
        )?)
    }

    fn watch(pid: Pid, pidfd: OwnedFd, adopted: bool) -> io::Result<Process> {
        // SAFETY: the descriptor is owned, valid, and neither replaced nor closed before the AsyncFd is dropped.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.map_err(io::Error::from)?;
        Ok(Process { pid: pid.as_raw_nonzero().get().unsigned_abs(), since_ms: started_ms(pid), adopted, pidfd })
    }

    /// Returns when it has ended, with how where that can be known: only of one that was started here.
    pub async fn ended(&self) -> String {
        // An error of the wait itself would be ours; the caller then looks for the process anew.
        let _ = self.pidfd.readable().await;
        let status = rustix::process::waitid(
            WaitId::PidFd(std::os::fd::AsFd::as_fd(self.pidfd.get_ref())),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
        match status {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("mariadbd ended with status {code}"),
                (_, Some(signal)) => format!("mariadbd was killed by signal {signal}"),
                _ => "mariadbd ended".into(),
            },
            _ => "mariadbd ended".into(),
        }
    }

    /// Ends it at once: nothing that it has not told its clients is committed by that.
    ///
    /// # Errors
    /// It is still there after `patience`.
    pub async fn kill(self, patience: Duration) -> Result<(), Error> {
        let _ = rustix::process::pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL);
        timeout(patience, self.ended()).await.map(drop).map_err(|_| Error::Unkillable { pid: self.pid })
    }

    /// Ends it cleanly, or not cleanly after `patience`: InnoDB recovers from that at the next start.
    pub async fn stop(self, patience: Duration) {
        let _ = rustix::process::pidfd_send_signal(self.pidfd.get_ref(), Signal::TERM);
        if timeout(patience, self.ended()).await.is_err() {
            tracing::warn!(pid = self.pid, seconds = patience.as_secs(), "mariadbd did not end in time and is killed");
            let _ = rustix::process::pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL);
            let _ = timeout(patience, self.ended()).await;
        }
    }
}

fn configuration_argument(places: &Places) -> String {
    format!("--defaults-file={}", places.configuration.display())
}

fn is_ours(pid: Pid, places: &Places) -> bool {
    let folder = format!("/proc/{}", pid.as_raw_nonzero());
    let Ok(line) = fs::read(Path::new(&folder).join("cmdline")) else { return false };
    let mut arguments = line.split(|byte| *byte == 0);
    let program = arguments.next().unwrap_or_default();
    program.ends_with(b"mariadbd") && arguments.next() == Some(configuration_argument(places).as_bytes())
}

/// Now, as Unix time in milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// From /proc: field 22 of `stat` counts ticks since the boot.
fn started_ms(pid: Pid) -> u64 {
    let age = || -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let ticks: f64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
        let uptime: f64 = fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
        Some(uptime - ticks / TICKS_PER_SECOND)
    };
    now_ms().saturating_sub((age().unwrap_or(0.0) * 1_000.0) as u64)
}
