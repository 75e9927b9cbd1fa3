//! An answer as it is stored: what it says, what it is, and on which terms.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::asked::Asked;
use super::conditions::Validators;
use super::said::{Said, date};
use super::tags::{self, Tags};
use super::terms::{Terms, Unstored, decide};
use super::vary::{Selector, selectors, selects};
use crate::codec::Request;

/// A stored answer. Never changed: what replaces it is another one.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) status: u16,
    /// Status line and headers, each with its CRLF; without those of a connection, without length and age.
    pub(super) head: Box<[u8]>,
    /// Without framing.
    pub(super) body: Arc<[u8]>,
    pub(crate) terms: Terms,
    pub(super) born: Born,
    pub(super) validators: Validators,
    selectors: Box<[Selector]>,
    pub(super) tags: Tags,
}

/// When an answer came, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Compared with what origins say.
    pub(crate) date: SystemTime,
    /// Runs without jumps.
    pub(crate) at: Instant,
}

/// When an answer came, and how old it was then (RFC 9111 § 4.2.3).
#[derive(Clone, Copy, Debug)]
pub(super) struct Born {
    at: Instant,
    age: Duration,
}

/// A stored answer without its body, which is still to come.
#[derive(Debug)]
pub(crate) struct Draft {
    stored: Stored,
}

/// What a 304 has made of a stored answer.
pub(crate) struct Freshened {
    pub(crate) stored: Stored,
    /// It may stay in the store; otherwise it is for this one request.
    pub(crate) keep: bool,
}

/// What the origin answered, as far as it can be stored.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// ` 200 OK`: what follows the version, with its CRLF.
    pub(crate) line: &'a [u8],
    /// Those of this hop left out.
    pub(crate) headers: &'a [(&'a str, &'a [u8])],
}

impl Moment {
    pub(crate) fn now() -> Moment {
        Moment { date: SystemTime::now(), at: Instant::now() }
    }
}

impl Stored {
    /// How old it is (RFC 9111 § 4.2.3).
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.born.age.saturating_add(now.saturating_duration_since(self.born.at))
    }

    /// Whether `request` selects it.
    pub(super) fn is_selected_by(&self, request: &Request) -> bool {
        selects(&self.selectors, request)
    }

    /// Whether it stands in the same place as `other`, which is newer.
    pub(super) fn is_replaced_by(&self, other: &Stored) -> bool {
        self.selectors == other.selectors
    }

    /// Bytes in memory, roughly: what is allocated beside these is small and bounded by the head.
    pub(super) fn weight(&self) -> u64 {
        /// The structure, its allocations' own overhead, tags and validators.
        const OVERHEAD: u64 = 512;
        (self.head.len() + self.body.len()) as u64 + OVERHEAD
    }

    /// Bytes of the body.
    pub(super) fn length(&self) -> usize {
        self.body.len()
    }

    /// The header lines: names as they were sent, and values.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines().filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((std::str::from_utf8(&line[..colon]).ok()?, line[colon + 1..].trim_ascii()))
        })
    }

    /// The header lines, without their ends.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.head.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty());
        lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The lines by which the origin is asked whether it is still good (RFC 9111 § 4.3.1).
    pub(crate) fn validation(&self, out: &mut Vec<u8>) {
        let mut put = |name: &[u8], value: &Option<Box<[u8]>>| {
            if let Some(value) = value {
                [name, value, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
            }
        };
        put(b"If-None-Match: ", &self.validators.etag);
        put(b"If-Modified-Since: ", &self.validators.last_modified);
    }

    /// What `answer`, a 304, makes of it (RFC 9111 § 3.2, § 4.3.4).
    pub(crate) fn freshened(&self, request: &Request, asked: &Asked<'_>, answer: Answer<'_>, now: Moment) -> Freshened {
        let replaced =
            |name: &str| is_updated(name) && answer.headers.iter().any(|(new, _)| new.eq_ignore_ascii_case(name));
        // An old Date would make it look older than it is; so would an old Age, which is not stored.
        let kept = self.headers().filter(|(name, _)| !replaced(name) && !name.eq_ignore_ascii_case("date"));
        let new = answer.headers.iter().copied().filter(|(name, _)| is_updated(name));
        let headers: Vec<(&str, &[u8])> = kept.chain(new).collect();
        let end = memchr::memchr(b'\n', &self.head).map_or(0, |feed| feed + 1);
        let line = &self.head[VERSION.len()..end.max(VERSION.len())];
        let (stored, refused) = made(request, asked, Answer { status: self.status, line, headers: &headers }, now);
        Freshened { stored: Stored { body: self.body.clone(), ..stored }, keep: refused.is_none() }
    }

    /// Whether the answer to a HEAD request describes the same content (RFC 9111 § 4.3.5).
    pub(crate) fn agrees_with(&self, headers: &[(&str, &[u8])]) -> bool {
        headers.iter().all(|(name, value)| match &name.to_ascii_lowercase()[..] {
            "etag" => self.validators.etag.as_deref() == Some(*value),
            "last-modified" => self.validators.last_modified.as_deref() == Some(*value),
            "content-length" => value.eq_ignore_ascii_case(self.length().to_string().as_bytes()),
            _ => true,
        })
    }
}

