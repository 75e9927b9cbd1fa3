//! What a client is sent of a stored answer.

use std::time::{Duration, Instant};

use super::asked::Asked;
use super::stored::Stored;
use crate::codec::{Method, Request};
use crate::files::{Ranges, read_ranges};
use crate::spares::JOINED_BYTES_MAX;

/// A head, and which bytes of the stored body follow it.
pub(crate) struct Reply<'s> {
    pub(crate) status: u16,
    /// Whole, with the empty line.
    pub(crate) head: Vec<u8>,
    pub(crate) body: &'s [u8],
}

/// How an answer came about, for `Cache-Status` (RFC 9211).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// From the store.
    Hit,
    /// The origin was asked, and said that it is still good; why it was asked.
    Validated(Why),
    /// Another request has brought it.
    Collapsed(Why),
    /// The origin has failed.
    Spared,
}

/// Why a request goes to the origin (RFC 9211 § 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// There is nothing at this address.
    UriMiss,
    /// What is there is for other requests.
    VaryMiss,
    /// What is there is stale.
    Stale,
    /// The client wants it so.
    Request,
    /// It is between the client and the origin.
    Bypass,
}

impl Why {
    /// The word of RFC 9211.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Why::UriMiss => "uri-miss",
            Why::VaryMiss => "vary-miss",
            Why::Stale => "stale",
            Why::Request => "request",
            Why::Bypass => "bypass",
        }
    }
}

/// What goes with the answer.
pub(crate) struct Manner<'a> {
    pub(crate) told: Told,
    /// Our own Connection line.
    pub(crate) connection: Option<&'a str>,
    /// Further lines for this client alone, each with its CRLF.
    pub(crate) more: &'a [u8],
    pub(crate) now: Instant,
}

impl Stored {
    /// What `request` is answered: the whole, a part of it, or that the client has it.
    pub(crate) fn reply(&self, request: &Request, asked: &Asked<'_>, manner: &Manner<'_>) -> Reply<'_> {
        let age = self.age(manner.now);
        // Conditions and ranges are about content that there is (RFC 9110 § 13.2.1, § 14.2).
        if (200..300).contains(&self.status) && self.validators.are_known(request, asked) {
            return self.not_modified(manner, age);
        }
        let part = asked.range.filter(|_| self.status == 200 && request.method == Method::Get);
        match part.filter(|_| self.validators.range_applies(asked.if_range)) {
            Some(range) => self.part(range, manner, age),
            None => self.whole(request, manner, age),
        }
    }

    fn whole(&self, request: &Request, manner: &Manner<'_>, age: Duration) -> Reply<'_> {
        let joined = if self.body.len() <= JOINED_BYTES_MAX { self.body.len() } else { 0 };
        let mut head = Vec::with_capacity(self.head.len() + manner.more.len() + 192 + joined);
        head.extend_from_slice(&self.head);
        if self.status != 204 {
            line(&mut head, b"Content-Length: ", self.length() as u64);
        }
        self.end(&mut head, manner, age);
        let body = if request.method == Method::Head { &[] } else { &self.body[..] };
        Reply { status: self.status, head, body }
    }

    /// RFC 9110 § 15.4.5: without what describes a content that is not there.
    fn not_modified(&self, manner: &Manner<'_>, age: Duration) -> Reply<'_> {
        let mut head = b"HTTP/1.1 304 Not Modified\r\n".to_vec();
        let content = |line: &[u8]| line.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
        let location =
            |line: &[u8]| line.get(..17).is_some_and(|start| start.eq_ignore_ascii_case(b"content-location:"));
        self.copy_lines(&mut head, |line| !content(line) || location(line));
        self.end(&mut head, manner, age);
        Reply { status: 304, head, body: &[] }
    }

    /// RFC 9110 § 14. Several parts are answered with the whole, which it allows.
    fn part(&self, range: &[u8], manner: &Manner<'_>, age: Duration) -> Reply<'_> {
        let length = self.length() as u64;
        let (status, head, body) = match read_ranges(range, length) {
            Ranges::Part(part) => {
                let (start, end) = (part.start, part.start + part.length);
                let lines = format!("Content-Range: bytes {start}-{}/{length}\r\n", end - 1);
                (206, "HTTP/1.1 206 Partial Content\r\n".to_owned() + &lines, &self.body[start as usize..end as usize])
            }
            Ranges::Outside => {
                (416, format!("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{length}\r\n"), &[][..])
            }
            Ranges::Whole | Ranges::Parts(_) => return self.whole(&Request::default(), manner, age),
        };
        let mut head = head.into_bytes();
        let is =
            |line: &[u8], name: &[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        self.copy_lines(&mut head, |line| {
            !is(line, b"content-range:") && (status == 206 || !is(line, b"content-type:"))
        });
        line(&mut head, b"Content-Length: ", body.len() as u64);
        self.end(&mut head, manner, age);
        Reply { status, head, body }
    }

    fn copy_lines(&self, head: &mut Vec<u8>, keep: impl Fn(&[u8]) -> bool) {
        for line in self.lines().filter(|line| keep(line)) {
            head.extend_from_slice(line);
            head.extend_from_slice(b"\r\n");
        }
    }

    /// What is made anew for each use (RFC 9111 § 5.1, RFC 9211), and the empty line.
    fn end(&self, head: &mut Vec<u8>, manner: &Manner<'_>, age: Duration) {
        line(head, b"Age: ", age.as_secs());
        head.extend_from_slice(b"Cache-Status: mainstay; ");
        match manner.told {
            Told::Hit => head.extend_from_slice(b"hit"),
            Told::Validated(why) => told(head, why, "; fwd-status=304"),
            Told::Collapsed(why) => told(head, why, "; collapsed"),
            Told::Spared => told(head, Why::Stale, "; detail=origin-failed"),
        }
        head.extend_from_slice(b"; ttl=");
        let ttl = self.terms.ttl(age);
        if ttl < 0 {
            head.push(b'-');
        }
        number(head, ttl.unsigned_abs());
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(manner.more);
        if let Some(connection) = manner.connection {
            [b"Connection: ", connection.as_bytes(), b"\r\n"].iter().for_each(|part| head.extend_from_slice(part));
        }
        head.extend_from_slice(b"\r\n");
    }
}

fn told(head: &mut Vec<u8>, why: Why, more: &str) {
    [b"fwd=", why.word().as_bytes(), more.as_bytes()].iter().for_each(|part| head.extend_from_slice(part));
}

fn line(head: &mut Vec<u8>, name: &[u8], value: u64) {
    head.extend_from_slice(name);
    number(head, value);
    head.extend_from_slice(b"\r\n");
}

/// Decimal digits, without the machinery of formatting: a hit writes three numbers.
fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
