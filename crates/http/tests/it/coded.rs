//! Answers of applications, compressed for whoever takes that.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::GzDecoder;
use mainstay_http::{Address, Config, FastCgi, Limits, Route, Speaks, Spool};

use crate::engine::{Answer, Client, Engine, PATIENCE, backend, limits, pool, request, until, value};
use crate::responder::Responder;
use crate::scripts::One;

fn before(address: SocketAddr) -> Engine {
    let route = Route::to(pool([Address::Tcp(address)].into_iter(), 100));
    Engine::following(Config { compresses: true, limits: limits(), ..Config::default() }, route)
}

/// The same page for everyone, with a length or in chunks.
fn site(head: &'static str, page: &'static [u8], chunked: bool) -> Engine {
    before(backend(move |mut client| {
        while let Some(asked) = request(&mut client) {
            let framing =
                if chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {}", page.len()) };
            client.send(format!("HTTP/1.1 200 OK\r\n{head}{framing}\r\n\r\n").as_bytes());
            match (asked.starts_with("HEAD"), chunked) {
                (true, _) => {}
                (false, false) => client.send(page),
                (false, true) => {
                    for piece in page.chunks(1000) {
                        client.send(format!("{:x}\r\n", piece.len()).as_bytes());
                        client.send(piece);
                        client.send(b"\r\n");
                    }
                    client.send(b"0\r\n\r\n");
                }
            }
        }
    }))
}

fn page() -> &'static [u8] {
    let lines = (0..2000).map(|line| format!("<p>so much depends upon line {line}</p>\n"));
    lines.collect::<String>().into_bytes().leak()
}

fn get(client: &mut Client, codings: &str) -> Answer {
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {codings}\r\n\r\n").as_bytes());
    client.answer()
}

fn decoded(answer: &Answer) -> Vec<u8> {
    assert_eq!(value(&answer.head, "content-encoding"), Some("gzip"), "{}", answer.head);
    let mut body = Vec::new();
    GzDecoder::new(&*answer.body).read_to_end(&mut body).unwrap();
    body
}

