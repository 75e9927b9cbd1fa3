//! What breaks, and what the other side sees of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::Duration;

use mainstay_http::{Address, Limits, Speaks, tls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::engine::{Engine, PATIENCE, backend, echo, filled, limits, pass, pool, request, until};
use crate::tls::Authority;

/// A backend that dies after a part of an answer that is said to have so many bytes.
fn dying(length: usize) -> SocketAddr {
    backend(move |mut client| {
        request(&mut client);
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nonly this").as_bytes());
    })
}

#[test]
fn a_backend_that_dies_within_its_answer_is_no_silent_success() {
    let engine = Engine::new(&[dying(100_000)]);
    let answer = engine.raw(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.ends_with("only this"), "{answer}");
    assert_eq!(engine.total("truncated_total"), 1);
    let engine = Engine::new(&[dying(100)]);
    assert!(engine.raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 502 "));
}

/// Behind what was sent of it, a page of ours would be taken for its rest.
#[test]
fn of_an_answer_that_has_begun_nothing_is_said_but_its_end() {
    for framing in ["Content-Length: 4000", "Transfer-Encoding: chunked"] {
        let engine = Engine::new(&[backend(move |mut client| {
            request(&mut client);
            client.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes());
            // As a length, or as a chunk that is not whole.
            client.send(b"fff\r\nonly this");
            let _ = client.reader().read(&mut [0; 9]);
            let _ = client.reader().read_to_end(&mut Vec::new());
        })]);
        let mut client = engine.connect();
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        assert!(client.head().starts_with("HTTP/1.1 200"));
        client.send(b"no chunk\r\n");
        assert_eq!(client.rest(), "fff\r\nonly this", "{framing}");
        let failures = engine.pool.backends().map(|(_, figures)| figures.failures.load(Ordering::SeqCst)).sum::<u64>();
        assert_eq!(failures, 0, "that is not the backend's fault");
    }
}

/// A stream in which nothing happens for long is cut off, and who sends it is well all the same.
#[test]
fn who_says_nothing_in_the_middle_of_an_answer_has_not_failed() {
    let engine = Engine::new(&[backend(|mut client| {
        request(&mut client);
        client.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
        let _ = client.reader().read(&mut [0]);
    })]);
    let answer = engine.raw(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.ends_with("data: 1\n\n\r\n"), "{answer}");
    assert_eq!(engine.total("truncated_total"), 1);
    let failures = engine.pool.backends().map(|(_, figures)| figures.failures.load(Ordering::SeqCst)).sum::<u64>();
    assert_eq!(failures, 0);
}

const LARGE_BYTES: usize = 16 << 20;

/// A backend whose answer fills every buffer.
fn large() -> SocketAddr {
    backend(|mut client| {
        request(&mut client);
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE_BYTES}\r\n\r\n").as_bytes());
        let _ = client.reader().get_mut().write_all(&vec![b'x'; LARGE_BYTES]);
    })
}

/// A connection whose other end soon has to wait.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

/// The kernel tells of room when a third of a large buffer is free, for which this client takes longer than anybody may be silent.
fn reads_slowly(mut client: impl Read + Write) {
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let (mut read, mut piece) = (0, vec![0; 16 << 10]);
    for _ in 0..60 {
        pass(Duration::from_millis(50));
        read += client.read(&mut piece).unwrap();
    }
    assert!(read < 2 << 20, "it is slow: {read}");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(read + rest.len() > LARGE_BYTES, "{} of {LARGE_BYTES}", read + rest.len());
}

#[test]
fn who_reads_slowly_is_not_taken_for_one_who_has_stopped() {
    reads_slowly(narrow(Engine::new(&[large()]).address));
}

#[test]
fn nor_is_who_reads_slowly_over_tls() {
    let authority = Authority::new();
    let engine = Engine::encrypted(&[large()], tls::server(vec![authority.identity(&["a.test"])], None).unwrap());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.path("ca.pem")).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let session = rustls::ClientConnection::new(config.into(), "a.test".try_into().unwrap()).unwrap();
    reads_slowly(rustls::StreamOwned::new(session, narrow(engine.secure)));
}

#[test]
fn an_answer_of_usual_size_that_breaks_off_comes_from_another_backend() {
    let engine = Engine::new(&[dying(60_000), echo("two")]);
    for _ in 0..4 {
        assert!(engine.connect().get("/").body.starts_with(b"two\n"));
    }
}

#[test]
fn what_must_not_be_done_twice_is_not_when_its_answer_breaks_off() {
    let engine = Engine::new(&[dying(100)]);
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert!(engine.raw(post).ends_with("only this"));
    assert_eq!((engine.total("truncated_total"), engine.total("retries_total")), (1, 0));
}

/// Before the answer begins, and within one of which nothing more comes for a while.
#[test]
fn a_client_that_goes_away_frees_its_backend() {
    for begun in [&b""[..], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"] {
        let (gone, seen) = channel();
        let back = backend(move |mut client| {
            request(&mut client);
            client.send(begun);
            let mut byte = [0];
            gone.send(client.reader().read(&mut byte).unwrap_or(0)).unwrap();
        });
        let engine = Engine::with(&[back], Limits::default());
        let mut client = engine.connect();
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        if !begun.is_empty() {
            client.reader().read_exact(&mut [0; 20]).unwrap();
        }
        drop(client);
        assert_eq!(seen.recv_timeout(PATIENCE), Ok(0), "the backend's connection is closed");
        until("he is missed", || engine.total("client_aborts_total") == 1);
    }
}

