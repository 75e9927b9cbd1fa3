use super::super::reply::{Manner, Told, Why};
use super::*;
use crate::codec::HeadLimits;

const NOON: &str = "Thu, 18 Aug 2050 12:00:00 GMT";
const LATER: &str = "Thu, 18 Aug 2050 12:00:30 GMT";

fn request(method: &str, lines: &str) -> Request {
    let mut request = Request::default();
    let head = format!("{method} / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    assert!(request.read(head.as_bytes(), &HeadLimits::default()).unwrap().is_some());
    request
}

fn moment(date_text: &str) -> Moment {
    Moment { date: date(date_text.as_bytes()).unwrap(), at: Instant::now() }
}

fn drafted(headers: &[(&str, &str)], body: &str) -> Stored {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let answer = Answer { status: 200, line: b" 200 OK\r\n", headers: &headers };
    let request = request("GET", "");
    Draft::new(&request, &Asked::of(&request), answer, moment(NOON)).unwrap().with(body.as_bytes().to_vec())
}

/// What `request` is answered when `stored` is `seconds` old: status, head, body.
fn replied(stored: &Stored, method: &str, lines: &str, seconds: u64) -> (u16, String, String) {
    let request = request(method, lines);
    let now = stored.born.at + Duration::from_secs(seconds);
    let manner = Manner { told: Told::Hit, connection: None, more: b"", now };
    let reply = stored.reply(&request, &Asked::of(&request), &manner);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (reply.status, text(&reply.head), text(reply.body))
}

#[test]
fn a_stored_answer_as_it_is_sent() {
    let stored = drafted(
        &[
            ("Cache-Control", "max-age=60, private=\"X-User\""),
            ("X-User", "me"),
            ("Age", "5"),
            ("Content-Length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("Date", NOON),
            ("X-Kept", "1"),
        ],
        "hello",
    );
    let (status, head, body) = replied(&stored, "GET", "", 10);
    let date = format!("Date: {NOON}");
    let expected = [
        "HTTP/1.1 200 OK",
        "Cache-Control: max-age=60, private=\"X-User\"",
        &date,
        "X-Kept: 1",
        "Content-Length: 5",
        "Age: 15",
        "Cache-Status: mainstay; hit; ttl=45",
        "\r\n",
    ];
    assert_eq!((status, head, body), (200, expected.join("\r\n"), "hello".into()));
    let (_, head, body) = replied(&stored, "HEAD", "", 100);
    assert!(head.contains("Content-Length: 5\r\n") && head.contains("ttl=-45\r\n") && body.is_empty(), "{head}");
}

#[test]
fn who_has_no_date_gets_ours() {
    for headers in [&[("Cache-Control", "max-age=60")][..], &[("Cache-Control", "max-age=60"), ("Date", "foo")]] {
        let (_, head, _) = replied(&drafted(headers, ""), "GET", "", 0);
        assert!(head.contains(&format!("\r\nDate: {NOON}\r\n")) && !head.contains("foo"), "{head}");
    }
}

#[test]
fn conditions_are_answered() {
    let stored = drafted(
        &[("Cache-Control", "max-age=60"), ("ETag", "\"a\""), ("Content-Type", "x/y"), ("Content-Location", "/c")],
        "hello",
    );
    let (status, head, body) = replied(&stored, "GET", "If-None-Match: \"b\", \"a\"\r\n", 10);
    assert_eq!((status, &body[..]), (304, ""));
    for (line, there) in [("ETag: \"a\"", true), ("Age: 10", true), ("Content-Type", false), ("Content-Length", false)]
    {
        assert_eq!(head.contains(line), there, "{head}");
    }
    assert!(head.contains("Content-Location: /c\r\n") && head.contains("Cache-Control: max-age=60\r\n"), "{head}");
    assert_eq!(replied(&stored, "GET", "If-None-Match: \"b\"\r\n", 10).0, 200);
}

#[test]
fn parts_of_a_whole() {
    let stored = drafted(&[("Cache-Control", "max-age=60"), ("ETag", "\"a\""), ("Content-Type", "x/y")], "0123456789A");
    for (range, content_range, body) in
        [("0-1", "0-1/11", "01"), ("1-", "1-10/11", "123456789A"), ("-1", "10-10/11", "A")]
    {
        let (status, head, got) = replied(&stored, "GET", &format!("Range: bytes={range}\r\n"), 0);
        assert_eq!((status, &got[..]), (206, body));
        assert!(head.contains(&format!("Content-Range: bytes {content_range}\r\n")), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())) && head.contains("x/y"), "{head}");
    }
    let (status, head, body) = replied(&stored, "GET", "Range: bytes=11-\r\n", 0);
    assert_eq!((status, &body[..]), (416, ""));
    assert!(head.contains("Content-Range: bytes */11\r\n") && !head.contains("x/y"), "{head}");
    for whole in ["Range: bytes=0-1\r\nIf-Range: \"b\"\r\n", "Range: bytes=x\r\n", "Range: bytes=0-1,4-5\r\n"] {
        assert_eq!(replied(&stored, "GET", whole, 0).0, 200, "{whole}");
    }
    assert_eq!(replied(&stored, "GET", "Range: bytes=0-1\r\nIf-Range: \"a\"\r\n", 0).0, 206);
    assert_eq!(replied(&stored, "HEAD", "Range: bytes=0-1\r\n", 0).0, 200);
}

