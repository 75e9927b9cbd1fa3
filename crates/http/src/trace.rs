//! Who a request is, in every log that it passes: an id of ours, and the W3C trace context (<https://www.w3.org/TR/trace-context/>).

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use mainstay_machines::balance::hash::draw;

use crate::codec::{Kind, Request};

/// Ids of 128 bits, which no other request of the site has: 64 random ones per thread, then a count that was turned into
/// as many digits as random ones have, so that samplers, which look at the last digits of an id, see no count.
pub(crate) struct Ids {
    /// The thread's digits.
    thread: [u8; 16],
    seed: u64,
    count: Cell<u64>,
}

/// An id in 32 hexadecimal digits.
#[derive(Clone, Copy)]
pub(crate) struct Id([u8; 32]);

impl Ids {
    pub(crate) fn new() -> Ids {
        // The standard library's hasher is keyed by the system's random source.
        let random = || RandomState::new().hash_one(std::thread::current().id());
        let mut thread = [0; 16];
        hex(random().max(1), &mut thread);
        Ids { thread, seed: random(), count: Cell::new(0) }
    }

    pub(crate) fn next(&self) -> Id {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&self.thread);
        hex(self.draw(), &mut id[16..]);
        Id(id)
    }

    /// The id of a span (§ 3.2.2.4), which may be anything but 0.
    fn span(&self) -> u64 {
        self.draw().max(1)
    }

    /// A number that nobody outside can foresee. Draws are a bijection of the count: none comes twice.
    pub(crate) fn draw(&self) -> u64 {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        draw(self.seed, count)
    }
}

impl Id {
    pub(crate) fn as_str(&self) -> &str {
        text(&self.0)
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Bytes of a `traceparent` of version 00 (§ 3.2): `00-TRACE-SPAN-FLAGS`.
const BYTES: usize = 55;
const TRACE: std::ops::Range<usize> = 3..35;
const SPAN: std::ops::Range<usize> = 36..52;

/// A request's place in a trace: what the next hop is told.
#[derive(Clone, Copy)]
pub(crate) struct Trace {
    text: [u8; BYTES],
    /// It was begun by whoever sent the request: then their `tracestate` goes on too (§ 3.4).
    pub(crate) continued: bool,
}

impl Trace {
    /// The trace that `request` belongs to, with a span of our own; one that begins here is called as `id`.
    ///
    /// Continued by everyone, the front door included: whom a visitor lets take part in a trace is no question of trust. What
    /// begins here counts as sampled, since tracers decide as they were told by their parent (the usual default): told
    /// nothing they would record, and so they do.
    pub(crate) fn of(request: &Request, id: &Id, ids: &Ids) -> Trace {
        let mut text = *b"00-................................-................-01";
        let said = parent(request);
        match said {
            Some(parent) => {
                text[TRACE].copy_from_slice(&parent[TRACE]);
                // Of the flags only `sampled` is defined, and the others are not passed on (§ 3.2.2.5).
                text[54] = if sampled(parent) { b'1' } else { b'0' };
            }
            None => text[TRACE].copy_from_slice(&id.0),
        }
        hex(ids.span(), &mut text[SPAN]);
        Trace { text, continued: said.is_some() }
    }

    /// As it stands in `traceparent`; ASCII.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The trace's id alone; hexadecimal digits.
    pub(crate) fn id(&self) -> &[u8] {
        &self.text[TRACE]
    }
}

/// The only `traceparent` of a request, if it is valid. Versions to come begin as this one does (§ 4.3).
fn parent(request: &Request) -> Option<&[u8]> {
    request.head.only_of_kind(Kind::TraceParent).filter(|value| is_valid(value))
}

fn is_valid(value: &[u8]) -> bool {
    let Some((known, rest)) = value.split_at_checked(BYTES) else { return false };
    let dashes = [2, 35, 52].iter().all(|place| known[*place] == b'-');
    let digits =
        |range: std::ops::Range<usize>| known[range].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let named = |range: std::ops::Range<usize>| digits(range.clone()) && known[range].iter().any(|byte| *byte != b'0');
    let version = &known[..2];
    let goes_on = if version == b"00" { rest.is_empty() } else { rest.first().is_none_or(|byte| *byte == b'-') };
    dashes && digits(0..2) && version != b"ff" && goes_on && named(TRACE) && named(SPAN) && digits(53..55)
}

fn sampled(parent: &[u8]) -> bool {
    char::from(parent[54]).to_digit(16).is_some_and(|flags| flags & 1 == 1)
}

/// Writes as many digits of `value` as there is room for, the last ones.
fn hex(value: u64, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(value.to_be_bytes()) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// What was written here is ASCII.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::codec::HeadLimits;

    fn request(headers: &str) -> Request {
        let mut request = Request::default();
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        request.read(head.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
        request
    }

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn ids_differ_and_are_hexadecimal() {
        let ids = Ids::new();
        let all: BTreeSet<String> = (0..1000).map(|_| ids.next().to_string()).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())), "{all:?}");
    }

    #[test]
    fn a_valid_trace_goes_on_under_a_span_of_ours() {
        let ids = Ids::new();
        let traces = [
            (GIVEN.to_owned(), "01"),
            (GIVEN.replace("-01", "-00"), "00"),
            (GIVEN.replace("-01", "-ff"), "01"),
            (GIVEN.replacen("00-", "cc-", 1), "01"),
            (GIVEN.replacen("00-", "cc-", 1) + "-what-is-to-come", "01"),
        ];
        for (given, flags) in traces {
            let trace = Trace::of(&request(&format!("traceparent: {given}\r\n")), &ids.next(), &ids);
            assert!(trace.continued, "{given}");
            let said = text(trace.as_bytes());
            assert!(said.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && said.ends_with(flags), "{said}");
            assert!(!said.contains("00f067aa0ba902b7"), "{said}");
            assert!(is_valid(said.as_bytes()), "{said}");
        }
    }

    #[test]
    fn what_is_not_valid_is_begun_anew() {
        let ids = Ids::new();
        let twice = format!("{GIVEN}\r\ntraceparent: {GIVEN}");
        let wrong = [
            "",
            "00",
            &GIVEN.to_uppercase(),
            &GIVEN.replacen("00-", "ff-", 1),
            &GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GIVEN.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GIVEN.replace("-00f0", "_00f0"),
            &format!("{GIVEN}-more"),
            &format!("{GIVEN}x"),
            &GIVEN.replacen("00-", "cc-", 1).replace("-01", "-01x"),
            &twice,
        ];
        for given in wrong {
            let id = ids.next();
            let trace = Trace::of(&request(&format!("traceparent: {given}\r\n")), &id, &ids);
            assert!(!trace.continued, "{given}");
            assert_eq!(text(trace.id()), id.as_str());
            assert!(is_valid(trace.as_bytes()) && trace.as_bytes().ends_with(b"-01"), "{:?}", text(trace.as_bytes()));
        }
    }
}
