//! What is stored of an answer, and what a request gets of it.

use std::time::{Duration, Instant, SystemTime};

use crate::cache::{Answer, Asked, Draft, Manner, Moment, Stored, Told};
use crate::codec::{Framing, HeadLimits, Request, Response, ResponseContext};

const BODY: &[u8] = b"0123456789";

/// Header lines of a request, an empty line, header lines of the answer to it.
pub fn cache(data: &[u8]) {
    let end = memchr::memmem::find(data, b"\r\n\r\n").unwrap_or(data.len());
    let (asks, says) = (&data[..end], data.get(end + 4..).unwrap_or_default());
    let mut request = Request::default();
    let head = [b"GET / HTTP/1.1\r\nHost: h\r\n", asks, b"\r\n\r\n"].concat();
    if !matches!(request.read(&head, &HeadLimits::default()), Ok(Some(_))) {
        return;
    }
    for status in [200, 304] {
        let head = [format!("HTTP/1.1 {status} Said\r\n").as_bytes(), says, b"\r\n\r\n"].concat();
        let Some(response) = read(&head) else { return };
        answered(&request, &response);
    }
}

fn read(head: &[u8]) -> Option<Response> {
    let mut response = Response::default();
    let context = ResponseContext { head: false, upgrade: false };
    matches!(response.read(head, &HeadLimits::default(), context), Ok(Some(_))).then_some(response)
}

fn answered(request: &Request, response: &Response) {
    let (asked, now) = (Asked::of(request), Moment { date: SystemTime::UNIX_EPOCH, at: Instant::now() });
    let headers: Vec<(&str, &[u8])> = response.head.passed().map(|(_, name, value)| (name, value)).collect();
    let answer = Answer { status: response.status, line: response.line(), headers: &headers };
    if response.status == 304 {
        // What any answer is made into by it can be sent.
        let old = Answer {
            status: 200,
            line: b" 200 OK\r\n",
            headers: &[("Cache-Control", b"max-age=60"), ("ETag", b"\"a\"")],
        };
        let Ok(draft) = Draft::new(&Request::default(), &Asked::default(), old, now) else {
            panic!("it may be stored")
        };
        let fresh = draft.with(BODY.to_vec()).freshened(request, &asked, answer, now);
        assert!(!fresh.keep || !says(&headers, "no-store") && !says(&headers, "private"), "{headers:?}");
        return sent(&fresh.stored, request, &asked, now);
    }
    if let Ok(draft) = Draft::new(request, &asked, answer, now) {
        assert!(!asked.no_store && !says(&headers, "private"), "{headers:?}");
        sent(&draft.with(BODY.to_vec()), request, &asked, now);
    }
}

/// Whether a line of Cache-Control is this one directive, and nothing stands in for it.
fn says(headers: &[(&str, &[u8])], directive: &str) -> bool {
    let is = |name: &str, known: &str| name.eq_ignore_ascii_case(known);
    let targeted = |name: &str| is(name, "surrogate-control") || is(name, "cdn-cache-control");
    let understood = |value: &[u8]| memchr::memmem::find(&value.to_ascii_lowercase(), b"must-understand").is_some();
    let mut lines = headers.iter().filter(|(name, _)| is(name, "cache-control"));
    !headers.iter().any(|(name, value)| targeted(name) || understood(value))
        && lines.any(|(_, value)| value.eq_ignore_ascii_case(directive.as_bytes()))
}

/// What is sent is a head that our own codec takes, and says how much of the body follows.
fn sent(stored: &Stored, request: &Request, asked: &Asked<'_>, now: Moment) {
    let manner = Manner { told: Told::Hit, connection: None, more: b"", now: now.at + Duration::from_secs(7) };
    let reply = stored.reply(request, asked, &manner);
    let Some(response) = read(&reply.head) else { panic!("{}", reply.head.escape_ascii()) };
    let length = match response.framing {
        Framing::None => 0,
        Framing::Length(length) => length,
        other => panic!("{other:?}: {}", reply.head.escape_ascii()),
    };
    assert_eq!((response.status, length), (reply.status, reply.body.len() as u64));
    assert!(response.head.header("age").is_some() && response.head.header("set-cookie").is_none());
    assert!(memchr::memmem::find(BODY, reply.body).is_some());
}
