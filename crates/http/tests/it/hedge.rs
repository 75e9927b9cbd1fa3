//! Who is silent for too long, and who is asked instead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mainstay_http::{Address, Limits, Settings, Speaks};

use crate::engine::{Engine, PATIENCE, backend, echo, limits, pool_of, request, until};

const AFTER: Duration = Duration::from_millis(200);

fn hedging(backends: &[SocketAddr], limits: Limits) -> Engine {
    let settings = Settings { hedge_after: Some(AFTER), ..Settings::default() };
    let pool = pool_of(backends.iter().map(|address| Address::Tcp(*address)), settings);
    Engine::start(Vec::new(), pool, Speaks::Http, limits)
}

/// Hears requests and says nothing until its client goes.
fn silent(heard: &Arc<AtomicUsize>) -> SocketAddr {
    let heard = heard.clone();
    backend(move |mut client| {
        while request(&mut client).is_some() {
            heard.fetch_add(1, Ordering::SeqCst);
        }
    })
}

fn patient() -> Limits {
    Limits { answer_within: PATIENCE, ..limits() }
}

#[test]
fn a_silent_backend_is_helped_out_for_what_is_safe() {
    let heard = Arc::default();
    let engine = hedging(&[silent(&heard), echo("two")], patient());
    let mut client = engine.connect();
    for _ in 0..4 {
        let began = Instant::now();
        let answer = client.get("/");
        assert_eq!((answer.status, answer.body.starts_with(b"two")), (200, true));
        assert!(began.elapsed() < PATIENCE / 2);
    }
    assert!(heard.load(Ordering::SeqCst) >= 1);
    let (asked, won) = (engine.total("hedges_total"), engine.total("hedges_won_total"));
    assert!(asked >= 1 && asked == won, "{asked} {won}");
    until("both are let go of", || engine.outstanding() == 0);
}

#[test]
fn what_may_change_something_is_asked_of_one_alone() {
    let heard = Arc::default();
    let engine = hedging(&[silent(&heard), silent(&heard)], limits());
    let answer = engine.raw(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert_eq!((heard.load(Ordering::SeqCst), engine.total("hedges_total")), (1, 0));
}

#[test]
fn two_silent_ones_are_late_once_and_a_client_that_goes_frees_both() {
    let heard = Arc::default();
    let backends = [silent(&heard), silent(&heard)];
    let engine = hedging(&backends, limits());
    let began = Instant::now();
    assert!(engine.raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 504"));
    assert!(began.elapsed() < 2 * limits().answer_within + AFTER);
    assert_eq!(engine.total("hedges_total"), 1);
    let engine = hedging(&backends, patient());
    let mut client = engine.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("both are asked", || engine.outstanding() == 2);
    drop(client);
    until("both are let go of", || engine.outstanding() == 0);
}

#[test]
fn who_answers_soon_is_the_only_one_asked() {
    let engine = hedging(&[echo("one"), echo("two")], limits());
    let mut client = engine.connect();
    (0..10).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!(engine.total("hedges_total"), 0);
}
