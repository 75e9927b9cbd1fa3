//! WebSocket: the handshake is HTTP and looked at, what follows is not.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::engine::{Engine, backend, request, value};

const ASK: &[u8] = b"GET /chat HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const AGREE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn bytes_pass_both_ways_and_an_end_is_passed_on() {
    let back = backend(|mut client| {
        let head = request(&mut client).unwrap();
        assert_eq!(value(&head, "connection"), Some("upgrade"));
        assert_eq!(value(&head, "upgrade"), Some("websocket"));
        assert!(value(&head, "sec-websocket-key").is_some() && value(&head, "x-forwarded-for").is_some());
        // A greeting in the same packet as the agreement.
        client.send(&[AGREE, b"hello"].concat());
        let mut heard = Vec::new();
        client.reader().read_to_end(&mut heard).unwrap();
        client.send(&heard);
    });
    let engine = Engine::new(&[back]);
    let mut client = engine.connect();
    // Eager: bytes behind the request, before the answer.
    client.send(&[ASK, b"early "].concat());
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!((value(&head, "connection"), value(&head, "upgrade")), (Some("upgrade"), Some("websocket")));
    assert!(value(&head, "sec-websocket-accept").is_some());
    let mut greeting = [0; 5];
    client.reader().read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"hello");

    let large = vec![b'x'; 3 << 20];
    let mut stream = client.reader().get_ref().try_clone().unwrap();
    stream.write_all(&large).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut echo = Vec::new();
    client.reader().read_to_end(&mut echo).unwrap();
    assert!(echo.starts_with(b"early xxx") && echo.len() == large.len() + 6, "{} bytes", echo.len());
    assert_eq!(engine.counters.totals()["websockets_total"], 1);
}

#[test]
fn a_backend_that_declines_answers_as_ever() {
    let back = backend(|mut client| {
        while request(&mut client).is_some() {
            client.send(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
        }
    });
    let engine = Engine::new(&[back]);
    let mut client = engine.connect();
    client.send(ASK);
    assert!(client.head().starts_with("HTTP/1.1 426 "));
    let mut body = [0; 2];
    client.reader().read_exact(&mut body).unwrap();
    assert_eq!(client.get("/").status, 426, "the connection goes on");
}

#[test]
fn nobody_switches_unasked_or_to_something_else() {
    for (ask, answer) in [
        (&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], AGREE),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", AGREE),
        (ASK, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
        (ASK, b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ] {
        let back = backend(move |mut client| {
            let head = request(&mut client).unwrap();
            assert!(!head.contains("h2c"), "{head}");
            client.send(answer);
        });
        let engine = Engine::new(&[back]);
        let mut client = engine.connect();
        client.send(ask);
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    }
}

#[test]
fn who_goes_away_frees_the_backend() {
    let (told, freed) = std::sync::mpsc::channel();
    let back = backend(move |mut client| {
        request(&mut client).unwrap();
        client.send(AGREE);
        let mut rest = Vec::new();
        let _ = client.reader().read_to_end(&mut rest);
        told.send(()).unwrap();
    });
    let engine = Engine::new(&[back]);
    let mut client = engine.connect();
    client.send(ASK);
    client.head();
    drop(client);
    freed.recv_timeout(crate::engine::PATIENCE).unwrap();
}
