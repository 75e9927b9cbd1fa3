//! Bodies, connections, versions.

use std::io::{BufRead, Read, Write};
use std::process::Command;

use crate::engine::{Engine, backend, echo, request, value};

#[test]
fn a_connection_carries_many_requests() {
    let engine = Engine::new(&[echo("one")]);
    let mut client = engine.connect();
    for _ in 0..5 {
        let answer = client.get("/path?query=1");
        assert_eq!(answer.status, 200);
        let seen = String::from_utf8(answer.body).unwrap();
        assert!(seen.contains("GET /path?query=1 HTTP/1.1"), "{seen}");
        assert_eq!(value(&seen, "x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(value(&seen, "x-mainstay-via"), Some("test=here"));
    }
    // Pipelined requests are answered in order.
    client.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(String::from_utf8(client.answer().body).unwrap().contains("GET /a"));
    assert!(String::from_utf8(client.answer().body).unwrap().contains("GET /b"));
}

/// At the front door only what we see ourselves is believed.
#[test]
fn what_a_visitor_says_of_where_he_came_from_ends_here() {
    let engine = Engine::new(&[echo("one")]);
    let mut client = engine.connect();
    let claims = "X-Real-IP: claimed\r\nX-Forwarded-Port: claimed\r\nX-Forwarded-Prefix: /claimed\r\nX-Forwarded-Ssl: claimed\r\n\
                  X_Forwarded_Port: claimed\r\nX-Forwarded-Scheme: claimed\r\nX-Forwarded-Server: claimed\r\nX-Forwarded-Proto: claimed\r\n";
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{claims}\r\n").as_bytes());
    let seen = String::from_utf8(client.answer().body).unwrap();
    assert!(seen.contains("X-Forwarded-Proto: http\r\n") && !seen.contains("claimed"), "{seen}");
}

#[test]
fn chunks_pass_both_ways() {
    let back = backend(|mut client| {
        request(&mut client).unwrap();
        let mut body = String::new();
        while !body.ends_with("0\r\n\r\n") {
            client.reader().read_line(&mut body).unwrap();
        }
        client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(body.as_bytes());
    });
    let engine = Engine::new(&[back]);
    let chunks = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let answer = engine.raw(format!("{head}{chunks}").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(chunks), "{answer}");
}

#[test]
fn an_old_client_gets_no_chunks() {
    let back = backend(|mut client| {
        request(&mut client).unwrap();
        client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    });
    let engine = Engine::new(&[back]);
    let answer = engine.raw(b"GET / HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\nhello") && !answer.contains("chunked"), "{answer}");
}

#[test]
fn head_and_bodiless_answers_do_not_desynchronise() {
    let engine = Engine::new(&[echo("one")]);
    let mut client = engine.connect();
    client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(value(&client.head(), "content-length").is_some());
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn interim_answers_are_passed_on() {
    let back = backend(|mut client| {
        request(&mut client).unwrap();
        client.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let engine = Engine::new(&[back]);
    let mut client = engine.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 103"));
    assert!(client.head().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_large_body_streams_both_ways() {
    const SIZE: usize = 50 << 20;
    let back = backend(|mut client| {
        let head = request(&mut client).unwrap();
        let length: u64 = value(&head, "content-length").unwrap().parse().unwrap();
        let sum = std::io::copy(&mut client.reader().take(length), &mut std::io::sink()).unwrap();
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nX-Got: {sum}\r\n\r\n").as_bytes());
        let mut out = client.reader().get_ref().try_clone().unwrap();
        std::io::copy(&mut std::io::repeat(7).take(SIZE as u64), &mut out).unwrap();
        out.flush().unwrap();
    });
    let engine = Engine::new(&[back]);
    let before = resident_bytes();
    let mut client = engine.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
    let mut out = client.reader().get_ref().try_clone().unwrap();
    std::io::copy(&mut std::io::repeat(7).take(SIZE as u64), &mut out).unwrap();
    let head = client.head();
    assert_eq!(value(&head, "x-got"), Some(SIZE.to_string().as_str()));
    let got = std::io::copy(&mut client.reader().take(SIZE as u64), &mut std::io::sink()).unwrap();
    assert_eq!(got, SIZE as u64);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 20 << 20, "{grown} bytes more are held");
}

/// Memory that this process holds.
pub fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn curl_uploads_with_expect_and_reads_back() {
    let back = backend(|mut client| {
        let head = request(&mut client).unwrap();
        assert_eq!(value(&head, "expect"), Some("100-continue"), "{head}");
        client.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        let length: u64 = value(&head, "content-length").unwrap().parse().unwrap();
        let mut body = Vec::new();
        client.reader().take(length).read_to_end(&mut body).unwrap();
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        client.send(&body);
    });
    let engine = Engine::new(&[back]);
    let url = format!("http://{}/", engine.address);
    let text = "x".repeat(2000);
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "5", "-H", "Expect: 100-continue", "-d", &text, &url])
        .output()
        .expect("curl is installed");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
}
