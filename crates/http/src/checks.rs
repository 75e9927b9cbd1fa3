//! The driver of the active health checks: asks what the machines want asked, and marks the pool.
//!
//! Most of what a question costs is its connection, so a connection is used for some of them. That is not less strict: a
//! process that has ended closes it, one that is frozen does not answer on it either, and a new one is made often enough to
//! find out that nobody takes connections any more.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_machines::Time;
use mainstay_machines::health::{Config, Failure, Health, Input, Output, State};
use tokio::sync::watch;

use crate::codec::{Body, HeadLimits, Response, ResponseContext};
use crate::event_loop::{Held, sleep, spawn_held, timeout};
use crate::pool::Pool;
use crate::stream::{Address, Stream};
use crate::tls::distrust;
use crate::wire::{Scratch, fill};

/// A status line fits.
const STATUS_LINE_BYTES: usize = 12;
/// Questions on one connection: nine tenths of what could be saved.
const ASKED_MAX: u32 = 10;

/// What is known of a pool's backends, for the report.
pub struct Checks {
    seen: Mutex<Vec<Seen>>,
    changes: watch::Sender<u64>,
}

/// What is known of one backend.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: State,
    /// Why.
    pub because: String,
    /// Since when.
    pub since: Instant,
}

impl Checks {
    fn new(seen: Vec<Seen>) -> Arc<Checks> {
        Arc::new(Checks { seen: Mutex::new(seen), changes: watch::Sender::new(0) })
    }

    /// Every backend as it is known now.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Wakes at every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells the pool and whoever looks at one time: neither is ever seen to know more than the other.
    fn changed(&self, pool: &Pool, backend: usize, state: State, because: String) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = all.get_mut(backend) {
            // Why it is not up yet may change many times; since when does not.
            let since = if seen.state == state { seen.since } else { Instant::now() };
            *seen = Seen { name: seen.name.clone(), state, because, since };
        }
        pool.mark(backend, state == State::Well);
        drop(all);
        self.changes.send_modify(|changes| *changes += 1);
    }
}

/// What to ask of whom.
pub struct Target {
    /// Index in the pool.
    pub backend: usize,
    /// Where it listens.
    pub address: Address,
    /// The path to ask for.
    pub path: String,
}

/// A pool whose backends are checked while an engine has it among its own ([`crate::Live`]).
pub struct Checked {
    pub(crate) pool: Arc<Pool>,
    pub(crate) checks: Arc<Checks>,
    targets: Vec<Target>,
    config: Config,
}

impl Checked {
    /// Has `targets` asked as `config` says. What `before` knows of those that it asks the same is taken over.
    pub fn new(pool: Arc<Pool>, targets: Vec<Target>, config: Config, before: Option<&Checked>) -> Arc<Checked> {
        let unknown =
            |name| Seen { name, state: State::Unknown, because: "not checked yet".into(), since: Instant::now() };
        let seen = pool.backends().enumerate().map(|(backend, (name, _))| {
            let known = || before?.of(name, targets.iter().find(|target| target.backend == backend)?);
            known().unwrap_or_else(|| unknown(name.to_owned()))
        });
        let checks = Checks::new(seen.collect());
        Arc::new(Checked { pool, checks, targets, config })
    }

    /// What is known of its backends.
    pub fn checks(&self) -> &Arc<Checks> {
        &self.checks
    }

    /// What is known of the backend `name` by asking what `target` asks.
    fn of(&self, name: &str, target: &Target) -> Option<Seen> {
        let same = |it: &&Target| (&it.address, &it.path) == (&target.address, &target.path);
        let known = self.targets.iter().filter(same);
        let seen = self.checks.seen();
        known.filter_map(|it| seen.get(it.backend)).find(|seen| seen.name == name).cloned()
    }

    /// Begins to ask; ends when what it returns is dropped.
    pub(crate) fn begin(self: &Arc<Checked>) -> Vec<Held> {
        let asking = |number: usize| {
            let it = self.clone();
            spawn_held(async move { check(&it.pool, &it.checks, &it.targets[number], it.config).await })
        };
        (0..self.targets.len()).map(asking).collect()
    }
}

