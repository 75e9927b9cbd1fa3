//! Starting the child with what is kept for it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{dup2, fcntl_dupfd_cloexec};
use rustix::process::Pid;

/// `SD_LISTEN_FDS_START`: where sd_listen_fds(3) begins.
const FIRST: RawFd = 3;

/// Starts `command` with `kept` from descriptor 3 on and `NOTIFY_SOCKET`.
pub(super) fn child(command: &[OsString], notify: &str, kept: &[(String, OwnedFd)]) -> io::Result<Pid> {
    let end = FIRST + kept.len() as RawFd;
    let _occupied = occupy(end)?;
    let sources: Vec<OwnedFd> = kept.iter().map(|(_, fd)| fcntl_dupfd_cloexec(fd, end)).collect::<Result<_, _>>()?;
    let mut program = Command::new(&command[0]);
    program.args(&command[1..]).env("NOTIFY_SOCKET", notify);
    program.env_remove("LISTEN_PID").env_remove("LISTEN_FDS").env_remove("LISTEN_FDNAMES");
    if !kept.is_empty() {
        let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
        program.env("LISTEN_FDS", kept.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    }
    let numbers: Vec<RawFd> = sources.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: between fork and exec only dup2(2) is called, which is async-signal-safe (signal-safety(7)), on
    // descriptors that `sources` keeps open until the child has executed.
    unsafe { program.pre_exec(move || hand_over(&numbers)) };
    let child = program.spawn()?;
    Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("the child has no number"))
}

/// Occupies every free descriptor below `end`, so that what the standard library opens to start the child (the pipe
/// that brings back exec's error) is not in the way of what the child is handed.
fn occupy(end: RawFd) -> io::Result<Vec<OwnedFd>> {
    let null = OwnedFd::from(File::open("/dev/null")?);
    let mut occupied = vec![];
    loop {
        let fd = fcntl_dupfd_cloexec(&null, FIRST)?;
        if fd.as_raw_fd() >= end {
            return Ok(occupied);
        }
        occupied.push(fd);
    }
}

/// In the child: brings the descriptors to where the protocol has them, without close-on-exec.
fn hand_over(numbers: &[RawFd]) -> io::Result<()> {
    for (number, target) in numbers.iter().zip(FIRST..) {
        // SAFETY: open in the parent while the child is between fork and exec, and nobody else runs in the child.
        let source = unsafe { BorrowedFd::borrow_raw(*number) };
        // SAFETY: occupied, so open; not closed here, since it is for the program.
        let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(target) });
        dup2(source, &mut target)?;
    }
    Ok(())
}

/// A new network namespace starts with its loopback interface down (network_namespaces(7)).
pub(super) fn loopback_up() -> io::Result<()> {
    let output = Command::new("ip").args(["link", "set", "lo", "up"]).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip link set lo up: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
