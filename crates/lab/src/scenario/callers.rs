//! Callers of a front door: one opens a connection every 5 ms, one keeps a connection open. What they notice of a move of the
//! address is what a visitor does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::visitors::Door;
use crate::namespace;

/// Between two calls of each.
const EVERY: Duration = Duration::from_millis(5);
/// What a visitor waits for. The kernel says hello a second time after a second, so nothing more would come of a longer wait.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of an answer: the page that is asked for has a tenth of it.
const ANSWER_BYTES: usize = 4096;

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it was begun, and when it ended.
    pub sent: Duration,
    /// See `sent`.
    pub ended: Duration,
    /// On the connection that is kept.
    pub kept: bool,
    /// Why there was no good answer.
    pub failed: Option<String>,
}

/// Callers at work.
pub struct Callers {
    shared: Arc<Shared>,
    thread: JoinHandle<anyhow::Result<()>>,
}

struct Shared {
    door: Door,
    begun: Instant,
    ending: AtomicBool,
    calls: Mutex<Vec<Call>>,
    answered: AtomicU64,
}

impl Callers {
    /// Has them call.
    pub fn start(door: Door) -> Callers {
        let shared = Arc::new(Shared {
            door,
            begun: Instant::now(),
            ending: AtomicBool::new(false),
            calls: Mutex::default(),
            answered: AtomicU64::new(0),
        });
        let all = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let namespace = all.door.namespace.clone();
            namespace::within(&namespace, || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async { tokio::join!(open(Arc::clone(&all)), keep(&all)) });
                Ok(())
            })?
        });
        Callers { shared, thread }
    }

    /// How long they have been calling: the clock of [`Call`]s.
    pub fn now(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    /// How many calls on fresh connections were answered until now.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Lets them finish, and returns what they saw.
    ///
    /// # Errors
    /// If their namespace was gone.
    pub fn end(self) -> anyhow::Result<Vec<Call>> {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the callers panicked"))??;
        Ok(std::mem::take(&mut *self.shared.calls()))
    }
}

impl Shared {
    fn ends(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, sent: Duration, kept: bool, outcome: Result<(), String>) {
        if outcome.is_ok() && !kept {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        self.calls().push(Call { sent, ended: self.begun.elapsed(), kept, failed: outcome.err() });
    }
}

/// A connection for each call, whatever has become of those before.
async fn open(shared: Arc<Shared>) {
    let mut calls = tokio::task::JoinSet::new();
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !shared.ends() {
        clock.tick().await;
        let shared = Arc::clone(&shared);
        calls.spawn(async move {
            let sent = shared.begun.elapsed();
            let answered = within(async { ask(&mut connect(&shared.door).await?, &shared.door, "close").await }).await;
            shared.note(sent, false, answered);
        });
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
}

/// One connection for all calls, until it breaks.
async fn keep(shared: &Shared) {
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = None;
    while !shared.ends() {
        clock.tick().await;
        let sent = shared.begun.elapsed();
        let answered = within(async {
            let stream = match &mut kept {
                Some(stream) => stream,
                none => none.insert(connect(&shared.door).await?),
            };
            ask(stream, &shared.door, "keep-alive").await
        });
        let answered = answered.await;
        if answered.is_err() {
            kept = None;
        }
        shared.note(sent, true, answered);
    }
}

async fn within(call: impl Future<Output = anyhow::Result<()>>) -> Result<(), String> {
    match timeout(PATIENCE, call).await {
        Ok(answered) => answered.map_err(|error| format!("{error:#}")),
        Err(_) => Err("no answer within a second".into()),
    }
}

async fn connect(door: &Door) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(door.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn ask(stream: &mut TcpStream, door: &Door, connection: &str) -> anyhow::Result<()> {
    let request = format!("GET /index.html HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\r\n", door.host);
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        ensure!(answer.len() < ANSWER_BYTES, "an answer without an end");
        if stream.read_buf(&mut answer).await? == 0 {
            bail!("the connection ended after {} bytes", answer.len());
        }
    }
    let line = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
    ensure!(line == "HTTP/1.1 200", "answered {line}");
    Ok(())
}

/// Whether head and body have come.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

/// What all calls came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Toll {
    /// Requests.
    pub asked: u64,
    /// Of them, those without a good answer.
    pub failed: u64,
    /// The longest time between two good answers on fresh connections.
    pub gap: Duration,
    /// The same on the connection that is kept: with it the time until its end was noticed.
    pub gap_kept: Duration,
}

/// Adds up what callers saw of what they began after `from`.
pub fn toll(calls: &[Call], from: Duration) -> Toll {
    let calls: Vec<&Call> = calls.iter().filter(|call| call.sent >= from).collect();
    let gap = |kept: bool| {
        let mut good: Vec<Duration> =
            calls.iter().filter(|call| call.kept == kept && call.failed.is_none()).map(|call| call.ended).collect();
        good.sort_unstable();
        good.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    };
    Toll {
        asked: calls.len() as u64,
        failed: calls.iter().filter(|call| call.failed.is_some()).count() as u64,
        gap: gap(false),
        gap_kept: gap(true),
    }
}
