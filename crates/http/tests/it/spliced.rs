//! Bodies that pass inside the kernel.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mainstay_http::{Address, Limits, Speaks};

use crate::engine::{Client, Engine, backend, counted, echo, limits, pool, request, until, value};

/// A body of which no part is like another.
fn body(length: usize) -> Vec<u8> {
    (0..length.div_ceil(4))
        .flat_map(|word| (word as u32).wrapping_mul(2_654_435_761).to_le_bytes())
        .take(length)
        .collect()
}

/// Answers with the request's body, in pieces of the size that the path names.
fn mirror(stream: impl Read + Write) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).unwrap() == 0 {
                return;
            }
        }
        let piece = head.split([' ', '/']).nth(2).unwrap().parse().unwrap();
        let mut body = vec![0; value(&head, "content-length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        write!(stream.get_mut(), "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        body.chunks(piece).for_each(|piece| stream.get_mut().write_all(piece).unwrap());
    }
}

#[test]
fn bodies_of_every_size_arrive_as_they_were_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(mirror));
    let tcp = backend(|mut client| mirror(client.reader().get_ref().try_clone().unwrap()));
    for address in [Address::Tcp(tcp), Address::Unix(path)] {
        let engine = Engine::start(Vec::new(), pool([address].into_iter(), 100), Speaks::Http, limits());
        let mut client = engine.connect();
        for size in [4_000, 8_191, 8_192, 12_287, 12_289, 16_384, 65_535, 65_537, 262_144, 300_001, 3 << 20] {
            for piece in [1_000, 5_000, 40_000, 1 << 20] {
                let sent = body(size);
                client.send(format!("PUT /{piece} HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n").as_bytes());
                sent.chunks(piece).for_each(|piece| client.send(piece));
                assert!(client.answer().body == sent, "{size} in pieces of {piece}");
            }
        }
    }
}

/// A backend that says that its answer has `length` bytes, sends `sent` of them, and says no more.
fn breaking_off(length: usize, sent: usize) -> SocketAddr {
    backend(move |mut client| {
        request(&mut client);
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        client.send(&body(sent));
    })
}

#[test]
fn what_breaks_off_comes_from_another_backend_or_is_cut_off() {
    let engine = Engine::new(&[breaking_off(60_000, 50_000), echo("two")]);
    for _ in 0..4 {
        assert!(engine.connect().get("/").body.starts_with(b"two\n"));
    }
    let engine = Engine::new(&[breaking_off(600_000, 500_000)]);
    let mut client = engine.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.head();
    assert!(client.rest_bytes() == body(500_000));
    assert_eq!(engine.total("truncated_total"), 1);
}

/// What follows an answer is no answer to whoever is next.
#[test]
fn what_is_behind_a_body_is_nobodys() {
    let (back, opened) = counted(|mut client| {
        while request(&mut client).is_some() {
            let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n".to_vec();
            answer.extend(body(20_000));
            answer.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            client.send(&answer);
        }
    });
    let engine = Engine::new(&[back]);
    let mut client = engine.connect();
    for _ in 0..3 {
        assert!(client.get("/").body == body(20_000));
    }
    assert_eq!(opened.load(Ordering::Relaxed), 3);
}

#[test]
fn who_stops_to_read_is_given_up_and_who_goes_away_frees_his_backend() {
    let lengthy = || {
        backend(|mut client| {
            request(&mut client);
            client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            let mut out = client.reader().get_ref().try_clone().unwrap();
            // Until it is closed.
            let _ = std::io::copy(&mut std::io::repeat(7), &mut out);
        })
    };
    for stays in [true, false] {
        let engine = Engine::new(&[lengthy()]);
        let mut client = engine.connect();
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        client.head();
        let kept = stays.then_some(client);
        until("he is missed", || engine.total("client_aborts_total") == 1);
        drop(kept);
    }
}

/// Each holds a pipe, until there are no more; the others' bodies are copied.
#[test]
fn there_may_be_more_slow_readers_than_pipes() {
    const CROWD: usize = 300;
    const SIZE: usize = 4 << 20;
    let shared = Arc::new(body(SIZE));
    let back = backend(move |mut client| {
        request(&mut client);
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
        client.send(&shared);
    });
    let patient = Duration::from_secs(30);
    let limits = Limits { answer_within: patient, progress_within: patient, ..limits() };
    let pool = pool([Address::Tcp(back)].into_iter(), CROWD as u32);
    let engine = Engine::start(Vec::new(), pool, Speaks::Http, limits);
    let before = pipes_beyond(0);
    let mut clients: Vec<Client> = (0..CROWD).map(|_| engine.connect()).collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        client.head();
    }
    let threads = std::thread::available_parallelism().unwrap().get();
    let pipes = pipes_beyond(before);
    assert!((1..=64 * threads).contains(&pipes), "{pipes} pipes");
    let wanted = body(SIZE);
    for mut client in clients {
        let mut got = vec![0; SIZE];
        client.reader().read_exact(&mut got).unwrap();
        assert!(got == wanted);
    }
}

/// Pipes that this process has open, less `others`.
fn pipes_beyond(others: usize) -> usize {
    let links =
        std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("pipe:")).count() / 2 - others
}
