//! Heads: how they are split on the way changes nothing, and what is written for the next hop reads the same there.

use super::cuts;
use crate::codec::{Chunks, Forwarding, HeadLimits, Kind, Refusal, Request, Response, ResponseContext};

/// What the next hop reads may be larger by what we add.
const NEXT: HeadLimits = HeadLimits { size_bytes_max: 60_000, line_bytes_max: 60_000, headers_max: 128 };

/// Bytes that are to be a request's head.
pub fn request_head(data: &[u8]) {
    let limits = HeadLimits::default();
    let mut request = Request::default();
    let whole = request.read(data, &limits);
    splits_alike(data, whole, |piece| Request::default().read(piece, &limits));
    let mut slowly = Request::default();
    assert_eq!(slowly.read_odd(data, &limits), whole, "{}", data.escape_ascii());
    let Ok(Some(taken)) = whole else { return };
    assert_eq!(format!("{slowly:?}"), format!("{request:?}"), "{}", data.escape_ascii());
    assert!(taken <= data.len());
    assert!(request.path().starts_with('/'), "{:?}", request.path());
    assert!(request.target().is_ascii() && !request.target().contains([' ', '\r', '\n', '\0', '#']));
    let _ = (request.host(), request.query());
    for front in [true, false] {
        forwarded(&request, front);
    }
}

fn forwarded(request: &Request, front: bool) {
    let trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let forwarding = Forwarding {
        front,
        client: "2001:db8::7",
        proto: "https",
        via: "web=a",
        id: "an-id",
        traceparent: trace,
        tracestate: false,
        host: "localhost",
        whole: false,
    };
    let mut out = Vec::new();
    request.forward(&forwarding, &mut out);
    is_plain(&out);
    let mut next = Request::default();
    // Behind it stands what must not become a part of it.
    let length = out.len();
    out.extend_from_slice(b"SMUGGLED / HTTP/1.1\r\n\r\n");
    let read = next.read(&out, &NEXT);
    assert_eq!(read, Ok(Some(length)), "{}", out.escape_ascii());
    let asked = |it: &Request| {
        let authority = if it.authority().is_empty() { "localhost".to_owned() } else { it.authority().to_owned() };
        (it.method_name().to_owned(), it.path().to_owned(), it.query().to_owned(), authority, it.framing, it.upgrade)
    };
    assert_eq!(asked(&next), asked(request), "{}", out.escape_ascii());
    assert!(next.persists && !next.old);
    others_are_kept(request.head.passed(), next.head.headers());
    let count = |kind| next.head.headers().filter(|(is, ..)| *is == kind).count();
    for kind in [Kind::ForwardedFor, Kind::Via, Kind::TraceParent, Kind::Host] {
        assert_eq!(count(kind), 1, "{kind:?}: {}", out.escape_ascii());
    }
    for kind in [Kind::TraceState, Kind::Imitation, Kind::Hop] {
        assert_eq!(count(kind), 0, "{kind:?}: {}", out.escape_ascii());
    }
    if front {
        assert_eq!(next.head.of_kind(Kind::ForwardedFor), Some(&b"2001:db8::7"[..]));
        assert_eq!(next.head.of_kind(Kind::RequestId), Some(&b"an-id"[..]));
    }
}

/// Bytes that are to be a response's head, behind one byte that says what was asked.
pub fn response_head(data: &[u8]) {
    let Some((asked, data)) = data.split_first() else { return };
    let context = ResponseContext { head: asked & 1 == 1, upgrade: asked & 2 == 2 };
    let limits = HeadLimits::default();
    let mut response = Response::default();
    let whole = response.read(data, &limits, context);
    splits_alike(data, whole, |piece| Response::default().read(piece, &limits, context));
    let mut slowly = Response::default();
    assert_eq!(slowly.read_odd(data, &limits, context), whole, "{}", data.escape_ascii());
    let Ok(Some(taken)) = whole else { return };
    assert_eq!(format!("{slowly:?}"), format!("{response:?}"), "{}", data.escape_ascii());
    assert!(taken <= data.len() && (100..600).contains(&response.status));
    let mut out = Vec::new();
    response.forward(&mut out, Chunks::AsTheyAre, if response.persists { None } else { Some("close") });
    is_plain(&out);
    let mut next = Response::default();
    let length = out.len();
    out.extend_from_slice(b"HTTP/1.1 200 SMUGGLED\r\n\r\n");
    assert_eq!(next.read(&out, &NEXT, context), Ok(Some(length)), "{}", out.escape_ascii());
    let said = |it: &Response| (it.status, it.framing, it.is_interim(), it.switches());
    assert_eq!(said(&next), said(&response), "{}", out.escape_ascii());
    others_are_kept(response.head.passed(), next.head.headers());
}

/// A part gives no verdict, or the whole's.
fn splits_alike(
    data: &[u8],
    whole: Result<Option<usize>, Refusal>,
    read: impl Fn(&[u8]) -> Result<Option<usize>, Refusal>,
) {
    for cut in cuts(data.len()) {
        let part = read(&data[..cut]);
        assert!(
            part == Ok(None) || part == whole,
            "{part:?} of {cut} bytes, {whole:?} of all: {}",
            data.escape_ascii()
        );
    }
}

/// Every line ends in CRLF, and neither stands anywhere else; no NUL.
fn is_plain(head: &[u8]) {
    let ends = head.windows(2).filter(|two| two == b"\r\n").count();
    let count = |byte: u8| head.iter().filter(|is| **is == byte).count();
    assert!(count(b'\r') == ends && count(b'\n') == ends && count(0) == 0, "{}", head.escape_ascii());
}

/// What means nothing to a proxy reaches the next hop as it came, in its order.
fn others_are_kept<'a>(
    before: impl Iterator<Item = (Kind, &'a str, &'a [u8])>,
    after: impl Iterator<Item = (Kind, &'a str, &'a [u8])>,
) {
    let other = |(kind, ..): &(Kind, &str, &[u8])| kind.is_end_to_end();
    let (before, after): (Vec<_>, Vec<_>) = (before.filter(other).collect(), after.filter(other).collect());
    assert_eq!(before, after);
}
