//! HTTP/2: real clients, and frames that no client sends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use mainstay_http::files::Folder;
use mainstay_http::{Address, Config, Reuse, Route, Settings, Speaks};

use crate::engine::{Engine, PATIENCE, backend, counted, echo, limits, pass, pool, pool_of, request, until};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// curl by HTTP/2 without being asked.
fn curl(engine: &Engine, path: &str, more: &[&str]) -> String {
    let url = format!("http://{}{path}", engine.address);
    let output = Command::new("curl").args(["-sS", "--http2-prior-knowledge"]).args(more).arg(url).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `/static/large.bin` has so many bytes, and everything else is a backend's.
fn with_large_file(bytes: usize) -> (tempfile::TempDir, Engine) {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("large.bin"), vec![b'x'; bytes]).unwrap();
    let mut folder = Folder::open(root.path()).unwrap();
    folder.prefix = "/static/".into();
    (root, Engine::serving(vec![folder], &[echo("app")], limits()))
}

#[test]
fn curl_gets_pages_heads_files_and_errors() {
    let (_root, engine) = with_large_file(3 << 20);
    let page = curl(&engine, "/a?b=c", &["-H", "Cookie: a=1", "-b", "b=2", "-H", "TE: trailers"]);
    assert!(page.starts_with("app\nGET /a?b=c HTTP/1.1\r\n"), "{page}");
    assert!(page.contains("X-Forwarded-For: 127.0.0.1\r\n") && !page.to_lowercase().contains("\r\nte:"), "{page}");
    let head = curl(&engine, "/", &["-I"]);
    assert!(head.starts_with("HTTP/2 200") && head.contains("x-backend: app"), "{head}");
    assert_eq!(curl(&engine, "/static/large.bin", &[]).len(), 3 << 20);
    assert!(curl(&engine, "/static/none", &["-i"]).starts_with("HTTP/2 404"));
    assert_eq!(engine.total("http2_connections_total"), 4);
}

