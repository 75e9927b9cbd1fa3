//! Playing one exchange.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mainstay_http::Limits;

use super::read::{Exchange, Seen};
use super::record::{Received, Record};
use crate::engine::{Engine, limits, value};

/// Follows what leaves the connection open: answered, and the last.
const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
/// Follows what closes the connection: never taken for a request.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
/// For what is sure to come; a failure waits for it.
const SOON: Duration = Duration::from_secs(10);
/// Between two pieces, so that they arrive as two.
const PAUSE: Duration = Duration::from_millis(1);

/// An engine and its backend, for one exchange at a time.
pub struct Stage {
    engine: Engine,
    record: Record,
}

impl Stage {
    pub fn new() -> Stage {
        let record = Record::default();
        // Nothing here is about time, and many are played at once.
        let limits = Limits { head_within: SOON, answer_within: SOON, progress_within: SOON, ..limits() };
        Stage { engine: Engine::with(&[record.backend()], limits), record }
    }

    /// Plays `exchange`, its bytes split where `split` says.
    pub fn play(&self, exchange: &Exchange, split: Option<usize>) -> Result<(), String> {
        *self.record.says.lock().unwrap() = exchange.says.clone().map(|bytes| (bytes, exchange.stays));
        self.record.received.lock().unwrap().clear();
        let (refusals, asked) = (self.refusals(), self.asked());
        let kept = exchange.kept == Some(true);
        let got = self.exchange(&exchange.sent, split, if kept { PROBE } else { SMUGGLED });
        let statuses = statuses(&got).ok_or_else(|| format!("not HTTP: {}", got.escape_ascii()))?;
        let mut expected = exchange.gets.clone();
        expected.extend(kept.then_some(200));
        if statuses != expected {
            return Err(format!("got {statuses:?} instead of {expected:?}: {}", got.escape_ascii()));
        }
        let mut refused = self.refusals();
        refused.retain(|name, count| refusals.get(name) != Some(count));
        let refused: Vec<String> = refused.into_keys().collect();
        let expected: Vec<String> = exchange.refusal.iter().map(|name| name.replace('-', "_")).collect();
        if refused != expected {
            return Err(format!("refused by {refused:?} instead of {expected:?}"));
        }
        self.all_received(asked)?;
        let received = self.record.received.lock().unwrap();
        compare(&received, exchange.seen.as_deref().unwrap_or_default(), kept)
            .map_err(|because| format!("{because}; the backend received {received:#?}"))
    }

    /// Sends everything, and reads until the engine closes.
    fn exchange(&self, sent: &[u8], split: Option<usize>, tail: &[u8]) -> Vec<u8> {
        let mut client = self.engine.connect();
        let stream = client.reader().get_mut();
        stream.set_nodelay(true).unwrap();
        let (first, rest) = sent.split_at(split.unwrap_or(0));
        // A refusal may close the connection before all is sent; what came back is looked at all the same.
        if split.is_some() {
            let _ = stream.write_all(first);
            pause();
        }
        let _ = stream.write_all(&[rest, tail].concat());
        client.rest_bytes()
    }

    /// How often each refusal was counted.
    fn refusals(&self) -> std::collections::BTreeMap<String, u64> {
        let totals = self.engine.counters.totals();
        let named = totals.iter().filter_map(|(name, count)| {
            Some((name.strip_prefix("refused_")?.strip_suffix("_total")?.to_owned(), *count))
        });
        named.collect()
    }

    /// How often the backend was given a request, without those that found its idle connection closed and were repeated.
    fn asked(&self) -> u64 {
        let given: u64 = self.engine.pool.backends().map(|(_, figures)| figures.requests.load(Ordering::SeqCst)).sum();
        given - self.engine.counters.retries.load(Ordering::SeqCst)
    }

    /// Waits until the backend has written down all that it was given: a refusal may overtake that.
    fn all_received(&self, asked_before: u64) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let (asked, received) = (self.asked() - asked_before, self.record.received.lock().unwrap().len() as u64);
            if asked <= received {
                return Ok(());
            }
            if began.elapsed() > SOON {
                return Err(format!("the backend was asked {asked} times and received {received} requests"));
            }
            pause();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "that bytes lie in two reads is no condition that can be seen from here")]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// The status of every answer in `bytes`, which must be nothing but answers; `None` if they are not.
fn statuses(mut bytes: &[u8]) -> Option<Vec<u16>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let length = match (value(head, "content-length"), value(head, "transfer-encoding")) {
            _ if status < 200 || status == 204 || status == 304 => 0,
            (Some(length), _) => length.parse().ok()?,
            (None, Some(_)) => {
                let last = b"0\r\n\r\n";
                bytes[end..]
                    .windows(last.len())
                    .position(|window| window == last)
                    .map_or(bytes.len(), |at| at + last.len())
            }
            // What ends with the connection is the last that comes.
            (None, None) => bytes.len() - end,
        };
        // Less may be there: an answer that broke off.
        bytes = bytes.get(end + length..).unwrap_or_default();
        all.push(status);
    }
    Some(all)
}

/// Whether `received` is what was to be seen, and then the probe.
fn compare(received: &[Received], expected: &[Seen], probe: bool) -> Result<(), String> {
    let mut left = received.iter();
    for seen in expected {
        let got = left.next().ok_or_else(|| format!("no {}", seen.line))?;
        agree(got, seen)?;
    }
    if probe && !left.next().is_some_and(|got| got.head.starts_with("GET /probe ")) {
        return Err("no probe".into());
    }
    left.next().map_or(Ok(()), |_| Err("a request too many".into()))
}

fn agree(got: &Received, seen: &Seen) -> Result<(), String> {
    let lines: Vec<&str> = got.head.split("\r\n").collect();
    if lines[0] != seen.line || got.whole == seen.cut {
        return Err(format!("not {}{}", seen.line, if seen.cut { ", cut" } else { "" }));
    }
    if let Some(header) = seen.has.iter().find(|header| !lines.contains(&header.as_str())) {
        return Err(format!("no line {header}"));
    }
    if let Some(name) = seen.lacks.iter().find(|name| value(&got.head, name).is_some()) {
        return Err(format!("a header {name}"));
    }
    match &seen.body {
        Some(body) if *body != got.body => Err(format!("not the body {}", body.escape_ascii())),
        _ => Ok(()),
    }
}
