//! Ties a child process to our own life.

use std::io;

use rustix::io::Errno;
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use tokio::process::Command;

/// Has the kernel end the child when the *thread* that starts it ends (prctl(2), `PR_SET_PDEATHSIG`): start it on one
/// that lives as long as the process.
pub fn ends_with_us(command: &mut Command) {
    let us = getpid();
    let tie = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // We may have died before the line above.
        if getppid() == Some(us) { Ok(()) } else { Err(io::Error::from(Errno::SRCH)) }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; these are two plain system calls.
    unsafe { command.pre_exec(tie) };
}
