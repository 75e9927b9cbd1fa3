//! A process of ours: started clean, dies with us, leaves nobody behind.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::command::{Start, package_of};
use super::environment::Environment;
use super::logs::{Tail, pass_on};
use crate::platform::tie;

/// How long the last words of an ended process may take to arrive; a grandchild may hold the pipe open for ever.
const LAST_WORDS_MAX: Duration = Duration::from_millis(300);

/// A process that was started, the leader of a process group of its own.
pub(super) struct Running {
    child: Child,
    group: Pid,
    tail: Tail,
    log: JoinHandle<()>,
}

impl Running {
    /// Starts `start` in `folder` with exactly `environment`; what it prints is passed on as `who`'s.
    ///
    /// To be called on a thread that lives as long as the service: see [`tie::ends_with_us`].
    pub fn start(start: &Start, folder: &Path, environment: &Environment, who: String) -> io::Result<Running> {
        let (output, input) = io::pipe()?;
        let mut command = Command::new(&start.program);
        command.args(&start.arguments).current_dir(folder).env_clear().envs(environment);
        command.envs(start.variables.iter().copied()).process_group(0);
        command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
        tie::ends_with_us(&mut command);
        let child = command.spawn()?;
        drop(command);
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let group = group.ok_or_else(|| io::Error::other("the process ended before it could be watched"))?;
        let tail = Tail::default();
        let log = tokio::spawn(pass_on(Receiver::from_owned_fd(output.into())?, who, tail.clone()));
        Ok(Running { child, group, tail, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits for its end and says in words how it ended, with its last lines. May be cancelled and called again.
    pub async fn ended(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().await.unwrap_or_else(|_| ExitStatus::from_raw(0xff00));
        // What it started belongs to it and would hold its socket and its memory.
        self.signal(Signal::KILL);
        let _ = timeout(LAST_WORDS_MAX, &mut self.log).await;
        let tail = self.tail.text();
        let words = if tail.is_empty() { describe(status) } else { format!("{}: {tail}", describe(status)) };
        (status, words)
    }

    /// Signals it and everything that it started.
    pub fn signal(&self, signal: Signal) {
        // An error says that nobody is left.
        let _ = rustix::process::kill_process_group(self.group, signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.log.abort();
    }
}

/// `exited with status 1`, `was killed by signal 9`.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended by itself".into(),
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// Why a process could not be started, with the next step.
pub(super) fn not_started(start: &Start, folder: &Path, error: &io::Error) -> String {
    let program = start.program.display();
    match (error.kind(), package_of(&start.program)) {
        (io::ErrorKind::NotFound, _) if !folder.is_dir() => {
            format!("there is no release at {}: start the site again to have it built", folder.display())
        }
        (io::ErrorKind::NotFound, Some(package)) => format!("{program} is not installed: apt-get install {package}"),
        _ => format!("{program} cannot be started: {error}"),
    }
}

/// Ends what an earlier life of this service left running, recognised by its environment: a worker below `run` whose
/// parent died in a way that the kernel's own signal did not reach (a shell's child).
pub(super) fn end_leftovers(run: &Path) {
    let mark = format!("MAINSTAY_WORKER={}/", run.display());
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        let ours = environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()));
        if let (true, Some(pid)) = (ours, pid(&process.file_name())) {
            tracing::warn!(pid = pid.as_raw_nonzero().get(), "ending a worker that an earlier life left behind");
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

fn pid(name: &OsStr) -> Option<Pid> {
    Pid::from_raw(name.to_str()?.parse().ok()?)
}
