//! Starting a process with descriptors from 3 on, under a user of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, Mode, memfd_create};
use rustix::io::{dup2, fcntl_dupfd_cloexec};
use rustix::process::{Pid, setpriority_process, setsid, umask};

use super::inherit::FIRST_FD;
use super::process::session_leader;

/// Half of the way from the usual to the most: ten times the share of a core that others get (sched(7)).
const URGENT: i32 = -10;

/// What to start.
pub struct Start<'a> {
    /// Arguments; the program is this one.
    pub arguments: Vec<OsString>,
    /// Environment beside our own.
    pub environment: Vec<(&'static str, String)>,
    /// Environment variables that are not passed on.
    pub withheld: &'a [&'static str],
    /// Numeric user and group; our own if `None`.
    pub user: Option<u32>,
    /// Others take it for dead if it is late: it goes before who only works (setpriority(2)).
    pub urgent: bool,
    /// Becomes 3, 4, ….
    pub descriptors: Vec<BorrowedFd<'a>>,
    /// Becomes standard output and error.
    pub log: BorrowedFd<'a>,
}

/// Starts this very program again; returns the child's number. The caller reaps it, through a pidfd.
///
/// The program is named by `/proc/self/exe`: a link that the kernel follows without walking the path, so the user need
/// not be able to reach the file, and that stays with this version while the file is replaced (proc_pid_exe(5)).
/// The child leads a session of its own (a Ctrl-C on our terminal is ours to handle), can gain no privilege by
/// executing anything (`PR_SET_NO_NEW_PRIVS`), and loses every supplementary group with the user.
///
/// # Errors
/// If the user may not execute the program, or the machine has no room for a process.
pub fn start(start: &Start<'_>) -> io::Result<u32> {
    let end = FIRST_FD + start.descriptors.len() as RawFd;
    let _occupied = occupy(end)?;
    let sources: Vec<OwnedFd> =
        start.descriptors.iter().map(|fd| fcntl_dupfd_cloexec(fd, end)).collect::<Result<_, _>>()?;
    let mut program = Command::new("/proc/self/exe");
    program.arg0("mainstay").args(&start.arguments).current_dir("/").stdin(Stdio::null());
    program.stdout(start.log.try_clone_to_owned()?).stderr(start.log.try_clone_to_owned()?);
    for name in start.withheld {
        program.env_remove(name);
    }
    program.envs(start.environment.iter().map(|(name, value)| (name, value)));
    if let Some(user) = start.user {
        // With a user and without groups, the standard library empties the list of supplementary groups.
        program.gid(user).uid(user);
    }
    let numbers: Vec<RawFd> = sources.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: between fork and exec only plain system calls are made, all async-signal-safe (signal-safety(7)), on
    // descriptors that `sources` keeps open until the child has executed.
    unsafe { program.pre_exec(move || become_service(&numbers)) };
    let child = program.spawn()?.id();
    if start.urgent {
        hurry(child);
    }
    Ok(child)
}

/// Has a child go before others. Only root may, and without it is only as late as others are.
///
/// Both are needed: where the kernel shares the processor among sessions (`sched_autogroup_enabled`, which most have), a process's
/// own priority counts only within its session, which is its own alone; there the session's counts (sched(7)).
fn hurry(child: u32) {
    // Before it makes threads, which are as it then is.
    let _ = setpriority_process(Pid::from_raw(child.cast_signed()), URGENT);
    let _ = std::fs::write(format!("/proc/{child}/autogroup"), URGENT.to_string());
}

/// Has this process's session go before others, if it is the session's own or process 1's: a terminal's is others' too. What is
/// started in sessions of their own is as others are.
pub fn hurry_session() {
    if session_leader().is_some_and(|leader| leader == std::process::id() || leader == 1) {
        let _ = std::fs::write("/proc/self/autogroup", URGENT.to_string());
    }
}

/// Has the calling thread go before others (setpriority(2): on Linux a priority is a thread's), and whatever it starts.
pub fn hurry_thread() {
    let _ = setpriority_process(None, URGENT);
}

/// Occupies every free descriptor below `end`, so that what the standard library opens to start the child (the pipe
/// that brings back exec's error) is not in the way of what the child is handed.
fn occupy(end: RawFd) -> io::Result<Vec<OwnedFd>> {
    let null = OwnedFd::from(File::open("/dev/null")?);
    let mut occupied = vec![];
    loop {
        let fd = fcntl_dupfd_cloexec(&null, FIRST_FD)?;
        if fd.as_raw_fd() >= end {
            return Ok(occupied);
        }
        occupied.push(fd);
    }
}

/// In the child: brings the descriptors to their numbers, without close-on-exec.
fn become_service(numbers: &[RawFd]) -> io::Result<()> {
    setsid()?;
    // Uploads are for the web server's user to read; what is private lies in a private folder.
    umask(Mode::WGRP | Mode::WOTH);
    rustix::thread::set_no_new_privs(true)?;
    for (number, target) in numbers.iter().zip(FIRST_FD..) {
        // SAFETY: the parent keeps it open until the child has executed, and nobody else runs in the child.
        let source = unsafe { BorrowedFd::borrow_raw(*number) };
        // SAFETY: occupied, so open; not closed here, since it is for the program.
        let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(target) });
        dup2(source, &mut target)?;
    }
    Ok(())
}

/// A file that lives in memory only and holds `contents`, to be read from its start (memfd_create(2)).
///
/// # Errors
/// If memory or descriptors ran out.
pub fn memory_file(name: &str, contents: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(contents)?;
    file.rewind()?;
    Ok(file.into())
}