/// Keeps asking what is among `checked`, which may change, for ever.
pub(crate) async fn keep_asking(mut checked: watch::Receiver<Vec<Arc<Checked>>>) {
    let mut asking: Vec<(Arc<Checked>, Vec<Held>)> = Vec::new();
    loop {
        let wanted = checked.borrow_and_update().clone();
        asking.retain(|(known, _)| wanted.iter().any(|it| Arc::ptr_eq(it, known)));
        for it in wanted {
            if !asking.iter().any(|(known, _)| Arc::ptr_eq(&it, known)) {
                let begun = it.begin();
                asking.push((it, begun));
            }
        }
        if checked.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Checks one backend for ever.
async fn check(pool: &Pool, checks: &Checks, target: &Target, config: Config) {
    let origin = Instant::now();
    let now = || Time::from_nanos(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let known = checks.seen().get(target.backend).map_or(State::Unknown, |seen| seen.state);
    if known != State::Unknown {
        // It may have changed while the pool was made.
        pool.mark(target.backend, known == State::Well);
    }
    let mut health = Health::known(config, known, now());
    let mut line = Line { target, kept: None };
    loop {
        while let Some(output) = health.poll() {
            match output {
                Output::Changed { state, because } => {
                    checks.changed(pool, target.backend, state, because.to_string());
                }
                Output::Ask { question, until } => {
                    let verdict = line.ask(until.since(now())).await;
                    health.handle(now(), Input::Answer { question, verdict });
                }
            }
        }
        sleep(health.deadline().since(now())).await;
        health.handle(now(), Input::Tick);
    }
}

/// Where questions go, and the connection of the last one with how many were asked on it.
struct Line<'t> {
    target: &'t Target,
    kept: Option<(Stream, u32)>,
}

impl Line<'_> {
    /// Asks once: 2xx and 3xx are well, as HAProxy's `httpchk` has it.
    async fn ask(&mut self, within: Duration) -> Result<(), Failure> {
        let kept = self.kept.take().filter(|(stream, _)| stream.seems_quiet());
        let asking = async {
            if let Some((stream, asked)) = kept {
                match self.question(stream, asked, within).await {
                    // It may be closed at any time; that says nothing yet.
                    Err(Failure::Closed) => {}
                    verdict => return verdict,
                }
            }
            let stream = Stream::connect(&self.target.address, within).await;
            let stream = stream.map_err(|error| failure(&error, Failure::Unreachable))?;
            self.question(stream, 0, within).await
        };
        timeout(within, asking).await.unwrap_or(Err(Failure::NoAnswer))
    }

    /// Asks on a connection, and keeps it if it may be used again.
    async fn question(&mut self, stream: Stream, asked: u32, within: Duration) -> Result<(), Failure> {
        let last = asked + 1 == ASKED_MAX;
        let close = if last { "Connection: close\r\n" } else { "" };
        let request = format!("GET {} HTTP/1.1\r\nHost: health.mainstay\r\n{close}\r\n", self.target.path);
        stream.write(request.as_bytes(), within).await.map_err(|_| Failure::Closed)?;
        let (scratch, mut answer) = (Scratch::small(), Vec::new());
        while answer.len() < STATUS_LINE_BYTES {
            let more = fill(&stream, &mut answer, &scratch, within);
            if more.await.map_err(|error| failure(&error, Failure::Closed))? == 0 {
                return Err(Failure::Closed);
            }
        }
        if !last && is_whole(&answer) && stream.is_reusable() {
            self.kept = Some((stream, asked + 1));
        }
        judge(&answer)
    }
}

/// Whether this is an answer to its end, after which the connection can be used again. The rest of a longer one is not waited
/// for: what was asked is known.
fn is_whole(answer: &[u8]) -> bool {
    let mut response = Response::default();
    let context = ResponseContext { head: false, upgrade: false };
    let Ok(Some(head)) = response.read(answer, &HeadLimits::default(), context) else { return false };
    let mut body = Body::new(response.framing);
    let taken = body.advance(&answer[head..]);
    response.persists && !response.is_interim() && body.is_done() && taken == Ok(answer.len() - head)
}

/// What an error means: whom we do not believe, else what it is `otherwise`.
fn failure(error: &io::Error, otherwise: Failure) -> Failure {
    distrust(error).map_or(otherwise, |because| Failure::Distrusted { because })
}

fn judge(answer: &[u8]) -> Result<(), Failure> {
    let code = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    let code = code.and_then(|code| std::str::from_utf8(code).ok()?.parse().ok()).ok_or(Failure::Malformed)?;
    match code {
        200..400 => Ok(()),
        code => Err(Failure::Status { code }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_kept_after_a_whole_answer() {
        let whole = |answer: &str| is_whole(answer.as_bytes());
        assert!(whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"));
        assert!(whole("HTTP/1.1 204 No Content\r\n\r\n"));
        assert!(whole("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
        assert!(!whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"), "more comes");
        assert!(!whole("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok"), "more came than belongs to it");
        assert!(!whole("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
        assert!(!whole("HTTP/1.1 200 OK\r\n\r\n"), "it ends with the connection");
        assert!(!whole("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(!whole("HTTP/1.1 100 Continue\r\n\r\n"));
        assert!(!whole("HTTP/1.1 200 OK\r\nContent"));
    }

    #[test]
    fn verdicts() {
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\n"), Ok(()));
        assert_eq!(judge(b"HTTP/1.0 302 Found"), Ok(()));
        assert_eq!(judge(b"HTTP/1.1 503 No"), Err(Failure::Status { code: 503 }));
        assert_eq!(judge(b"SSH-2.0-OpenSSH"), Err(Failure::Malformed));
    }
}
