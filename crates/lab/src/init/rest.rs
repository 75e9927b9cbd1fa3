//! What is left when the child has ended: ask it to end, then end it.

use std::fs;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

/// How often the table of processes is read while they end: they need milliseconds.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Rounds of SIGKILL: each reaches the children of those that died in the one before, so this bounds the depth of a
/// tree of processes that had no time to be handed to us.
const ROUNDS: usize = 200;

/// Ends every descendant: SIGTERM, then after `patience` SIGKILL. As process 1 the kernel would end them anyway, but
/// without asking.
pub(super) fn end(patience: Duration) {
    signal_all(Signal::TERM);
    let deadline = Instant::now() + patience;
    while !all_gone() && Instant::now() < deadline {
        rest();
    }
    for _ in 0..ROUNDS {
        if all_gone() {
            return;
        }
        signal_all(Signal::KILL);
        rest();
    }
}

fn rest() {
    // A poll of nothing, cut short by the signal that tells of a child's end.
    let _ = poll(&mut [], Some(&PAUSE));
}

fn all_gone() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

fn signal_all(signal: Signal) {
    for pid in children() {
        // It may have ended meanwhile; it is not reaped yet, so the number is still its own.
        let _ = kill_process(pid, signal);
    }
}

/// Our children, orphans among them. None if `/proc` belongs to another PID namespace: its numbers would not be ours.
fn children() -> Vec<Pid> {
    let me = getpid().as_raw_nonzero().to_string();
    if fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() != me.as_str()) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter(|number| parent(*number).as_deref() == Some(&*me)).filter_map(Pid::from_raw).collect()
}

/// Field 4 of `/proc/PID/stat` (proc_pid_stat(5)), which follows the name in parentheses.
fn parent(number: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1).map(str::to_owned)
}
