//! With PHP itself (Debian's php-cgi), over a Unix socket; and the variables by themselves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;
use crate::codec::{HeadLimits, Request};

/// Longer than any of these scripts takes; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const PAGE: &str = r#"<?php
if ($_GET['big'] ?? 0) { echo str_repeat('0123456789abcdef', 65536); exit; }
if ($_GET['gone'] ?? 0) { http_response_code(404); header('X-Why: gone'); echo 'gone'; exit; }
if ($_GET['away'] ?? 0) { header('Location: /there'); exit; }
if ($_GET['complain'] ?? 0) { error_log('a complaint'); }
header('Content-Type: text/plain');
foreach ($_SERVER as $name => $value) { if (is_string($value)) { echo "$name=$value\n"; } }
echo 'GET=', json_encode($_GET), "\n", 'POST=', json_encode(array_map('strlen', $_POST)), "\n";
echo 'BODY=', md5(file_get_contents('php://input')), "\n";
"#;

/// A PHP that listens, killed when dropped.
struct Php {
    child: Child,
    folder: tempfile::TempDir,
}

impl Php {
    /// FastCGI § 2.2: an application finds its listening socket at descriptor 0. So nobody has to wait for it.
    fn start() -> Php {
        Php::with("cgi.fix_pathinfo=0")
    }

    fn with(setting: &str) -> Php {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("page.php"), PAGE).unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let child = Command::new("php-cgi")
            .args(["-n", "-d", "log_errors=1", "-d", "display_errors=0", "-d", setting])
            .env_clear()
            .env("PHP_FCGI_CHILDREN", "0")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs php-cgi: apt-get install php-cgi");
        Php { child, folder }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.path().join("s")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[derive(Debug)]
struct Answer {
    head: String,
    cgi: CgiHead,
    body: Vec<u8>,
    stderr: String,
    app_status: u32,
}

impl Answer {
    /// What the page printed as `name=value`.
    fn variables(&self) -> BTreeMap<String, String> {
        let text = String::from_utf8(self.body.clone()).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

fn request(text: &str) -> Request {
    let mut request = Request::default();
    let read = request.read(text.as_bytes(), &HeadLimits::default()).unwrap();
    assert_eq!(read, Some(text.len()));
    request
}

const FAR: Gateway<'_> = Gateway {
    traceparent: b"",
    tracestate: true,
    peer: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 80, 0, 11)), 40_000),
    local: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 80, 0, 21)), 9000),
    trusted: true,
    encrypted: false,
    via: "app=server1",
    body_bytes: None,
};

fn script(root: &Path) -> Script {
    Script { root: root.to_owned(), file: root.join("page.php"), name: "/page.php".into(), info: "/more".into() }
}

/// One exchange on `stream`, which stays open if `keep`.
fn ask(php: &Php, stream: &mut UnixStream, head: &str, body_bytes: &[u8], keep: bool) -> Answer {
    let mut wire = Vec::new();
    let params = Params::of(&request(head), &script(php.folder.path()), &FAR);
    begin(&params, keep, &mut wire);
    body(body_bytes, &mut wire);
    end(&mut wire);
    stream.write_all(&wire).unwrap();
    receive(stream)
}

fn receive(stream: &mut UnixStream) -> Answer {
    let (mut decoder, mut stdout, mut stderr, mut ended) = (Decoder::default(), Vec::new(), Vec::new(), None);
    let mut buffer = vec![0; 10_000];
    while ended.is_none() {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "PHP closed the connection in the middle of its answer");
        let taken = decoder.feed(&buffer[..length], |event| match event {
            Event::Stdout(range) => stdout.extend_from_slice(&buffer[range]),
            Event::Stderr(range) => stderr.extend_from_slice(&buffer[range]),
            Event::End { app_status, protocol } => ended = Some((app_status, protocol)),
        });
        assert_eq!(taken, Ok(length));
    }
    let (app_status, protocol) = ended.unwrap();
    assert_eq!(protocol, Protocol::Complete);
    let mut head = Vec::new();
    let cgi = CgiHead::read(&stdout, &HeadLimits::default(), &mut head).unwrap().unwrap();
    let (head, body) = (String::from_utf8(head).unwrap(), stdout[cgi.taken..].to_vec());
    Answer { head, cgi, body, stderr: String::from_utf8(stderr).unwrap(), app_status }
}

