//! A process held by a pidfd, so that its number can never come to mean another one (pidfd_open(2)).

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mainstay_machines::Time;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use crate::clock::{boot_time, unix_ms};

/// Clock ticks in /proc: USER_HZ is 100 on every architecture of Debian (time(7)).
const TICKS_PER_SECOND: u64 = 100;

/// A process, ours or an adopted one.
pub struct Process {
    pid: u32,
    fd: AsyncFd<OwnedFd>,
    started: Time,
    since_ms: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Not known: it was not our child, so its parent was told.
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "ended with exit code {code}"),
            Exit::Signal(number) => match Signal::from_named_raw(*number).map(name) {
                Some(name) if !name.is_empty() => write!(f, "was killed by {name}"),
                _ => write!(f, "was killed by signal {number}"),
            },
            Exit::Unknown => f.write_str("ended; how is known only to the process that was its parent"),
        }
    }
}

/// The signals that end processes in practice.
fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::KILL => "SIGKILL",
        Signal::TERM => "SIGTERM",
        Signal::INT => "SIGINT",
        Signal::SEGV => "SIGSEGV (a fault in memory)",
        Signal::ABORT => "SIGABRT",
        Signal::BUS => "SIGBUS",
        Signal::ILL => "SIGILL",
        _ => "",
    }
}

impl Process {
    /// The process `pid`, which must not have been reaped yet, or be known by other signs. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the kernel gives no pidfd.
    pub fn open(pid: u32) -> io::Result<Process> {
        let raw = Pid::from_raw(pid.cast_signed()).ok_or_else(|| io::Error::other("0 is no process"))?;
        Process::hold(pid, pidfd_open(raw, PidfdFlags::NONBLOCK)?)
    }

    /// The process behind a pidfd that was kept; `None` if it has ended and been reaped, or lives in another PID
    /// namespace.
    ///
    /// # Errors
    /// If `fd` is no pidfd.
    pub fn adopt(fd: OwnedFd) -> io::Result<Option<Process>> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).map(str::trim);
        let pid = pid.ok_or_else(|| io::Error::other("no pidfd"))?;
        match pid.parse::<u32>() {
            Ok(pid) if pid > 0 => Process::hold(pid, fd).map(Some),
            _ => Ok(None),
        }
    }

    /// The first process that `is_ours`: one that outlived whoever started it.
    ///
    /// # Errors
    /// If /proc cannot be read.
    pub fn find(is_ours: impl Fn(u32) -> bool) -> io::Result<Option<Process>> {
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if !is_ours(pid) {
                continue;
            }
            // The descriptor first, then a second look: the number may have passed to another process in between.
            if let Ok(process) = Process::open(pid)
                && is_ours(pid)
            {
                return Ok(Some(process));
            }
        }
        Ok(None)
    }

    fn hold(pid: u32, fd: OwnedFd) -> io::Result<Process> {
        // SAFETY: an `OwnedFd` answers with the same open descriptor until it is dropped, which is after the
        // registration, and nobody replaces what is behind it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
        let now = boot_time();
        let started = start_ticks(pid).map_or(now, |ticks| Time::from_millis(ticks * (1_000 / TICKS_PER_SECOND)));
        let age_ms = u64::try_from(now.since(started).as_millis()).unwrap_or_default();
        Ok(Process { pid, fd, started, since_ms: unix_ms().saturating_sub(age_ms) })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When it started, Unix time in milliseconds: as the clock stood when it was taken hold of.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// How long it has been there, whatever happened to the clock.
    pub fn age(&self) -> Duration {
        boot_time().since(self.started)
    }

    /// Sends a signal; one that ended already is left in peace.
    ///
    /// # Errors
    /// If we may not.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.fd.get_ref(), signal) {
            Err(Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends it cleanly, or not cleanly if it takes longer than `within`; `what` it is, for the log.
    pub async fn end(&self, what: &str, within: Duration) {
        for signal in [Signal::TERM, Signal::KILL] {
            let _ = self.signal(signal);
            if timeout(within, self.ended()).await.is_ok() {
                return;
            }
            tracing::warn!(pid = self.pid, seconds = within.as_secs(), "{what} did not end in time");
        }
    }

    /// Waits for its end, and reaps it if it was our child. Can be asked again after being dropped half-way.
    pub async fn ended(&self) -> Exit {
        // An error of the event loop leaves only to ask the kernel, which is next.
        let _ = self.fd.readable().await;
        match waitid(WaitId::PidFd(self.fd.get_ref().as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, Some(signal)) => Exit::Signal(signal),
                (None, None) => Exit::Unknown,
            },
            _ => Exit::Unknown,
        }
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }
}

/// When `pid` started, in clock ticks since the machine's start. With the number it names a process for good.
pub fn start_ticks(pid: u32) -> Option<u64> {
    stat(pid, 22)
}

/// The leader of this process's session: `None` if it lives in a PID namespace around ours and has no number here, where
/// getsid(2) says 0, which is none for `rustix`.
pub fn session_leader() -> Option<u32> {
    stat(std::process::id(), 6).filter(|leader| *leader > 0)
}

/// A field from the third on of `/proc/PID/stat`, counted as in proc_pid_stat(5).
fn stat<T: std::str::FromStr>(pid: u32, field: usize) -> Option<T> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses that may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(field - 3)?.parse().ok()
}

/// Resident memory in bytes: field 2 of `/proc/PID/statm`, in pages; 0 for a process that is not there.
pub fn rss_bytes(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// The program and arguments of `pid`.
pub fn arguments(pid: u32) -> Vec<String> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = text.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn within<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(10), future).await.unwrap() })
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "reaped through the pidfd")]
    fn tells_how_a_child_ended() {
        within(async {
            let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
            assert_eq!(Process::open(child.id()).unwrap().ended().await, Exit::Code(7));
            let child = Command::new("sleep").arg("100").spawn().unwrap();
            let process = Process::open(child.id()).unwrap();
            assert!(rss_bytes(process.pid()) > 0);
            assert!(start_ticks(process.pid()).is_some());
            assert!(process.age() < Duration::from_secs(10) && unix_ms() - process.since_ms() < 10_000);
            process.signal(Signal::KILL).unwrap();
            assert_eq!(process.ended().await, Exit::Signal(9));
            process.signal(Signal::KILL).unwrap();
        });
    }

    #[test]
    fn adopts_by_pidfd() {
        within(async {
            let mut child = Command::new("sleep").arg("100").spawn().unwrap();
            let raw = Pid::from_raw(child.id().cast_signed()).unwrap();
            let keep = || pidfd_open(raw, PidfdFlags::NONBLOCK).unwrap();
            let (kept, late) = (keep(), keep());
            assert_eq!(Process::adopt(kept).unwrap().unwrap().pid(), child.id());
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(Process::adopt(late).unwrap().is_none());
            assert!(Process::adopt(fs::File::open("/dev/null").unwrap().into()).is_err());
        });
    }
}