impl Draft {
    /// What is stored of `answer`, or why nothing is.
    pub(crate) fn new(
        request: &Request,
        asked: &Asked<'_>,
        answer: Answer<'_>,
        now: Moment,
    ) -> Result<Draft, Unstored> {
        match made(request, asked, answer, now) {
            (stored, None) => Ok(Draft { stored }),
            (_, Some(unstored)) => Err(unstored),
        }
    }

    pub(crate) fn with(self, body: Vec<u8>) -> Stored {
        Stored { body: body.into(), ..self.stored }
    }
}

const VERSION: &[u8] = b"HTTP/1.1";

fn made(request: &Request, asked: &Asked<'_>, answer: Answer<'_>, now: Moment) -> (Stored, Option<Unstored>) {
    let said = Said::of(answer.headers.iter().copied());
    let terms = decide(asked, answer.status, &said, now.date);
    let mut head = Vec::with_capacity(1024);
    head.extend_from_slice(VERSION);
    head.extend_from_slice(answer.line);
    let left_out =
        |name: &str| said.directives.left_out.iter().any(|left_out| left_out.eq_ignore_ascii_case(name.as_bytes()));
    let (mut validators, mut marks) = (Validators::default(), Tags::default());
    for (name, value) in answer.headers.iter().filter(|(name, _)| is_stored(name) && !left_out(name)) {
        match &name.to_ascii_lowercase()[..] {
            "date" if said.date.is_none() => continue,
            "etag" => validators.etag = Some((*value).into()),
            "last-modified" if date(value).is_some() => validators.last_modified = Some((*value).into()),
            name if tags::is_header(name) => marks.read(value),
            _ => {}
        }
        [name.as_bytes(), b": ", value, b"\r\n"].iter().for_each(|part| head.extend_from_slice(part));
    }
    if said.date.is_none() {
        // RFC 9110 § 6.6.1: who has a clock says when it came.
        head.extend_from_slice(format!("Date: {}\r\n", httpdate::fmt_http_date(now.date)).as_bytes());
    }
    validators.modified = said.last_modified.or(said.date);
    let stored = Stored {
        status: answer.status,
        head: head.into(),
        body: Arc::from([]),
        terms: terms.unwrap_or(Terms::NONE),
        born: Born { at: now.at, age: said.initial_age(now.date) },
        validators,
        selectors: selectors(&said.vary, request),
        tags: marks,
    };
    (stored, terms.err())
}

/// Headers that are not stored (RFC 9111 § 3.1): those of a connection, whether `Connection` names them or not, and those
/// that are made anew for each use. A cookie gets here only if it is left out, or in a 304.
fn is_stored(name: &str) -> bool {
    const NOT: [&str; 9] = [
        "age",
        "content-length",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
    ];
    !NOT.iter().any(|not| name.eq_ignore_ascii_case(not))
}

/// Headers that a 304 changes in what is stored: not those that describe the stored bytes (RFC 9111 § 3.2).
fn is_updated(name: &str) -> bool {
    const NOT: [&str; 5] = ["content-encoding", "content-length", "content-md5", "content-range", "etag"];
    !NOT.iter().any(|not| name.eq_ignore_ascii_case(not))
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