#[test]
fn php_answers_twice_on_one_connection() {
    for setting in ["cgi.fix_pathinfo=0", "cgi.fix_pathinfo=1"] {
        twice_on_one_connection(&Php::with(setting));
    }
}

fn twice_on_one_connection(php: &Php) {
    let mut stream = php.connect();
    let head = "GET /page.php/more?a=1&b=%20x HTTP/1.1\r\nHost: www.foobar.com:8080\r\nX-Forwarded-For: 192.0.2.7\r\n\
                X-Forwarded-Proto: https\r\nX-Mainstay-Via: balancer=lb1, web=server1\r\nProxy: http://evil/\r\n\r\n";
    let first = ask(php, &mut stream, head, b"", true);
    assert!(first.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", first.head);
    assert!(first.head.contains("Content-type: text/plain;charset=UTF-8\r\n"), "{}", first.head);
    assert_eq!((first.cgi.status, first.cgi.length, first.app_status), (200, None, 0));
    let said = first.variables();
    for (name, value) in [
        ("GET", r#"{"a":"1","b":" x"}"#),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/page.php/more?a=1&b=%20x"),
        ("SCRIPT_NAME", "/page.php"),
        ("PATH_INFO", "/more"),
        ("SERVER_NAME", "www.foobar.com"),
        ("SERVER_PORT", "8080"),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("HTTPS", "on"),
        ("HTTP_HOST", "www.foobar.com:8080"),
        ("HTTP_X_MAINSTAY_VIA", "balancer=lb1, web=server1, app=server1"),
    ] {
        assert_eq!(said.get(name).map(String::as_str), Some(value), "{name} in {said:#?}");
    }
    assert!(!said.contains_key("HTTP_PROXY"), "{said:#?}");
    let second = ask(php, &mut stream, "GET /page.php?gone=1 HTTP/1.1\r\nHost: a\r\n\r\n", b"", false);
    assert_eq!((second.cgi.status, second.body.as_slice()), (404, b"gone".as_slice()));
    assert!(second.head.starts_with("HTTP/1.1 404 Not Found\r\n") && second.head.contains("X-Why: gone\r\n"));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "a connection that was not to be kept is closed");
}

#[test]
fn php_reads_a_body() {
    let php = Php::start();
    // More than one record holds.
    let form = format!("name=value&long={}", "x".repeat(200_000));
    let head = format!(
        "POST /page.php HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n",
        form.len()
    );
    let said = ask(&php, &mut php.connect(), &head, form.as_bytes(), true).variables();
    assert_eq!(said["POST"], r#"{"name":5,"long":200000}"#);
    assert_eq!(said["CONTENT_LENGTH"], form.len().to_string());
}

#[test]
fn php_answers_at_length_and_complains() {
    let php = Php::start();
    let mut stream = php.connect();
    let big = ask(&php, &mut stream, "GET /page.php?big=1 HTTP/1.1\r\nHost: a\r\n\r\n", b"", true);
    assert_eq!(big.body.len(), 1 << 20);
    assert!(big.body.chunks(16).all(|piece| piece == b"0123456789abcdef"));
    let away = ask(&php, &mut stream, "GET /page.php?away=1 HTTP/1.1\r\nHost: a\r\n\r\n", b"", true);
    assert_eq!(away.cgi.status, 302);
    assert!(away.head.contains("Location: /there\r\n"), "{}", away.head);
    let complaint = ask(&php, &mut stream, "GET /page.php?complain=1 HTTP/1.1\r\nHost: a\r\n\r\n", b"", true);
    assert!(complaint.stderr.contains("a complaint"), "{complaint:?}");
}

/// The variables as they stand on the wire, read back.
fn variables(head: &str, gateway: &Gateway<'_>) -> Vec<(String, String)> {
    let params = Params::of(&request(head), &script(Path::new("/srv")), gateway);
    let mut bytes = params.as_bytes();
    let length = |bytes: &mut &[u8]| {
        let long = bytes[0] >= 0x80;
        let (head, rest) = bytes.split_at(if long { 4 } else { 1 });
        *bytes = rest;
        head.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)) & if long { 0x7fff_ffff } else { 0x7f }
    };
    let mut pairs = Vec::new();
    while !bytes.is_empty() {
        let (name, value) = (length(&mut bytes), length(&mut bytes));
        let text = |range: std::ops::Range<usize>| String::from_utf8(bytes[range].to_vec()).unwrap();
        pairs.push((text(0..name), text(name..name + value)));
        bytes = &bytes[name + value..];
    }
    pairs
}

