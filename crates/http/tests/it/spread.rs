//! Whom a request is given to.

use std::time::Duration;

use crate::engine::{DEAD, Engine, backend, echo, limits, request};

#[test]
fn requests_alternate() {
    let engine = Engine::new(&[echo("one"), echo("two")]);
    let mut client = engine.connect();
    let names: Vec<bool> = (0..6).map(|_| client.get("/").body.starts_with(b"one")).collect();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}

#[test]
fn a_backend_that_refuses_costs_no_request() {
    let engine = Engine::new(&[DEAD, echo("two")]);
    let mut client = engine.connect();
    for _ in 0..4 {
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
        let answer = client.answer();
        assert_eq!(answer.status, 200, "nothing was sent to the dead one, so a POST may go elsewhere too");
        client = engine.connect();
    }
    assert!(engine.total("retries_total") >= 2);
}

#[test]
fn only_what_is_idempotent_is_sent_again() {
    let dying = || {
        backend(|mut client| {
            request(&mut client);
        })
    };
    let engine = Engine::new(&[dying(), echo("two")]);
    for _ in 0..4 {
        assert_eq!(engine.connect().get("/").status, 200);
    }
    let engine = Engine::new(&[dying(), dying()]);
    assert!(engine.raw(b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 502"));
    assert_eq!(engine.total("retries_total"), 0);
}

#[test]
fn an_idle_connection_that_the_backend_closed_is_not_used() {
    let once = backend(|mut client| {
        request(&mut client);
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let engine = Engine::new(&[once]);
    let mut client = engine.connect();
    for _ in 0..5 {
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn a_request_is_held_until_a_backend_is_well() {
    let engine =
        Engine::with(&[echo("one")], mainstay_http::Limits { hold_within: Duration::from_secs(8), ..limits() });
    engine.pool.mark(0, false);
    let mut client = engine.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(engine.raw(b"GET /.mainstay/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").contains(" 503 "));
    engine.pool.mark(0, true);
    assert_eq!(client.answer().status, 200);
    assert!(engine.raw(b"GET /.mainstay/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").contains(" 200 "));
}
