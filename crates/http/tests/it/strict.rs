//! Ambiguous framing is refused, counted under its own name, and closes the connection; none of it reaches a backend.

use std::sync::atomic::Ordering;

use crate::engine::{Engine, echo};

/// Request, status, counter.
const CORPUS: &[(&str, u16, &str)] = &[
    ("GET / HTTP/1.1\nHost: h\n\n", 400, "bare_line_feed"),
    ("GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400, "bare_line_feed"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400, "bare_carriage_return"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 400, "nul"),
    ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400, "space_before_colon"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400, "header_folded"),
    ("GET / HTTP/1.1\r\n\r\n", 400, "host_missing"),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host_repeated"),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: user@h\r\n\r\n", 400, "host_invalid"),
    ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400, "host_disagrees"),
    ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505, "version_unsupported"),
    ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request_line_invalid"),
    ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request_line_invalid"),
    ("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 405, "method_not_allowed"),
    ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", 405, "method_not_allowed"),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "length_with_encoding",
    ),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400, "length_repeated"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 400, "length_repeated"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na", 400, "length_invalid"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\na", 400, "length_invalid"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\na", 400, "length_invalid"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\na", 400, "length_invalid"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "encoding_repeated"),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "encoding_repeated",
    ),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 400, "encoding_odd"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, "encoding_odd"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 400, "encoding_odd"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "encoding_unknown"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 501, "encoding_unknown"),
    ("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "encoding_in_old_version"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 400, "chunk_size_invalid"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n", 400, "chunk_size_invalid"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400, "chunk_size_invalid"),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
        400,
        "chunk_size_too_large",
    ),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", 400, "chunk_unterminated"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: x\r\n\r\n", 400, "trailer_forbidden"),
    ("GET / HTTP/1.1\r\nHost: h\r\nExpect: cake\r\n\r\n", 417, "expectation_unknown"),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx",
        400,
        "upgrade_odd",
    ),
    ("\u{16}\u{3}\u{1}\u{2}", 400, "not_http"),
];

#[test]
fn the_corpus_is_refused_by_name() {
    for (wire, status, name) in CORPUS {
        let engine = Engine::new(&[echo("one")]);
        // What follows a refused request is never taken for the next one.
        let answer = engine.raw(format!("{wire}GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{wire:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{wire:?}: {answer}");
        assert_eq!(engine.total(&format!("refused_{name}_total")), 1, "{wire:?}: {:?}", engine.counters.totals());
    }
}

#[test]
fn tls_on_a_plain_port_is_not_waited_for() {
    let engine = Engine::new(&[echo("one")]);
    assert!(engine.raw(b"\x16\x03\x01\x02\x00").starts_with("HTTP/1.1 400"));
    assert_eq!(engine.total("refused_not_http_total"), 1);
}

#[test]
fn what_is_too_large_is_refused() {
    let engine = Engine::new(&[echo("one")]);
    let line = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(10_000));
    assert!(engine.raw(line.as_bytes()).starts_with("HTTP/1.1 414"));
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    assert!(engine.raw(head.as_bytes()).starts_with("HTTP/1.1 431"));
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(110));
    assert!(engine.raw(many.as_bytes()).starts_with("HTTP/1.1 431"));
    let reached =
        |engine: &Engine| engine.pool.backends().map(|(_, it)| it.requests.load(Ordering::SeqCst)).sum::<u64>();
    assert_eq!(reached(&engine), 0);
}