#[test]
fn every_variable_of_a_plain_request() {
    let near = Gateway { trusted: false, via: "", body_bytes: Some(7), ..FAR };
    let head = "GET /page.php/more?q HTTP/1.1\r\nHost: foobar.com\r\nX-Forwarded-For: 1.2.3.4\r\n\
                X-Forwarded-Proto: https\r\nExpect: 100-continue\r\n\r\n";
    let pairs = variables(head, &near);
    let lines: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        lines,
        [
            "DOCUMENT_ROOT=/srv",
            "SCRIPT_FILENAME=/srv/page.php",
            "SCRIPT_NAME=/page.php",
            "PATH_INFO=/more",
            "DOCUMENT_URI=/page.php/more",
            "REQUEST_METHOD=GET",
            "REQUEST_URI=/page.php/more?q",
            "QUERY_STRING=q",
            "CONTENT_LENGTH=7",
            "GATEWAY_INTERFACE=CGI/1.1",
            "SERVER_SOFTWARE=mainstay",
            "SERVER_PROTOCOL=HTTP/1.1",
            "REDIRECT_STATUS=200",
            "REQUEST_SCHEME=http",
            "SERVER_ADDR=10.80.0.21",
            "SERVER_NAME=foobar.com",
            "SERVER_PORT=80",
            "REMOTE_ADDR=10.80.0.11",
            "REMOTE_PORT=40000",
            "HTTP_HOST=foobar.com",
            "HTTP_X_FORWARDED_FOR=1.2.3.4",
            "HTTP_X_FORWARDED_PROTO=https",
        ]
    );
}

#[test]
fn headers_become_variables_once_and_never_another() {
    let long = "v".repeat(300);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nProxy: x\r\npRoXy: x\r\nX_Forwarded_Proto: https\r\nX-A: 1\r\nx-a: 2\r\n\
         Cookie: a=1\r\nCookie: b=2\r\nAuthorization: Basic eA==\r\nContent-Type: t/p\r\nContent-Length: 5\r\n\
         Connection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nX!: 1\r\nLong: {long}\r\n\r\n"
    );
    let pairs = variables(&head, &FAR);
    let http: Vec<_> = pairs.iter().filter(|(name, _)| name.starts_with("HTTP_")).cloned().collect();
    let expected = [
        ("HTTP_HOST", "a"),
        ("HTTP_X_A", "1, 2"),
        ("HTTP_COOKIE", "a=1; b=2"),
        ("HTTP_AUTHORIZATION", "Basic eA=="),
        ("HTTP_LONG", &long),
        ("HTTP_X_MAINSTAY_VIA", "app=server1"),
    ];
    assert_eq!(http, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for pair in [("CONTENT_TYPE", "t/p"), ("CONTENT_LENGTH", "5")] {
        assert!(pairs.contains(&(pair.0.to_owned(), pair.1.to_owned())), "{pairs:?}");
    }
    let mut names: Vec<_> = pairs.iter().map(|(name, _)| name).collect();
    names.sort();
    assert!(names.is_sorted_by(|one, next| one < next), "no variable comes twice: {names:?}");
}

#[test]
fn the_visitors_host_is_believed_of_a_tier_of_ours_alone() {
    let head = "GET / HTTP/1.1\r\nHost: 10.80.0.11:8000\r\nX-Forwarded-Host: www.foobar.com\r\n\
                X-Forwarded-Proto: https\r\n\r\n";
    for (trusted, told) in [
        (true, [("HTTP_HOST", "www.foobar.com"), ("SERVER_NAME", "www.foobar.com"), ("SERVER_PORT", "443")]),
        (false, [("HTTP_HOST", "10.80.0.11:8000"), ("SERVER_NAME", "10.80.0.11"), ("SERVER_PORT", "8000")]),
    ] {
        let pairs = variables(head, &Gateway { trusted, ..FAR });
        for (name, value) in told {
            assert!(pairs.contains(&(name.to_owned(), value.to_owned())), "{name} in {pairs:?}");
        }
    }
}
