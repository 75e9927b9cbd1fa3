//! Where the workers say how they are, for the report and for whoever hands out requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mainstay_site::wire::{Part, Report, State};
use tokio::sync::watch;

use super::command::Address;
use super::slot::Phase;

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

/// All workers of the service. Shared by their drivers, the report and the listener.
pub(super) struct Board {
    lines: Mutex<Vec<Option<Line>>>,
    open: watch::Sender<Vec<Option<Address>>>,
    changes: watch::Sender<u64>,
    counters: Arc<Counters>,
}

/// Totals since the service started.
#[derive(Default)]
pub(super) struct Counters {
    /// Starts of workers.
    pub starts: AtomicU64,
    /// Requests that came in, health checks apart.
    pub requests: AtomicU64,
    /// Answers of 500 and above.
    pub errors: AtomicU64,
    /// Requests for which no worker was free in time.
    pub refused: AtomicU64,
}

impl Counters {
    fn totals(&self) -> BTreeMap<String, u64> {
        let total = |name: &str, count: &AtomicU64| (name.to_owned(), count.load(Ordering::Relaxed));
        [
            total("requests_total", &self.requests),
            total("requests_failed_total", &self.errors),
            total("requests_refused_total", &self.refused),
            total("worker_starts_total", &self.starts),
        ]
        .into()
    }
}

impl Board {
    /// For `workers` workers, none of which has said anything yet.
    pub fn new(workers: usize) -> Board {
        Board {
            lines: Mutex::new(vec![None; workers]),
            open: watch::Sender::new(vec![None; workers]),
            changes: watch::Sender::new(0),
            counters: Arc::default(),
        }
    }

    /// Worker `number` is as `seen`.
    pub fn show(&self, number: usize, seen: Seen) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = lines.get_mut(number) else { return };
        let since = Instant::now().checked_sub(seen.age).unwrap_or_else(Instant::now);
        let before = line.replace(Line { seen, since, address: None });
        if let Some(line) = line {
            self.note(number, before.as_ref(), line);
            line.address = before.and_then(|before| before.address);
        }
        self.publish(&lines);
        self.changes.send_modify(|change| *change += 1);
    }

    fn note(&self, number: usize, before: Option<&Line>, now: &Line) {
        let starts = now.seen.starts - before.map_or(0, |before| before.seen.starts);
        self.counters.starts.fetch_add(starts, Ordering::Relaxed);
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

    fn publish(&self, lines: &[Option<Line>]) {
        let open: Vec<Option<Address>> = lines.iter().map(open_address).collect();
        self.open.send_if_modified(|known| {
            let changed = *known != open;
            *known = open;
            changed
        });
    }

    /// Where each worker takes requests; `None` for one that takes none now.
    pub fn open(&self) -> watch::Receiver<Vec<Option<Address>>> {
        self.open.subscribe()
    }

    /// What is counted.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
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
            counters: self.counters.totals(),
            parts,
        }
    }
}

fn open_address(line: &Option<Line>) -> Option<Address> {
    line.as_ref().filter(|line| line.seen.phase == Phase::Serving)?.address.clone()
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

/// Unix time in milliseconds.
pub(super) fn unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