/// A backend that says how long the body of each request was, and how it was framed.
fn measuring() -> SocketAddr {
    backend(|mut client| {
        while let Some(head) = request(&mut client) {
            let lower = head.to_lowercase();
            let (framing, length) = if lower.contains("transfer-encoding: chunked") {
                let mut length = 0;
                loop {
                    let size = client.line();
                    let size = usize::from_str_radix(size.trim(), 16).unwrap();
                    let mut piece = vec![0; size + 2];
                    client.reader().read_exact(&mut piece).unwrap();
                    length += size;
                    if size == 0 {
                        break ("chunks", length);
                    }
                }
            } else {
                let length = crate::engine::value(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                client.reader().read_exact(&mut vec![0; length]).unwrap();
                ("length", length)
            };
            let body = format!("{length} by {framing}");
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
    })
}

#[test]
fn bodies_go_up_with_and_without_a_length() {
    let engine = Engine::new(&[measuring()]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![7; 1 << 20]).unwrap();
    let path = file.path().display().to_string();
    assert_eq!(curl(&engine, "/", &["-T", &path]), "1048576 by length");
    let upload = format!("cat {path} | curl -sS --http2-prior-knowledge -T - http://{}/", engine.address);
    let output = Command::new("sh").args(["-c", &upload]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1048576 by chunks");
}

/// Passes on what comes after 50 ms, as a wire across a continent; gives the most bytes that were under way at a time.
fn far(from: TcpStream, mut to: TcpStream) -> Arc<AtomicUsize> {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (sent, come) = channel::<(Instant, Vec<u8>)>();
    let (counted, seen) = (under_way.clone(), most.clone());
    std::thread::spawn(move || {
        let (mut from, mut buffer) = (from, vec![0; 64 << 10]);
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            seen.fetch_max(counted.fetch_add(count, Ordering::SeqCst) + count, Ordering::SeqCst);
            sent.send((Instant::now() + Duration::from_millis(50), buffer[..count].to_vec())).unwrap();
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in come {
            while Instant::now() < due {
                std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
            }
            under_way.fetch_sub(bytes.len(), Ordering::SeqCst);
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    most
}

/// A large body is not sent 64 KiB a round trip.
#[test]
fn who_is_far_away_uploads_as_fast_as_who_is_near() {
    let engine = Engine::new(&[measuring()]);
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(8 << 20).unwrap();
    let wire = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", wire.local_addr().unwrap());
    let curl = Command::new("curl")
        .args(["-sS", "--http2-prior-knowledge", "-T"])
        .arg(file.path())
        .arg(url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (client, server) = (wire.accept().unwrap().0, TcpStream::connect(engine.address).unwrap());
    far(server.try_clone().unwrap(), client.try_clone().unwrap());
    let most = far(client, server);
    let said = curl.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), format!("{} by length", 8 << 20));
    let most = most.load(Ordering::SeqCst);
    assert!((500_000..1_500_000).contains(&most), "{most} bytes were under way at a time");
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole_and_one_that_breaks_off_is_reset() {
    let ends = backend(|mut client| {
        if let Some(head) = request(&mut client) {
            let length = if head.starts_with("GET /cut") { "Content-Length: 100000\r\n" } else { "" };
            client.send(format!("HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\nwhole").as_bytes());
        }
    });
    let engine = Engine::new(&[ends]);
    assert_eq!(curl(&engine, "/", &[]), "whole");
    let url = format!("http://{}/cut", engine.address);
    let cut = Command::new("curl").args(["-sS", "--http2-prior-knowledge", &url]).output().unwrap();
    assert_eq!(cut.status.code(), Some(92), "{}", String::from_utf8_lossy(&cut.stderr));
}

#[test]
fn h2load_is_answered_to_the_last_request() {
    let engine = Engine::new(&[echo("app")]);
    let url = format!("http://{}/", engine.address);
    let load = Command::new("h2load").args(["-n2000", "-c4", "-m32", &url]).output().unwrap();
    let said = String::from_utf8_lossy(&load.stdout).into_owned();
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
}

#[test]
fn backends_are_asked_by_http2_and_trailers_come_back() {
    // An engine stands in front of another, which hears HTTP/2 and answers as its own backend does: with trailers.
    let trailing = backend(|mut client| {
        while request(&mut client).is_some() {
            client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n");
        }
    });
    let inner = Engine::new(&[trailing]);
    let pool = pool([Address::Tcp(inner.address)].into_iter(), 100);
    let route = Route { speaks: Speaks::Http2, ..Route::to(pool) };
    let outer = Engine::following(Config { front: true, limits: limits(), ..Config::default() }, route);
    let raw = outer.raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(raw.contains("\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n"), "{raw}");
    let told = Command::new("curl")
        .args(["-sS", "-v", "--http2-prior-knowledge", &format!("http://{}/", outer.address)])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&told.stderr).contains("x-sum: 7"), "{}", String::from_utf8_lossy(&told.stderr));
    assert!((0..20).all(|_| curl(&outer, "/", &[]) == "hi"));
    assert_eq!(inner.total("http2_connections_total"), 1, "streams share a connection");
    assert!(curl(&outer, "/", &["-I"]).starts_with("HTTP/2 200"));
}

/// A client that posts many requests at a time.
struct Crowd {
    frames: Frames,
    posts: u32,
}

impl Crowd {
    fn of(backends: &[SocketAddr], limits: mainstay_http::Limits) -> (Engine, Crowd) {
        let settings = Settings { reuse: Reuse::Lively, ..Settings::default() };
        let pool = pool_of(backends.iter().copied().map(Address::Tcp), settings);
        let engine = Engine::start(Vec::new(), pool, Speaks::Http, limits);
        let frames = Frames::connect(&engine);
        (engine, Crowd { frames, posts: 0 })
    }

    /// Posts so many requests to backends that were silent for a while, which all are answered.
    fn posts(&mut self, count: u32) {
        pass(Duration::from_millis(10));
        let post = head(b"POST", b"/", &[]);
        let streams = (self.posts..self.posts + count).map(|number| number * 2 + 1);
        self.frames.send_all(streams.map(|stream| (HEADERS, END_HEADERS | END_STREAM, stream, post.as_slice())));
        self.posts += count;
        (0..count).for_each(|_| assert_eq!(self.frames.verdict(), "200"));
    }
}

const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Of many that must not be sent twice, and whose backend was silent, one makes a connection; the others go on those that are kept
/// once it is there.
#[test]
fn one_of_many_finds_out_that_a_backend_is_there() {
    const CROWD: u32 = 50;
    let together = Barrier::new(CROWD as usize);
    let (address, opened) = counted(move |mut client| {
        while request(&mut client).is_some() {
            together.wait();
            client.send(EMPTY);
        }
    });
    let (_engine, mut crowd) = Crowd::of(&[address], limits());
    let mut opens = || {
        crowd.posts(CROWD);
        opened.load(Ordering::SeqCst)
    };
    let (mut before, began) = (opens(), Instant::now());
    assert_eq!(before, CROWD as usize);
    // On a busy machine the others come too late.
    while std::mem::replace(&mut before, opens()) + 1 != opened.load(Ordering::SeqCst) {
        assert!(began.elapsed() < PATIENCE, "each makes a connection of its own");
    }
}

/// And if it is off, the others hardly wait for him: they find out at the same time.
#[test]
fn nobody_waits_long_for_who_finds_out_that_a_backend_is_off() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let off = listener.local_addr().unwrap();
    let echo = echo("there");
    let within = Duration::from_secs(2);
    let limits = mainstay_http::Limits { connect_within: within, answer_within: within * 3, ..limits() };
    let (_engine, mut crowd) = Crowd::of(&[off, echo], limits);
    let accepted = std::thread::spawn(move || {
        let serves = (0..10).map(|_| listener.accept().unwrap().0).map(|mut stream| {
            std::thread::spawn(move || {
                stream.read_exact(&mut [0]).unwrap();
                stream.write_all(EMPTY).unwrap();
                stream
            })
        });
        let serves: Vec<_> = serves.collect();
        let kept: Vec<TcpStream> = serves.into_iter().map(|it| it.join().unwrap()).collect();
        (listener, kept)
    });
    crowd.posts(20);
    let (listener, _kept) = accepted.join().unwrap();
    // It takes no more connections: its queue is full (listen(2)).
    socket2::SockRef::from(&listener).listen(0).unwrap();
    let _queued = TcpStream::connect(off).unwrap();
    let began = Instant::now();
    crowd.posts(20);
    let took = began.elapsed();
    assert!(took > within && took < within * 7 / 4, "{took:?}");
}

/// A client that writes frames by hand.
struct Frames(TcpStream);

impl Frames {
    fn connect(engine: &Engine) -> Frames {
        let mut stream = TcpStream::connect(engine.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(PREFACE).unwrap();
        let mut frames = Frames(stream);
        frames.send(SETTINGS, 0, 0, &[]);
        frames
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send_all([(kind, flags, stream, payload)].into_iter());
    }

    /// Sends frames that come together.
    fn send_all<'p>(&mut self, frames: impl Iterator<Item = (u8, u8, u32, &'p [u8])>) {
        let mut bytes = Vec::new();
        for (kind, flags, stream, payload) in frames {
            bytes.extend(&(payload.len() as u32).to_be_bytes()[1..]);
            bytes.extend([kind, flags]);
            bytes.extend(stream.to_be_bytes());
            bytes.extend(payload);
        }
        // Whoever is refused may be cut off in the middle of it.
        let _ = self.0.write_all(&bytes);
    }

    /// The next frame's kind, flags and payload; `None` at the end.
    fn next(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).unwrap();
        Some((head[3], head[4], payload))
    }

    /// What came back for stream 1: its status, or how it was refused.
    fn verdict(&mut self) -> String {
        loop {
            match self.next() {
                None => return "closed".into(),
                Some((HEADERS, _, payload)) => return status(&payload),
                Some((RST_STREAM, ..)) => return "reset".into(),
                Some((GOAWAY, ..)) => return "goaway".into(),
                Some(_) => {}
            }
        }
    }

    /// What may be sent of a body, as soon as that is told anew (RFC 9113 § 6.5.2).
    fn window(&mut self) -> u32 {
        loop {
            let (kind, flags, payload) = self.next().unwrap();
            if kind == SETTINGS && flags != ACK {
                self.send(SETTINGS, ACK, 0, &[]);
                let told = payload.chunks(6).find(|setting| setting[..2] == [0, 4]).unwrap();
                return u32::from_be_bytes(told[2..].try_into().unwrap());
            }
        }
    }
}

/// The status at the start of a block of headers: `:status` stands in HPACK's static table (RFC 7541 appendix A).
fn status(block: &[u8]) -> String {
    match block[0] {
        0x88 => "200".into(),
        0x8c => "400".into(),
        0x8d => "404".into(),
        0x8e => "500".into(),
        other => format!("status {other:x}"),
    }
}

/// Headers as literals without compression (RFC 7541 § 6.2.2).
fn block(headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend_from_slice(text);
        }
    }
    block
}

