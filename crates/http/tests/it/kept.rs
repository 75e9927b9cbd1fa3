//! Connections to backends that are kept for the next request.

use std::io::{BufRead as _, ErrorKind, Read as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use mainstay_http::{Address, Limits, Reuse, Settings, Speaks};

use crate::engine::{Engine, PATIENCE, backend, counted, limits, pass, pool_of, request, until, value};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn engine(address: SocketAddr, reuse: Reuse) -> Engine {
    let pool = pool_of([Address::Tcp(address)].into_iter(), Settings { reuse, ..Settings::default() });
    let patient = Duration::from_secs(20);
    let limits = Limits { answer_within: patient, progress_within: patient, head_within: patient, ..limits() };
    Engine::start(Vec::new(), pool, Speaks::Http, limits)
}

#[test]
fn a_crowd_that_comes_again_needs_no_new_connections() {
    const CROWD: usize = 150;
    let together = Barrier::new(CROWD);
    // Nobody is answered before all have asked.
    let (address, opened) = counted(move |mut client| {
        while request(&mut client).is_some() {
            together.wait();
            client.send(OK);
        }
    });
    let engine = engine(address, Reuse::Always);
    let mut clients: Vec<_> = (0..CROWD).map(|_| engine.connect()).collect();
    for _ in 0..4 {
        clients.iter_mut().for_each(|client| client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
        clients.iter_mut().for_each(|client| assert_eq!(client.answer().status, 200));
    }
    assert_eq!(opened.load(Ordering::Relaxed), CROWD);
}

/// What must not be sent twice goes on a connection of its own. The one before it is let go of, and its port with it.
#[test]
fn what_is_not_needed_is_reset() {
    let reset = Arc::new(AtomicUsize::new(0));
    let seen = reset.clone();
    let (address, open) = counted(move |mut client| {
        let ended = loop {
            match client.reader().fill_buf().map(<[u8]>::len) {
                Ok(1..) => {
                    request(&mut client);
                    client.send(OK);
                }
                ended => break ended,
            }
        };
        if ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset) {
            seen.fetch_add(1, Ordering::Relaxed);
        }
    });
    let engine = engine(address, Reuse::Repeatable);
    let mut client = engine.connect();
    for posted in 1..=20 {
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.answer().status, 200);
        assert_eq!(open.load(Ordering::Relaxed), posted);
        until("all but the last were reset", || reset.load(Ordering::Relaxed) == posted - 1);
    }
    assert_eq!(client.get("/").status, 200);
    assert_eq!(open.load(Ordering::Relaxed), 20, "what may be sent again goes on the one that is kept");
}

const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";

/// A backend that was heard a moment ago is there: what must not be sent twice may go on the connection of the answer. Later it
/// may be off.
#[test]
fn who_was_just_heard_is_asked_on_the_same_connection() {
    let (address, opened) = counted(|mut client| {
        while request(&mut client).is_some_and(|_| client.reader().read_exact(&mut [0; 4]).is_ok()) {
            client.send(OK);
        }
    });
    let engine = engine(address, Reuse::Lively);
    let mut client = engine.connect();
    let mut posts = |gap: Duration| {
        pass(gap);
        client.send(POST);
        assert_eq!(client.answer().status, 200);
        opened.load(Ordering::Relaxed)
    };
    let mut before = posts(Duration::ZERO);
    // On a busy machine some come too late for it.
    let began = Instant::now();
    while std::mem::replace(&mut before, posts(Duration::ZERO)) != opened.load(Ordering::Relaxed) {
        assert!(began.elapsed() < PATIENCE, "every one has a connection of its own");
    }
    for _ in 0..3 {
        before = opened.load(Ordering::Relaxed);
        assert_eq!(posts(Duration::from_millis(20)), before + 1);
    }
}

/// Who does not read a large body for longer than a machine may be silent is not off, on whatever connection; and the next request is
/// on it again.
#[test]
fn a_large_body_on_a_kept_connection_waits_for_its_reader() {
    const LARGE: usize = 16_000_000;
    let (address, opened) = counted(|mut client| {
        while let Some(head) = request(&mut client) {
            let length = value(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            if length == LARGE {
                pass(Duration::from_secs(4));
            }
            client.reader().read_exact(&mut vec![0; length]).unwrap();
            client.send(OK);
        }
    });
    let engine = engine(address, Reuse::Always);
    let mut client = engine.connect();
    for length in [4, LARGE, 4] {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        client.send(&[head.as_bytes(), &vec![b'x'; length]].concat());
        assert_eq!(client.answer().status, 200, "{length} bytes");
    }
    assert_eq!(opened.load(Ordering::Relaxed), 1);
}

/// Whether a body comes with its head or behind it, and whatever comes behind that.
#[test]
fn bodies_arrive_however_they_were_sent() {
    let address = backend(|mut client| {
        while let Some(head) = request(&mut client) {
            let length = value(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            client.reader().read_exact(&mut body).unwrap();
            client.send(&[format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes(), &body].concat());
        }
    });
    let engine = engine(address, Reuse::Lively);
    let mut client = engine.connect();
    for length in [0, 1, 4_096, 5_000, 32_768, 32_769, 200_000] {
        let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        let next = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let whole = [head.as_bytes(), &body, next].concat();
        for cut in [0, 1, head.len(), head.len() + length / 2, head.len() + length] {
            client.send(&whole[..cut]);
            client.send(&whole[cut..]);
            assert_eq!(client.answer().body, body, "{length} bytes, {cut} first");
            assert_eq!(client.answer().body, b"");
        }
    }
    let limited = Engine::with(&[address], Limits { body_bytes_max: 3, ..limits() });
    assert!(limited.raw(POST).starts_with("HTTP/1.1 413 "));
}
