//! `--detach`: a second process brings the site up and stays; this one shows its progress and returns when it serves.

use std::fs::OpenOptions;
use std::io::{Read, Write, stdin};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Starts the process that stays, and waits for its word: one byte on the pipe that it has for standard input, the exit
/// code of this process. A pipe that ends without one is a process that has said why on standard error.
pub fn hand_over() -> anyhow::Result<ExitCode> {
    let (mut word, pipe) = std::io::pipe()?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--detach");
    let mut stays = Command::new(std::env::current_exe()?)
        .args(arguments)
        .arg("--background")
        .stdin(Stdio::from(pipe))
        .spawn()
        .context("the background process cannot be started")?;
    deaf()?;
    let mut code = [0];
    match word.read(&mut code)? {
        0 => {
            Ok(stays.wait()?.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
        }
        _ => Ok(ExitCode::from(code[0])),
    }
}

/// A Ctrl-C is for the other process, which then clears away what it has begun; this one waits for that.
fn deaf() -> anyhow::Result<()> {
    let runtime = super::runtime()?;
    let _entered = runtime.enter();
    // The handler stays when nobody listens to it any more.
    drop(signal(SignalKind::interrupt())?);
    Ok(())
}

/// Gives the word and leaves the terminal; from now on, what is said goes to the file `log`.
pub fn let_go(code: u8, log: &Path) -> anyhow::Result<()> {
    let log = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(log)
        .context("the log of `up` cannot be opened")?;
    // This process is no leader of a group: it was spawned into its parent's.
    rustix::process::setsid().context("the terminal cannot be left")?;
    let mut word = std::fs::File::from(stdin().as_fd().try_clone_to_owned()?);
    word.write_all(&[code]).context("the foreground process has gone")?;
    rustix::stdio::dup2_stdin(OpenOptions::new().read(true).open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(&log)?;
    rustix::stdio::dup2_stderr(&log)?;
    Ok(())
}