/// The headers of a request of the host `h`, and more.
fn head(method: &'static [u8], path: &'static [u8], more: &[(&'static [u8], &'static [u8])]) -> Vec<u8> {
    let plain: [(&[u8], &[u8]); 4] =
        [(b":method", method), (b":scheme", b"http"), (b":authority", b"h"), (b":path", path)];
    block(&[&plain[..], more].concat())
}

#[test]
fn nothing_is_smuggled_through_the_translation() {
    type Headers<'h> = &'h [(&'h [u8], &'h [u8])];
    let plain: Headers<'_> = &[(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"h"), (b":path", b"/")];
    let with = |more: &[(&'static [u8], &'static [u8])]| block(&[plain, more].concat());
    let instead = |name: &[u8], value: &'static [u8]| {
        let replaced: Vec<_> = plain.iter().map(|(is, was)| (*is, if *is == name { value } else { *was })).collect();
        block(&replaced)
    };
    let odd: Vec<(&str, Vec<u8>)> = vec![
        ("a value with a line end", with(&[(b"a", b"b\r\nContent-Length: 5")])),
        ("a value with a line feed", with(&[(b"a", b"b\nX: y")])),
        ("a value with NUL", with(&[(b"a", b"b\0")])),
        ("a name with a line end", with(&[(b"a\r\nx", b"b")])),
        ("a name with a colon", with(&[(b"a: b\r\nc", b"d")])),
        ("a name in capitals", with(&[(b"Transfer-Encoding", b"chunked")])),
        ("a name with a space", with(&[(b"transfer-encoding ", b"chunked")])),
        ("an empty name", with(&[(b"", b"b")])),
        ("transfer-encoding", with(&[(b"transfer-encoding", b"chunked")])),
        ("connection", with(&[(b"connection", b"close")])),
        ("upgrade", with(&[(b"upgrade", b"websocket")])),
        ("keep-alive", with(&[(b"keep-alive", b"1")])),
        ("two lengths", with(&[(b"content-length", b"5"), (b"content-length", b"6")])),
        ("a length that is none", with(&[(b"content-length", b"+5")])),
        ("a length and an end", with(&[(b"content-length", b"5")])),
        ("a host that disagrees", with(&[(b"host", b"other")])),
        ("two hosts", with(&[(b"host", b"h"), (b"host", b"h")])),
        ("a pseudo-header at the end", with(&[(b"a", b"b"), (b":path", b"/x")])),
        ("an unknown pseudo-header", with(&[(b":other", b"b")])),
        ("a path with a space", instead(b":path", b"/ HTTP/1.1\r\nHost: x")),
        ("a path with a line end", instead(b":path", b"/\r\nX: y")),
        ("a path without a slash", instead(b":path", b"x")),
        ("an empty path", instead(b":path", b"")),
        ("a method with a space", instead(b":method", b"GET / HTTP/1.1\r\n")),
        ("a method with a line end", instead(b":method", b"GET\r\n")),
        ("CONNECT", instead(b":method", b"CONNECT")),
        ("an authority with a user", instead(b":authority", b"a@h")),
        ("an authority with a slash", instead(b":authority", b"h/x")),
        ("an authority with a line end", instead(b":authority", b"h\r\nX: y")),
        ("no path", block(&[(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"h")])),
        ("no host at all", block(&[(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")])),
    ];
    let engine = Engine::new(&[echo("app")]);
    let mut served = Vec::new();
    for (what, block) in odd {
        let mut frames = Frames::connect(&engine);
        frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &block);
        let verdict = frames.verdict();
        if verdict == "200" {
            served.push(what);
        }
    }
    assert!(served.is_empty(), "{served:?}");
    let asked = engine.pool.backends().map(|(_, figures)| figures.requests.load(Ordering::SeqCst)).sum::<u64>();
    assert_eq!(asked, 0, "a backend saw some of it");
    let mut frames = Frames::connect(&engine);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &block(plain));
    assert_eq!(frames.verdict(), "200", "what is well-formed passes");
}

#[test]
fn a_body_that_is_not_as_long_as_it_said_never_ends_well() {
    let engine = Engine::new(&[measuring()]);
    for body in [b"1234".as_slice(), b"123456"] {
        let mut frames = Frames::connect(&engine);
        frames.send(HEADERS, END_HEADERS, 1, &head(b"POST", b"/", &[(b"content-length", b"5")]));
        frames.send(0, END_STREAM, 1, body);
        let verdict = frames.verdict();
        assert!(["reset", "goaway", "closed", "400"].contains(&verdict.as_str()), "{verdict}");
    }
}

#[test]
fn an_end_behind_the_body_is_waited_for() {
    let engine = Engine::new(&[measuring()]);
    let mut frames = Frames::connect(&engine);
    frames.send(HEADERS, END_HEADERS, 1, &head(b"POST", b"/", &[(b"content-length", b"5")]));
    frames.send(0, 0, 1, b"12345");
    assert_eq!(frames.verdict(), "200");
    // Whoever is cut off gets its RST_STREAM before the answer to a later request.
    let get = head(b"GET", b"/", &[]);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 3, &get);
    assert_eq!(frames.verdict(), "200");
    frames.send(0, END_STREAM, 1, b"");
    frames.send(HEADERS, END_STREAM | END_HEADERS, 5, &get);
    assert_eq!(frames.verdict(), "200");
}