#[test]
fn nobody_works_for_a_client_that_went_away_while_it_waited() {
    let (asked, seen) = channel();
    let back = backend(move |mut client| {
        while let Some(head) = request(&mut client) {
            asked.send(head.lines().next().unwrap_or_default().to_owned()).unwrap();
            if head.starts_with("GET /first") {
                let _ = client.reader().read(&mut [0]);
                return;
            }
            client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
        }
    });
    let limits = Limits::default();
    let engine = Engine::start(Vec::new(), pool([Address::Tcp(back)].into_iter(), 1), Speaks::Http, limits);
    let asks = |path: &str| {
        let mut client = engine.connect();
        client.send(format!("GET /{path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        client
    };
    let first = asks("first");
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), "GET /first HTTP/1.1");
    let second = asks("second");
    until("it waits", || engine.pool.waiting() == 1);
    let mut third = asks("third");
    until("both wait", || engine.pool.waiting() == 2);
    drop(second);
    until("he is missed", || engine.total("client_aborts_total") == 1 && engine.pool.waiting() == 1);
    drop(first);
    assert_eq!(third.answer().body, b"a");
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), "GET /third HTTP/1.1");
}

/// A crowd before a worker with a short queue.
#[test]
fn who_is_behind_with_accepting_is_waited_for_but_not_by_who_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("worker.sock");
    let (listener, waiting) = filled(&path);
    let limits = Limits { connect_within: PATIENCE, ..limits() };
    let engine = Engine::start(Vec::new(), pool([Address::Unix(path)].into_iter(), 100), Speaks::Http, limits);
    let ask = || {
        let mut client = engine.connect();
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        client
    };
    let (mut stays, goes) = (ask(), ask());
    until("both connect", || engine.outstanding() == 2);
    drop(goes);
    until("he is missed", || engine.total("client_aborts_total") == 1 && engine.outstanding() == 1);
    drop(waiting);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Who has only waited is gone.
            if matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na").unwrap();
            }
        }
    });
    assert_eq!(stays.answer().body, b"a");
    assert_eq!(engine.total("retries_total"), 0);
}

#[test]
fn a_silent_backend_is_a_504_and_a_silent_client_a_408() {
    let silent = backend(|mut client| {
        request(&mut client);
        let _ = client.reader().read_to_end(&mut Vec::new());
    });
    let engine = Engine::new(&[silent]);
    assert!(engine.raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 504"));
    assert!(engine.raw(b"GET / HTTP/1.1\r\nHos").starts_with("HTTP/1.1 408"));
    let slow = engine.raw(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
}

/// Whatever it speaks, and whatever its client does.
#[test]
fn a_backend_that_takes_no_more_of_a_body_is_not_waited_for_for_ever() {
    for speaks in [Speaks::Http, Speaks::Http2] {
        let stuck = backend(|mut client| {
            request(&mut client);
            loop {
                std::thread::park();
            }
        });
        let engine = Engine::start(Vec::new(), pool([Address::Tcp(stuck)].into_iter(), 1), speaks, limits());
        let mut client = engine.connect();
        let mut writes = client.reader().get_ref().try_clone().unwrap();
        // More than all buffers on the way take; the engine need not read it to its end.
        std::thread::spawn(move || {
            let _ = writes.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n");
            let piece = vec![0; 1_000_000];
            while writes.write_all(&piece).is_ok() {}
        });
        let answer = client.head();
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(100_000_000).unwrap();
        let url = format!("http://{}/", engine.address);
        let upload = ["-sS", "-w%{http_code}", "-o/dev/null", "--http2-prior-knowledge", "-m9", "-T"];
        let uploaded = Command::new("curl").args(upload).arg(file.path()).arg(url).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&uploaded.stdout), "504");
        until("its place is free", || engine.outstanding() == 0);
    }
}

#[test]
fn nobody_there_is_a_503_that_says_when_to_come_again() {
    let engine = Engine::new(&[echo("one")]);
    engine.pool.mark(0, false);
    let answer = engine.raw(b"GET / HTTP/1.1\r\nHost: h\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("Retry-After: ") && answer.contains("<h1>"),
        "{answer}"
    );
}

#[test]
fn a_wrong_answer_is_a_502() {
    for wrong in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ] {
        let back = backend(move |mut client| {
            request(&mut client);
            client.send(wrong.as_bytes());
        });
        let answer = Engine::new(&[back]).raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 502"), "{wrong:?}: {answer}");
    }
}

#[test]
fn what_is_in_flight_ends_before_the_engine_does() {
    let (release, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let back = backend(move |mut client| {
        request(&mut client);
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let engine = Engine::with(&[back], Limits::default());
    let mut client = engine.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    while engine.pool.backends().all(|(_, figures)| figures.requests.load(std::sync::atomic::Ordering::SeqCst) == 0) {
        std::thread::yield_now();
    }
    engine.stop();
    release.send(()).unwrap();
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"ok".as_slice()));
    assert!(answer.head.contains("Connection: close"), "{}", answer.head);
}

#[test]
fn who_says_that_nothing_follows_is_not_waited_for() {
    let engine = Engine::new(&[echo("a")]);
    for request in ["GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\nHost: h\r\n\r\n"] {
        let mut client = engine.connect();
        client.send(request.as_bytes());
        assert_eq!(client.answer().status, 200);
        assert_eq!(client.reader().read_to_end(&mut Vec::new()).unwrap(), 0);
        // Nobody is there any more who would read it.
        client.send(b"x");
        let stream = client.reader().get_ref();
        until("it is reset", || stream.take_error().unwrap().is_some());
    }
}
