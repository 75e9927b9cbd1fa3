//! Process 1 of a server of the lab: `mainstay init -- mainstay serve …`.
//!
//! It stands where systemd stands on a real server, and speaks its protocol (sd_notify(3), sd_listen_fds(3),
//! `FDSTORE` in systemd.service(5)): it starts its one child with `NOTIFY_SOCKET`, keeps the descriptors that the child
//! puts away, and when the child dies unexpectedly starts it again and hands them back. It reaps orphans, passes SIGTERM
//! on, and ends with its child once that ended with 0. Killing it is the power cut: the kernel ends every process of the
//! PID namespace with it (pid_namespaces(7)).
//!
//! Run by hand, not as process 1, it becomes the reaper of its descendants (`PR_SET_CHILD_SUBREAPER`) and does the
//! same, so that servers without namespaces survive their supervisor too.
//!
//! Exit codes: 0 stopped as asked; 2 the child says that it can never run (as `mainstay serve` does of wrong arguments);
//! 1 init itself failed, or the child did not stop in time and was killed.

mod rest;
mod shelf;
mod spawn;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mainstay_machines::Time;
use mainstay_machines::backoff::{Backoff, Policy};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};

use shelf::Shelf;

/// How long the child may take to stop. It stops its services in reverse order, and gives a database 60 s (a large
/// buffer pool takes that long to write); the others need 10 s at most, and stop in less.
const STOP_DEADLINE: Duration = Duration::from_secs(90);

/// How long processes that the child left behind have to end after SIGTERM, before SIGKILL.
const REST_DEADLINE: Duration = Duration::from_secs(2);

/// The child's exit code for "this can never run": clap's for wrong arguments, too.
const NEVER: i32 = 2;

/// What to run, and what to prepare before.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Mount a `/proc` of this PID namespace, in a mount namespace that must be its own already.
    pub mount_proc: bool,
    /// Bring the loopback interface up.
    pub loopback_up: bool,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// Why init could not do its work. Every one names the step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Preparing the namespace failed.
    #[error("{step}: {source}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Nothing to run.
    #[error("no command was given: mainstay init -- mainstay serve --server NAME")]
    NoCommand,
    /// The program cannot be started, the first time already.
    #[error("{program} cannot be started: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
}

fn step<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Error {
    move |source| Error::Step { step, source: source.into() }
}

/// Runs the command until it is stopped; returns the exit code.
///
/// # Errors
/// If the namespace cannot be prepared, or the command not even be started once.
pub fn run(options: Options) -> Result<u8, Error> {
    if options.command.is_empty() {
        return Err(Error::NoCommand);
    }
    prepare(&options)?;
    let mut init = Init::new(options.command)?;
    init.start()?;
    let code = init.watch()?;
    rest::end(REST_DEADLINE);
    Ok(code)
}

fn prepare(options: &Options) -> Result<(), Error> {
    if options.mount_proc {
        // Else the new /proc would appear in every mount namespace that shares with this one (mount_namespaces(7)).
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .map_err(step("making mounts private"))?;
        mount("proc", "/proc", "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
            .map_err(step("mounting /proc"))?;
    }
    if options.loopback_up {
        spawn::loopback_up().map_err(step("bringing the loopback interface up"))?;
    }
    let me = rustix::process::getpid();
    if !me.is_init() {
        rustix::process::set_child_subreaper(Some(me)).map_err(step("becoming the reaper of orphans"))?;
    }
    Ok(())
}

/// What the signal handler tells the loop.
struct Signals {
    /// Readable when a signal came.
    wake: Arc<OwnedFd>,
    /// SIGTERM or SIGINT was among them.
    stop: Arc<AtomicBool>,
}

impl Signals {
    fn catch() -> Result<Signals, Error> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(step("making an eventfd"))?;
        let signals = Signals { wake: Arc::new(wake), stop: Arc::default() };
        for signal in [Signal::TERM, Signal::INT, Signal::CHILD] {
            let (wake, stop) = (Arc::clone(&signals.wake), Arc::clone(&signals.stop));
            let action = move || {
                if signal != Signal::CHILD {
                    stop.store(true, Ordering::SeqCst);
                }
                // Full means that the loop has a wake-up before it already.
                let _ = rustix::io::write(&*wake, &1_u64.to_ne_bytes());
            };
            // SAFETY: the action sets an atomic and makes one system call, both async-signal-safe (signal-safety(7)).
            unsafe { signal_hook_registry::register(signal.as_raw(), action) }.map_err(step("catching signals"))?;
        }
        Ok(signals)
    }

    fn clear(&self) {
        let mut count = [0; 8];
        // Empty is fine: another wake-up took it.
        let _ = rustix::io::read(&*self.wake, &mut count);
    }
}

