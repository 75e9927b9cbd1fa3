//! Connections to backends that are kept for the next request.

use std::io::{BufRead as _, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use mainstay_http::{Address, Limits, Reuse, Settings, Speaks};

use crate::engine::{Engine, backend, limits, pool_of, request, until};

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
    let (opened, together) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(CROWD)));
    let counted = opened.clone();
    // Nobody is answered before all have asked.
    let address = backend(move |mut client| {
        counted.fetch_add(1, Ordering::Relaxed);
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
    let (open, reset) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (open.clone(), reset.clone());
    let address = backend(move |mut client| {
        counted.0.fetch_add(1, Ordering::Relaxed);
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
            counted.1.fetch_add(1, Ordering::Relaxed);
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
