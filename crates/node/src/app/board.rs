//! Where the workers say how they are, for the report and for the pool that hands out requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_http::{Address, Pool};
use mainstay_site::wire::{Part, Report, State};
use tokio::sync::watch;

use super::slot::Phase;
use crate::clock::unix_ms;

/// How a worker is, as its driver sees it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Its phase.
    pub phase: Phase,
    /// Why.
    pub because: String,
    /// For how long.
    pub age: Duration,
    /// Its process.
    pub pid: Option<u32>,
    /// How often it was started.
    pub starts: u64,
}

/// One worker's line.
#[derive(Clone, Debug)]
struct Line {
    seen: Seen,
    since: Instant,
    address: Option<Address>,
}

/// All workers of the service. Shared by their drivers and the report.
pub(super) struct Board {
    lines: Mutex<Vec<Option<Line>>>,
    pool: Arc<Pool>,
    changes: watch::Sender<u64>,
    starts: AtomicU64,
}

impl Board {
    /// For `workers` workers, none of which has said anything yet. Those that serve are placed in `pool`.
    pub fn new(workers: usize, pool: Arc<Pool>) -> Board {
        let lines = Mutex::new(vec![None; workers]);
        Board { lines, pool, changes: watch::Sender::new(0), starts: AtomicU64::new(0) }
    }

    /// Returns when worker `number` is found stuck.
    pub async fn stuck(&self, number: usize) {
        self.pool.stuck(number).await;
    }

    /// Worker `number` is as `seen`.
    pub fn show(&self, number: usize, seen: Seen) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = lines.get_mut(number) else { return };
        let since = Instant::now().checked_sub(seen.age).unwrap_or_else(Instant::now);
        let before = line.take();
        let address = before.as_ref().and_then(|before| before.address.clone());
        let now = line.insert(Line { seen, since, address });
        self.note(number, before.as_ref(), now);
        let (open, was_open) = (now.open(), before.as_ref().and_then(Line::open));
        if open != was_open {
            self.pool.place(number, open.cloned());
        }
        drop(lines);
        self.changes.send_modify(|change| *change += 1);
    }

    fn note(&self, number: usize, before: Option<&Line>, now: &Line) {
        let starts = now.seen.starts - before.map_or(0, |before| before.seen.starts);
        self.starts.fetch_add(starts, Ordering::Relaxed);
        if before.is_none_or(|before| before.seen.phase != now.seen.phase) {
            let state = state(&now.seen).as_str();
            tracing::info!(worker = number, state, because = now.seen.because, pid = now.seen.pid, "worker");
        }
    }

    /// Worker `number` listens at `address`.
    pub fn answered_at(&self, number: usize, address: Address) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(line)) = lines.get_mut(number) {
            line.address = Some(address);
        }
    }

    /// Returns `true` once a worker takes requests, `false` if `stop` became `true` before.
    pub async fn until_served(&self, stop: &watch::Receiver<bool>) -> bool {
        let (mut changes, mut stop) = (self.changes(), stop.clone());
        let open = || {
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.iter().flatten().any(|line| line.open().is_some())
        };
        while !open() {
            tokio::select! {
                _ = changes.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return false,
            }
        }
        true
    }

    /// Wakes at every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The report of the service while its workers run.
    pub fn report(&self) -> Report {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<Part> = lines.iter().enumerate().map(|(number, line)| part(number, line.as_ref())).collect();
        let serving = parts.iter().filter(|part| part.state == State::Serving).count();
        let (state, because) = verdict(&parts, serving);
        Report {
            state,
            because,
            facts: vec![("workers".into(), format!("{serving} of {} serving", parts.len()))],
            counters: [("worker_starts_total".to_owned(), self.starts.load(Ordering::Relaxed))].into(),
            parts,
        }
    }
}

impl Line {
    /// Where the worker takes requests; `None` if it takes none now.
    fn open(&self) -> Option<&Address> {
        self.address.as_ref().filter(|_| self.seen.phase == Phase::Serving)
    }
}

fn part(number: usize, line: Option<&Line>) -> Part {
    let name = format!("worker {number}");
    match line {
        Some(line) => Part {
            name,
            state: state(&line.seen),
            since_ms: unix_ms().saturating_sub(millis(line.since.elapsed())),
            because: line.seen.because.clone(),
            pid: line.seen.pid,
        },
        None => {
            Part { name, state: State::Starting, since_ms: unix_ms(), because: "not started yet".into(), pid: None }
        }
    }
}

fn state(seen: &Seen) -> State {
    match seen.phase {
        // The first start is no failure.
        Phase::Waiting(_) if seen.starts == 0 => State::Starting,
        Phase::Waiting(_) => State::Failed,
        Phase::Starting => State::Starting,
        Phase::Serving => State::Serving,
        Phase::Quiet => State::Degraded,
        Phase::Stopping => State::Stopping,
        Phase::Stopped => State::Stopped,
    }
}

/// The state of the whole: serving if all are, degraded if some are, else the worst of them.
fn verdict(parts: &[Part], serving: usize) -> (State, String) {
    let worst = parts.iter().max_by_key(|part| part.state);
    match worst {
        _ if serving == parts.len() => (State::Serving, format!("{serving} of {serving} workers serve")),
        Some(worst) if serving > 0 => {
            (State::Degraded, format!("{serving} of {} workers serve; {}: {}", parts.len(), worst.name, worst.because))
        }
        Some(worst) => (worst.state, format!("{}: {}", worst.name, worst.because)),
        None => (State::Serving, "has no workers".into()),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
