//! Callers of a front door: one opens a connection every 5 ms, one keeps a connection open. What they notice of a move of the
//! address is what a visitor does.

use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::crew::{Crew, Desk};
use super::door::Door;

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
    pub failed: Option<Failed>,
}

/// Why there was no good answer.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Nobody listened.
    pub refused: bool,
    /// In words.
    pub because: String,
}

/// Callers at work.
pub struct Callers(Crew<Vec<Call>>);

impl Callers {
    /// Has them call.
    pub fn start(door: Door) -> Callers {
        let namespace = door.namespace.clone();
        let work = |desk: Arc<Desk<Vec<Call>>>| async move {
            let door = Arc::new(door);
            tokio::join!(open(&desk, &door), keep(&desk, &door));
        };
        Callers(Crew::start(&namespace, work))
    }

    /// How long they have been calling: the clock of [`Call`]s.
    pub fn now(&self) -> Duration {
        self.0.desk.now()
    }

    /// How many calls on fresh connections were answered until now.
    pub fn answered(&self) -> u64 {
        self.0.desk.counted()
    }

    /// Lets them finish, and returns what they saw.
    ///
    /// # Errors
    /// If their namespace was gone.
    pub fn end(self) -> anyhow::Result<Vec<Call>> {
        self.0.end()
    }
}

impl Desk<Vec<Call>> {
    fn note<T>(&self, sent: Duration, kept: bool, outcome: Result<T, Failed>) {
        if outcome.is_ok() && !kept {
            self.count();
        }
        self.notes().push(Call { sent, ended: self.now(), kept, failed: outcome.err() });
    }
}

/// A connection for each call, whatever has become of those before.
async fn open(desk: &Arc<Desk<Vec<Call>>>, door: &Arc<Door>) {
    let mut calls = tokio::task::JoinSet::new();
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !desk.ends() {
        clock.tick().await;
        let (desk, door) = (Arc::clone(desk), Arc::clone(door));
        calls.spawn(async move {
            let sent = desk.now();
            let answered = within(async { ask(&mut connect(&door).await?, &door, "close").await }).await;
            desk.note(sent, false, answered);
        });
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
}

/// One connection for all calls, until it breaks or the other end says that it will close it (RFC 9112 § 9.6).
async fn keep(desk: &Desk<Vec<Call>>, door: &Door) {
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = None;
    while !desk.ends() {
        clock.tick().await;
        let sent = desk.now();
        let answered = within(async {
            let stream = match &mut kept {
                Some(stream) => stream,
                none => none.insert(connect(door).await?),
            };
            ask(stream, door, "keep-alive").await
        });
        let answered = answered.await;
        if !matches!(answered, Ok(After::GoesOn)) {
            kept = None;
        }
        desk.note(sent, true, answered);
    }
}

async fn within<T>(call: impl Future<Output = anyhow::Result<T>>) -> Result<T, Failed> {
    let refused = |error: &anyhow::Error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    match timeout(PATIENCE, call).await {
        Ok(answered) => answered.map_err(|error| Failed { refused: refused(&error), because: format!("{error:#}") }),
        Err(_) => Err(Failed { refused: false, because: "no answer within a second".into() }),
    }
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    GoesOn,
    Closes,
}

async fn connect(door: &Door) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(door.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn ask(stream: &mut TcpStream, door: &Door, connection: &str) -> anyhow::Result<After> {
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
    let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let closes = head.lines().any(|line| line.starts_with("connection:") && line.contains("close"));
    Ok(if closes { After::Closes } else { After::GoesOn })
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
    /// Of those, the ones that nobody listened to.
    pub refused: u64,
    /// The longest time between two good answers on fresh connections.
    pub gap: Duration,
    /// When that began, on the callers' clock.
    pub gap_from: Duration,
    /// The same on the connection that is kept: with it the time until its end was noticed.
    pub gap_kept: Duration,
}

/// Adds up what callers saw of what they began meanwhile.
pub fn toll(calls: &[Call], when: impl RangeBounds<Duration>) -> Toll {
    let calls: Vec<&Call> = calls.iter().filter(|call| when.contains(&call.sent)).collect();
    let failed = |call: &&&Call| call.failed.is_some();
    let gap = |kept: bool| {
        let mut good: Vec<Duration> =
            calls.iter().filter(|call| call.kept == kept && call.failed.is_none()).map(|call| call.ended).collect();
        good.sort_unstable();
        let gaps = good.windows(2).map(|pair| (pair[1] - pair[0], pair[0]));
        gaps.max_by_key(|(gap, _)| *gap).unwrap_or_default()
    };
    let (longest, gap_from) = gap(false);
    Toll {
        asked: calls.len() as u64,
        failed: calls.iter().filter(failed).count() as u64,
        refused: calls.iter().filter(|call| call.failed.as_ref().is_some_and(|it| it.refused)).count() as u64,
        gap: longest,
        gap_from,
        gap_kept: gap(true).0,
    }
}
