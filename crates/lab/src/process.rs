//! Processes that are told apart by more than a number: the kernel gives a number again, never with the same start.

use std::collections::HashSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process, for as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number as the host sees it.
    pub pid: i32,
    /// When it started, in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start: u64,
}

impl ProcessId {
    /// The process that has the number `pid` now.
    pub fn of(pid: u32) -> Option<ProcessId> {
        let pid = i32::try_from(pid).ok()?;
        stat(pid).map(|stat| ProcessId { pid, start: stat.start })
    }

    /// This process.
    pub fn own() -> Option<ProcessId> {
        ProcessId::of(std::process::id())
    }

    /// Whether it still runs; a zombie does not.
    pub fn alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Sends `signal`, if it is still the process that was meant.
    pub fn signal(self, signal: Signal) {
        if let Some(handle) = self.handle() {
            // It may end between the two lines; that is what most signals are for.
            let _ = pidfd_send_signal(handle, signal);
        }
    }

    /// A handle that cannot come to mean another process.
    fn handle(self) -> Option<OwnedFd> {
        let handle = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.alive().then_some(handle)
    }

    /// Waits until it has ended; whether it has when `deadline` is over.
    pub fn ended_by(self, deadline: Instant) -> bool {
        while let Some(handle) = self.handle() {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut ended = [PollFd::new(&handle, PollFlags::IN)];
            match poll(&mut ended, Some(&timespec(left))) {
                Ok(0) => return !self.alive(),
                Err(Errno::INTR) | Ok(_) => {}
                Err(_) => return !self.alive(),
            }
        }
        true
    }
}

/// Asks every process to end, waits, and kills what is left when `patience` is over. Returns how many had to be killed.
pub fn end(processes: &[ProcessId], patience: Duration) -> usize {
    let alive: Vec<ProcessId> = processes.iter().copied().filter(|process| process.alive()).collect();
    if !patience.is_zero() {
        alive.iter().for_each(|process| process.signal(Signal::TERM));
    }
    let deadline = Instant::now() + patience;
    let stubborn: Vec<ProcessId> = alive.into_iter().filter(|process| !process.ended_by(deadline)).collect();
    stubborn.iter().for_each(|process| process.signal(Signal::KILL));
    let deadline = Instant::now() + KILLED_WITHIN;
    stubborn.iter().for_each(|process| {
        process.ended_by(deadline);
    });
    stubborn.len()
}

/// How long a killed process may take to be gone: it may have gigabytes to give back, or hang in a slow disk.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// Every process of the machine for which `wanted` holds.
pub fn find(wanted: impl Fn(i32) -> bool) -> HashSet<ProcessId> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashSet::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id() && i32::try_from(*pid).is_ok_and(&wanted))
        .filter_map(ProcessId::of)
        .filter(|process| process.alive())
        .collect()
}

struct Stat {
    state: char,
    start: u64,
}

/// Reads what is needed of `/proc/PID/stat`. The second field is a name in parentheses that may hold anything, so the
/// rest is counted from the last one.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3, the start field 22.
    let start = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start })
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself_and_not_its_number_with_another_start() {
        let own = ProcessId::own().unwrap();
        assert!(own.alive());
        assert!(!ProcessId { start: own.start + 1, ..own }.alive());
    }

    #[test]
    fn ends_the_polite_and_kills_the_stubborn() {
        let mut children: Vec<_> = ["exec sleep 60", "trap '' TERM; echo; exec sleep 60"]
            .iter()
            .map(|script| {
                let mut command = std::process::Command::new("sh");
                command.args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap()
            })
            .collect();
        // The second says when its trap is in place.
        std::io::Read::read_exact(children[1].stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let ids: Vec<ProcessId> = children.iter().map(|child| ProcessId::of(child.id()).unwrap()).collect();
        assert_eq!(end(&ids, Duration::from_millis(300)), 1);
        assert!(ids.iter().all(|process| !process.alive()));
        for mut child in children {
            child.wait().unwrap();
        }
    }
}