#[test]
fn a_page_is_as_small_as_its_client_takes_it() {
    // Up to 64 KiB are waited for, above it comes in pieces.
    for (page, chunked) in [(&page()[..60_000], false), (page(), false), (page(), true), (&page()[..60_000], true)] {
        let engine = site("Content-Type: text/html\r\nETag: \"a\"\r\n", page, chunked);
        let mut client = engine.connect();
        for _ in 0..2 {
            let coded = get(&mut client, "br, gzip");
            assert!(decoded(&coded) == page && coded.body.len() < page.len() / 5, "{} bytes", coded.body.len());
            assert_eq!(value(&coded.head, "etag"), Some("W/\"a\""));
            assert_eq!(value(&coded.head, "vary"), Some("Accept-Encoding"));
            let is_whole = !chunked && page.len() <= 64 << 10;
            assert_eq!(value(&coded.head, "content-length").is_some(), is_whole, "{}", coded.head);
            for codings in ["", "br", "gzip;q=0, *"] {
                let plain = get(&mut client, codings);
                assert!(plain.body == page, "{codings}: {}", plain.head);
                assert_eq!(value(&plain.head, "content-encoding"), None);
                assert_eq!(value(&plain.head, "etag"), Some("\"a\""));
                assert_eq!(value(&plain.head, "vary"), Some("Accept-Encoding"));
            }
        }
        client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
        let head = client.head();
        assert_eq!(value(&head, "content-encoding"), Some("gzip"), "as for GET: {head}");
        assert_eq!((value(&head, "content-length"), value(&head, "transfer-encoding")), (None, None), "{head}");
        client.send(b"GET / HTTP/1.0\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
        let old = client.rest();
        assert!(!old.contains("Content-Encoding") && old.as_bytes().ends_with(page));
    }
}

#[test]
fn what_is_no_page_stays_as_it_is() {
    let noise: &[u8] = (0..20_000_u64).map(|n| ((n * n * 2_654_435_761) >> 13) as u8).collect::<Vec<_>>().leak();
    for (head, page, varies) in [
        ("Content-Type: image/png\r\n", page(), false),
        ("Content-Type: text/html\r\nContent-Encoding: x\r\n", page(), false),
        ("Content-Type: text/html\r\nCache-Control: no-transform\r\n", page(), false),
        ("Content-Type: text/html\r\n", &page()[..1000], false),
        ("Content-Type: text/plain\r\n", noise, true),
    ] {
        let engine = site(head, page, false);
        let answer = get(&mut engine.connect(), "gzip");
        assert!(answer.body == page, "{}", answer.head);
        assert_eq!(value(&answer.head, "vary").is_some(), varies, "{}", answer.head);
    }
}

/// What an application prints before it thinks is with its visitor while it does.
#[test]
fn nothing_is_held_back() {
    let is_read = Arc::new(AtomicBool::new(false));
    let goes_on = is_read.clone();
    let engine = before(backend(move |mut client| {
        request(&mut client);
        client.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>wait");
        until("it was read", || goes_on.load(Ordering::SeqCst));
        client.send(b" for it");
    }));
    let mut client = engine.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.head();
    assert_eq!(value(&head, "content-encoding"), Some("gzip"), "{head}");
    let size = usize::from_str_radix(client.line().trim_end(), 16).unwrap();
    let mut body = vec![0; size];
    client.reader().read_exact(&mut body).unwrap();
    let mut text = [0; 7];
    GzDecoder::new(&*body).read_exact(&mut text).unwrap();
    assert_eq!(&text, b"<p>wait");
    is_read.store(true, Ordering::SeqCst);
    assert_eq!(client.line(), "\r\n");
    body.extend(client.chunks());
    assert_eq!(decoded(&Answer { status: 200, head, body }), b"<p>wait for it");
    assert_eq!(client.get("/").status, 200, "the connection goes on");
}

/// Who breaks off in the middle is not taken for whole.
#[test]
fn what_breaks_off_is_seen_to() {
    let engine = before(backend(|mut client| {
        request(&mut client);
        client.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100000\r\n\r\n<p>so much");
    }));
    let mut client = engine.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
    let rest = client.rest_bytes();
    assert!(rest.starts_with(b"HTTP/1.1 200") && !rest.ends_with(b"0\r\n\r\n"));
    until("it is counted", || engine.total("truncated_total") == 1);
}

fn scripted(responder: &Responder) -> Engine {
    let root = responder.socket().parent().unwrap().to_owned();
    let scripts = Box::new(One(root.clone()));
    let speaks = Speaks::FastCgi(FastCgi { spool: Spool::new(root, 1 << 20), scripts, unheard_within: PATIENCE });
    let pool = pool([Address::Unix(responder.socket())].into_iter(), 1);
    let limits = Limits { answer_within: PATIENCE, ..limits() };
    Engine::following(Config { compresses: true, limits, ..Config::default() }, Route { speaks, ..Route::to(pool) })
}

#[test]
fn scripts() {
    let page = std::str::from_utf8(page()).unwrap();
    let small = &page[..20_000];
    for (head, page) in
        [("", small), ("", page), ("Content-Length: 20000\n", small), ("Status: 404 Not Found\nETag: \"a\"\n", page)]
    {
        let responder =
            Responder::new(move |_, line| line.answers(&format!("Content-Type: text/html\n{head}\n{page}")));
        let engine = scripted(&responder);
        let mut client = engine.connect();
        for _ in 0..2 {
            let coded = get(&mut client, "gzip");
            assert!(decoded(&coded) == page.as_bytes(), "{}", coded.head);
            assert!(coded.body.len() < page.len() / 5);
            assert!(get(&mut client, "identity").body == page.as_bytes());
        }
        client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
        let head = client.head();
        assert_eq!(value(&head, "content-encoding"), Some("gzip"), "{head}");
        assert!(get(&mut client, "").body == page.as_bytes(), "behind an answer without a body");
    }
}

/// A script that prints less than it promised is cut off; what is more is cut away, and the connection ends.
#[test]
fn scripts_that_lie_about_their_length() {
    let text: &str = "so much depends upon\n".repeat(10_000).leak();
    let run = |promised: usize, prints: usize| {
        let head = format!("Content-Type: text/html\nContent-Length: {promised}\n\n");
        let responder = Responder::new(move |_, line| line.answers(&format!("{head}{}", &text[..prints])));
        let engine = scripted(&responder);
        let mut client = engine.connect();
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
        (client, engine, responder)
    };
    for (promised, prints) in [(200_000, 150_000), (3000, 2000)] {
        let (client, _engine, _responder) = run(promised, prints);
        let rest = client.rest_bytes();
        assert!(rest.starts_with(b"HTTP/1.1 200") && !rest.ends_with(b"0\r\n\r\n"), "{promised}");
    }
    for (promised, prints) in [(100_000, 150_000), (2000, 3000)] {
        let (mut client, _engine, _responder) = run(promised, prints);
        let answer = client.answer();
        let is_coded = value(&answer.head, "content-encoding").is_some();
        let body = if is_coded { decoded(&answer) } else { answer.body };
        assert!(body == text.as_bytes()[..promised], "{}", answer.head);
        assert_eq!(client.rest(), "");
    }
}