fn freshened(stored: &Stored, headers: &[(&str, &str)], at: &str) -> Freshened {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let answer = Answer { status: 304, line: b" 304 Not Modified\r\n", headers: &headers };
    let request = request("GET", "");
    stored.freshened(&request, &Asked::of(&request), answer, moment(at))
}

#[test]
fn a_304_renews_what_it_says_and_keeps_the_rest() {
    let stored = drafted(
        &[
            ("Cache-Control", "max-age=5"),
            ("Date", NOON),
            ("ETag", "\"a\""),
            ("Content-Encoding", "gzip"),
            ("X-Old", "1"),
            ("X-Changed", "1"),
            ("X-Changed", "2"),
        ],
        "hello",
    );
    let new = [
        ("Cache-Control", "max-age=50"),
        ("ETag", "\"b\""),
        ("Content-Encoding", "br"),
        ("Content-Length", "99"),
        ("x-changed", "3"),
        ("Set-Cookie", "a=b"),
        ("Date", LATER),
    ];
    // A cookie makes it a visitor's: what is stored may not be renewed for all by it.
    assert!(!freshened(&stored, &new, LATER).keep);
    let new: Vec<(&str, &str)> = new.into_iter().filter(|(name, _)| *name != "Set-Cookie").collect();
    let fresh = freshened(&stored, &new, LATER);
    assert!(fresh.keep);
    let (status, head, body) = replied(&fresh.stored, "GET", "", 1);
    assert_eq!((status, &body[..]), (200, "hello"));
    let later = format!("Date: {LATER}\r\n");
    for line in ["Content-Encoding: gzip", "X-Old: 1", "x-changed: 3", "ETag: \"a\"", "ttl=49", "Age: 1\r\n", &later] {
        assert!(head.contains(line), "{line} in {head}");
    }
    for line in ["X-Changed", "Cookie", "br", "99", NOON] {
        assert!(!head.contains(line), "{line} in {head}");
    }
}

#[test]
fn a_304_that_forbids_serves_once() {
    let stored = drafted(&[("Cache-Control", "max-age=5"), ("ETag", "\"a\"")], "hello");
    let fresh = freshened(&stored, &[("Cache-Control", "private")], LATER);
    assert!(!fresh.keep && !fresh.stored.body.is_empty());
    assert!(freshened(&stored, &[], LATER).keep, "one that says nothing changes nothing");
}

#[test]
fn the_lines_that_ask_for_it() {
    let mut lines = Vec::new();
    let headers = [("Cache-Control", "max-age=5"), ("ETag", "W/\"a\""), ("Last-Modified", NOON)];
    drafted(&headers, "").validation(&mut lines);
    assert_eq!(String::from_utf8(lines).unwrap(), format!("If-None-Match: W/\"a\"\r\nIf-Modified-Since: {NOON}\r\n"));
}

#[test]
fn head_answers_that_agree() {
    let stored = drafted(&[("Cache-Control", "max-age=5"), ("ETag", "\"a\"")], "hello");
    assert!(stored.agrees_with(&[("etag", b"\"a\""), ("Content-Length", b"5"), ("X", b"y")]));
    for other in [("ETag", "\"b\""), ("Content-Length", "6"), ("Last-Modified", NOON)] {
        assert!(!stored.agrees_with(&[(other.0, other.1.as_bytes())]), "{other:?}");
    }
}

#[test]
fn how_it_came_about_is_told() {
    let stored = drafted(&[("Cache-Control", "max-age=60")], "");
    let request = request("GET", "");
    for (told, says) in [
        (Told::Validated(Why::Stale), "fwd=stale; fwd-status=304; ttl=60"),
        (Told::Collapsed(Why::UriMiss), "fwd=uri-miss; collapsed; ttl=60"),
        (Told::Spared, "fwd=stale; detail=origin-failed; ttl=60"),
    ] {
        let manner = Manner { told, connection: Some("close"), more: b"Set-Cookie: a=b\r\n", now: stored.born.at };
        let head = stored.reply(&request, &Asked::of(&request), &manner).head;
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains(&format!("Cache-Status: mainstay; {says}\r\n")), "{head}");
        assert!(head.ends_with("Set-Cookie: a=b\r\nConnection: close\r\n\r\n"), "{head}");
    }
}