struct Init {
    command: Vec<OsString>,
    signals: Signals,
    shelf: Shelf,
    child: Option<Pid>,
    backoff: Backoff,
    /// The clock of `backoff` counts from here.
    origin: Instant,
    /// When to start the child again.
    again: Option<Instant>,
    /// When patience with a stopping child ends.
    patience: Option<Instant>,
}

impl Init {
    fn new(command: Vec<OsString>) -> Result<Init, Error> {
        Ok(Init {
            command,
            signals: Signals::catch()?,
            shelf: Shelf::new().map_err(step("making the notification socket"))?,
            child: None,
            backoff: Backoff::new(Policy::PROCESS),
            origin: Instant::now(),
            again: None,
            patience: None,
        })
    }

    fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    fn start(&mut self) -> Result<(), Error> {
        let spawned = spawn::child(&self.command, self.shelf.address(), self.shelf.kept());
        let program = || self.command[0].to_string_lossy().into_owned();
        let pid = spawned.map_err(|source| Error::Spawn { program: program(), source })?;
        self.shelf.listen_to(pid);
        self.child = Some(pid);
        let now = self.now();
        self.backoff.started(now);
        Ok(())
    }

    /// Waits for the end; returns the exit code.
    fn watch(&mut self) -> Result<u8, Error> {
        loop {
            self.sleep()?;
            self.signals.clear();
            self.shelf.receive();
            if let Some(code) = self.reap().or_else(|| self.stop()) {
                return Ok(code);
            }
            if self.again.is_some_and(|at| at <= Instant::now()) {
                self.restart();
            }
        }
    }

    fn sleep(&self) -> Result<(), Error> {
        let mut fds = [
            PollFd::new(&*self.signals.wake, PollFlags::IN),
            PollFd::from_borrowed_fd(self.shelf.as_fd(), PollFlags::IN),
        ];
        let until = [self.again, self.patience].into_iter().flatten().min();
        let pause = until.map(|at| at.saturating_duration_since(Instant::now()));
        // A pause too long for the type is as good as none.
        let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
        match poll(&mut fds, pause.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(step("waiting for something to happen")(error)),
        }
    }

    /// Takes leave of every process that ended; returns the exit code if that was the child's last life.
    fn reap(&mut self) -> Option<u8> {
        let mut end = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if self.child == Some(pid) {
                // What it put away with its last breath counts.
                self.shelf.receive();
                self.child = None;
                end = self.ended(status);
            }
        }
        end
    }

    fn ended(&mut self, status: WaitStatus) -> Option<u8> {
        match status.exit_status() {
            Some(0) => return Some(0),
            Some(NEVER) => return Some(2),
            _ if self.patience.is_some() => return Some(1),
            _ => {}
        }
        let at = self.backoff.ended(self.now());
        let pause = at.since(self.now());
        let program = self.command[0].to_string_lossy();
        tracing::warn!(
            pause_ms = pause.as_millis() as u64,
            "{program} ended with {} and is started again",
            describe(status)
        );
        self.again = Some(Instant::now() + pause);
        None
    }

    fn restart(&mut self) {
        self.again = None;
        if let Err(error) = self.start() {
            tracing::error!("{error}");
            let pause = self.backoff.ended(self.now()).since(self.now());
            self.again = Some(Instant::now() + pause);
        }
    }

    /// Passes a wish to stop on, and loses patience; returns the exit code if nothing is left to stop.
    fn stop(&mut self) -> Option<u8> {
        let asked = self.signals.stop.swap(false, Ordering::SeqCst);
        let Some(child) = self.child else {
            return asked.then_some(0);
        };
        if asked {
            self.patience.get_or_insert_with(|| Instant::now() + STOP_DEADLINE);
            // It is our child and not reaped yet, so the number is its own.
            let _ = kill_process(child, Signal::TERM);
        } else if self.patience.is_some_and(|at| at <= Instant::now()) {
            tracing::error!("{} did not stop within {STOP_DEADLINE:?}: killed", self.command[0].to_string_lossy());
            let _ = kill_process(child, Signal::KILL);
            self.patience = Some(Instant::now() + STOP_DEADLINE);
        }
        None
    }
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}