#[test]
fn a_client_may_send_much_only_while_it_has_a_large_body() {
    let silent = backend(|mut client| while client.reader().read(&mut [0; 64]).is_ok_and(|count| count > 0) {});
    let engine = Engine::with(&[silent], mainstay_http::Limits { progress_within: PATIENCE, ..limits() });
    let mut frames = Frames::connect(&engine);
    assert_eq!(frames.window(), 64 << 10);
    for stream in [1, 3] {
        frames.send(HEADERS, END_HEADERS, stream, &head(b"POST", b"/", &[(b"content-length", b"10000000")]));
        assert_eq!(frames.window(), 1 << 20);
        frames.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        assert_eq!(frames.window(), 64 << 10);
    }
}

/// Who reads slowly has little of a large answer before a small one that he asks for meanwhile.
#[test]
fn a_small_answer_does_not_wait_behind_a_large_one() {
    let (_root, engine) = with_large_file(16 << 20);
    let mut frames = Frames::connect(&engine);
    socket2::SockRef::from(&frames.0).set_recv_buffer_size(64 << 10).unwrap();
    // All that may be sent at once: on each stream, and of the connection beyond what it has (RFC 9113 § 6.9.2).
    frames.send(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    frames.send(WINDOW_UPDATE, 0, 0, &(i32::MAX - 65_535).to_be_bytes());
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &head(b"GET", b"/static/large.bin", &[]));
    let mut come = 0;
    while come < 4 << 20 {
        let (kind, _, payload) = frames.next().unwrap();
        come += if kind == DATA { payload.len() } else { 0 };
    }
    // Until all buffers on the way are full, and again until it is answered, behind what is in them.
    let pause = Duration::from_millis(300);
    pass(pause);
    frames.send(HEADERS, END_HEADERS | END_STREAM, 3, &head(b"GET", b"/", &[]));
    pass(pause);
    let mut before = 0;
    loop {
        match frames.next().unwrap() {
            (HEADERS, ..) => break,
            (DATA, _, payload) => before += payload.len(),
            _ => {}
        }
    }
    assert!(before < 512 << 10, "it came behind {before} bytes");
}

#[test]
fn floods_end_their_connection_and_no_other() {
    let engine = Engine::new(&[echo("app")]);
    let get = head(b"GET", b"/", &[]);
    type Send<'s> = &'s dyn Fn(&mut Frames, u32);
    let floods: [(&str, Send<'_>); 6] = [
        ("ping", &|frames, _| frames.send(6, 0, 0, &[0; 8])),
        ("settings", &|frames, _| frames.send(4, 0, 0, &[])),
        ("priority", &|frames, _| frames.send(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("window", &|frames, _| frames.send(8, 0, 0, &[0, 0, 0, 1])),
        ("rapid reset", &|frames, number| {
            let stream = number * 2 + 1;
            frames.send(HEADERS, END_STREAM | END_HEADERS, stream, &get);
            frames.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        }),
        ("continuation", &|frames, number| {
            if number == 0 {
                frames.send(HEADERS, END_STREAM, 1, &get);
            }
            frames.send(9, 0, 1, &[0, 1, b'a', 1, b'b']);
        }),
    ];
    for (what, send) in floods {
        let mut frames = Frames::connect(&engine);
        (0..20_000).for_each(|number| send(&mut frames, number));
        let mut rest = Vec::new();
        // A reset instead of an end is as good.
        let _ = frames.0.read_to_end(&mut rest);
        until(what, || engine.total("connections_open") == 0);
        assert!(curl(&engine, "/", &[]).contains("app"), "{what}");
        until(what, || engine.total("connections_open") == 0);
    }
    assert!(engine.total("http2_floods_total") >= 4, "{:?}", engine.counters.totals());
}

#[test]
fn a_client_that_cancels_frees_its_backend() {
    let silent = backend(|mut client| {
        request(&mut client);
        let _ = client.reader().read(&mut [0]);
    });
    let engine = Engine::with(&[silent], mainstay_http::Limits { answer_within: PATIENCE, ..limits() });
    let mut frames = Frames::connect(&engine);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &head(b"GET", b"/", &[]));
    until("it is asked", || engine.outstanding() == 1);
    frames.send(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    until("it is let go", || engine.outstanding() == 0);
}

#[test]
fn what_is_in_flight_is_answered_when_the_engine_ends() {
    let (began, go) =
        (std::sync::Arc::new(std::sync::Barrier::new(2)), std::sync::Arc::new(std::sync::Barrier::new(2)));
    let (begins, goes) = (began.clone(), go.clone());
    let slow = backend(move |mut client| {
        request(&mut client);
        begins.wait();
        goes.wait();
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let engine = Engine::with(&[slow], mainstay_http::Limits { answer_within: PATIENCE, ..limits() });
    let url = format!("http://{}/", engine.address);
    let curl = std::thread::spawn(move || Command::new("curl").args(["-sS", "--http2-prior-knowledge", &url]).output());
    began.wait();
    engine.stop();
    go.wait();
    assert_eq!(curl.join().unwrap().unwrap().stdout, b"ok");
}
