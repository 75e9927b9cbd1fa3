//! Requests to FastCGI applications: a scripted one, and PHP.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use mainstay_http::fastcgi::{Script, Scripts, Target};
use mainstay_http::{Address, FastCgi, Limits, Speaks, Spool};

use crate::engine::{Client, Engine, PATIENCE, limits, pool, until, value};
use crate::framing::resident_bytes;
use crate::responder::Responder;

/// Everything is answered by one script, but `/file` and its like.
pub struct One(pub PathBuf);

impl Scripts for One {
    fn target(&self, path: &str) -> Target {
        let root = self.0.clone();
        match path {
            "/file" => Target::File(root.join("page.php")),
            "/gone" => Target::File(root.join("gone")),
            "/folder" => Target::Redirect("/folder/".into()),
            "/refused" => Target::Refused,
            "/panics" => panic!("asked to"),
            path => Target::Script(Script {
                file: root.join("page.php"),
                root,
                name: "/page.php".into(),
                info: path.trim_start_matches("/page.php").into(),
            }),
        }
    }
}

fn gateway(root: PathBuf, unheard_within: Duration) -> FastCgi {
    FastCgi { spool: Spool::new(root.clone(), 30 << 20), scripts: Box::new(One(root)), unheard_within }
}

/// An engine in front of `backends`, each of which takes one request at a time.
fn engine(backends: &[PathBuf], limits: Limits, unheard_within: Duration) -> Engine {
    let root = backends[0].parent().unwrap().to_owned();
    let pool = pool(backends.iter().cloned().map(Address::Unix), 1);
    Engine::start(Vec::new(), pool, Speaks::FastCgi(gateway(root, unheard_within)), limits)
}

fn before(responder: &Responder) -> Engine {
    engine(&[responder.socket()], limits(), PATIENCE)
}

#[test]
fn one_connection_carries_many_requests_and_params_say_what_was_asked() {
    let responder = Responder::new(|asked, line| {
        assert!(asked.params.contains("X_MAINSTAY_VIAweb=a, test=here"), "{}", asked.params);
        assert_eq!(asked.params.matches("HTTP_TRACEPARENT00-").count(), 1, "{}", asked.params);
        assert!(!asked.params.contains("0badtrace"), "{}", asked.params);
        line.answers(&format!("Content-Type: a/b\r\n\r\n{}", String::from_utf8(asked.body).unwrap()))
    });
    let engine = before(&responder);
    let mut client = engine.connect();
    for body in ["", "one", "two"] {
        let length = body.len();
        let head = "POST /page HTTP/1.1\r\nHost: h\r\nX-Mainstay-Via: web=a\r\nTraceparent: 0badtrace\r\n";
        client.send(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes());
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_slice()), (200, body.as_bytes()));
        assert!(value(&answer.head, "date").is_some(), "{}", answer.head);
    }
    drop(client);
    assert_eq!(responder.accepted(), 1);
}

#[test]
fn a_script_that_is_asked_by_its_own_server_sees_the_addresses_of_this_server() {
    let responder = Responder::new(|asked, line| {
        assert!(asked.params.contains("REMOTE_ADDR127.0.0.1"), "{}", asked.params);
        assert!(asked.params.contains("SERVER_ADDR127.0.0.1"), "{}", asked.params);
        line.answers("A: b\r\n\r\nfine")
    });
    let engine = before(&responder);
    let mut stream = UnixStream::connect(&engine.local).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("fine"), "{answer}");
}

#[test]
fn files_redirects_and_refusals_need_no_worker() {
    let responder = Responder::new(|_, line| line.answers("\r\n"));
    std::fs::write(responder.socket().with_file_name("page.php"), "text").unwrap();
    let engine = before(&responder);
    let mut client = engine.connect();
    assert_eq!(client.get("/file").body, b"text");
    assert_eq!((client.get("/gone").status, client.get("/refused").status), (404, 404));
    let moved = client.get("/folder?a=b");
    assert_eq!((moved.status, value(&moved.head, "location")), (301, Some("/folder/?a=b")));
    assert_eq!(responder.accepted(), 0);
}

#[test]
fn a_panic_costs_one_connection() {
    let responder = Responder::new(|_, line| line.answers("A: b\r\n\r\nfine"));
    let engine = before(&responder);
    let mut other = engine.connect();
    assert_eq!(other.get("/").body, b"fine");
    for lost in 1..=3 {
        assert_eq!(engine.raw(b"GET /panics HTTP/1.1\r\nHost: h\r\n\r\n"), "");
        until("it is counted", || engine.total("panics_total") == lost);
        assert_eq!(other.get("/").body, b"fine", "the same thread goes on");
    }
    until("what was lost is not counted as open", || engine.total("connections_open") == 1);
    engine.stop();
    drop(other);
    let began = Instant::now();
    drop(engine);
    assert!(began.elapsed() < limits().drain_within, "nor waited for");
}

#[test]
fn bodies_of_unknown_length_are_chunks_for_new_clients_and_end_the_connection_for_old_ones() {
    let (go, wait) = channel::<()>();
    let responder = Responder::new(move |_, line| {
        line.says("A: b\r\n\r\nfirst ");
        // The answer begins before it ends.
        wait.recv_timeout(PATIENCE).unwrap();
        line.answers("second")
    });
    let engine = before(&responder);
    let mut client = engine.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(value(&client.head(), "transfer-encoding"), Some("chunked"));
    go.send(()).unwrap();
    let mut chunks = [0; 27];
    client.reader().read_exact(&mut chunks).unwrap();
    assert_eq!(chunks.escape_ascii().to_string(), r"6\r\nfirst \r\n6\r\nsecond\r\n0\r\n\r\n");
    go.send(()).unwrap();
    let old = engine.raw(b"GET / HTTP/1.0\r\n\r\n");
    assert!(old.ends_with("\r\n\r\nfirst second") && old.contains("Connection: close"), "{old}");
}

#[test]
fn an_answer_without_a_body_has_none_whatever_is_printed() {
    let responder = Responder::new(|asked, line| {
        let status = if asked.params.contains("/304") { "304" } else { "200" };
        line.answers(&format!("Status: {status}\r\nA: b\r\n\r\nprinted"))
    });
    let engine = before(&responder);
    let mut client = engine.connect();
    client.send(b"GET /304 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 304"));
    client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.head();
    assert!(value(&head, "content-length").is_none() && value(&head, "transfer-encoding").is_none(), "{head}");
    assert_eq!(client.get("/").body, b"printed");
}

#[test]
fn what_breaks_off_is_no_silent_success_and_the_next_request_is_answered() {
    let responder = Responder::new(|asked, line| match &asked.params {
        params if params.contains("/breaks") => {
            line.says("A: b\r\n\r\nonly this");
            false
        }
        params if params.contains("/promises") => line.answers("Content-Length: 100\r\n\r\nonly this"),
        params if params.contains("/exceeds") => line.answers("Content-Length: 4\r\n\r\nonly this"),
        _ => line.answers("A: b\r\n\r\nall"),
    });
    let engine = before(&responder);
    for path in ["/breaks", "/promises"] {
        let answer = engine.raw(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert!(answer.contains("only this") && !answer.contains("\r\n0\r\n"), "{answer}");
        assert_eq!(engine.connect().get("/").body, b"all");
    }
    assert_eq!(engine.total("truncated_total"), 2);
    assert!(engine.raw(b"GET /exceeds HTTP/1.1\r\nHost: h\r\n\r\n").ends_with("\r\n\r\nonly"));
}

#[test]
fn a_wrong_answer_is_a_502() {
    for wrong in ["", "no header\r\n\r\n", "Status: 99\r\n\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"] {
        let responder = Responder::new(|_, line| {
            line.complains("PHP message: a complaint\n");
            if wrong.is_empty() { line.ends() } else { line.answers(wrong) }
        });
        let answer = before(&responder).raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 502"), "{wrong:?}: {answer}");
    }
}

#[test]
fn only_what_is_idempotent_is_sent_again() {
    let dying = Responder::new(|_, _| false);
    let well = Responder::new(|asked, line| line.answers(&format!("A: b\r\n\r\n{}", asked.body.len())));
    let engine = engine(&[dying.socket(), well.socket()], limits(), PATIENCE);
    for _ in 0..4 {
        assert_eq!(engine.connect().get("/").status, 200);
        let mut client = engine.connect();
        client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.answer().body, b"4", "the body was kept and is sent again");
    }
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let answers: Vec<String> = (0..2).map(|_| engine.raw(post)).collect();
    assert_eq!(answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 502")).count(), 1, "{answers:?}");
}

#[test]
fn a_worker_keeps_its_place_until_it_is_done_though_its_visitor_has_gone() {
    let (begun, begins) = channel::<()>();
    let (go, wait) = channel::<()>();
    let responder = Responder::new(move |asked, line| {
        if asked.params.contains("/slow") {
            begun.send(()).unwrap();
            wait.recv_timeout(PATIENCE).unwrap();
        }
        line.answers("A: b\r\n\r\ndone")
    });
    let engine = engine(&[responder.socket()], Limits { hold_within: PATIENCE, ..limits() }, PATIENCE);
    let mut gone = engine.connect();
    gone.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    begins.recv_timeout(PATIENCE).unwrap();
    drop(gone);
    until("the visitor is missed", || engine.total("client_aborts_total") == 1);
    assert_eq!(engine.outstanding(), 1, "it still works on it");
    let mut next = engine.connect();
    next.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    go.send(()).unwrap();
    assert_eq!(next.answer().body, b"done");
    assert_eq!(responder.accepted(), 1, "on the same connection");
}

#[test]
fn a_worker_that_does_not_end_is_told_of_once_its_time_is_over() {
    let responder = Responder::new(|_, line| {
        let mut byte = [0];
        line.reads(&mut byte);
        false
    });
    let engine = engine(&[responder.socket()], limits(), Duration::from_millis(100));
    assert!(engine.raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 504"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let told = async { tokio::time::timeout(PATIENCE, engine.pool.stuck(0)).await };
    assert!(runtime.block_on(told).is_ok());
    assert_eq!(engine.outstanding(), 1);
}

#[test]
fn large_bodies_are_bounded_one_by_one_and_together() {
    let responder = Responder::new(|asked, line| line.answers(&format!("A: b\r\n\r\n{}", asked.body.len())));
    let engine = engine(
        &[responder.socket()],
        Limits { progress_within: PATIENCE, body_bytes_max: 20 << 20, ..limits() },
        PATIENCE,
    );
    let put = |client: &mut Client, bytes: usize| {
        client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {bytes}\r\n\r\n").as_bytes());
    };
    let mut client = engine.connect();
    put(&mut client, (20 << 20) + 1);
    assert_eq!(client.answer().status, 413, "before it was sent");
    let chunk = [b"100000\r\n".as_slice(), &vec![7; 1 << 20], b"\r\n"].concat();
    let mut client = engine.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut out = client.reader().get_ref().try_clone().unwrap();
    // It is answered and closed while it is sent.
    (0..21).for_each(|_| drop(out.write_all(&chunk)));
    assert_eq!(client.answer().status, 413);

    // Both wait for their last byte; together they are more than may wait.
    let mut clients = [engine.connect(), engine.connect()];
    for client in &mut clients {
        put(client, 20 << 20);
        let mut out = client.reader().get_ref().try_clone().unwrap();
        let _ = std::io::copy(&mut std::io::repeat(7).take((20 << 20) - 1), &mut out);
    }
    until("one is turned away", || clients.iter().any(Client::is_answered));
    let [one, other] = &mut clients;
    let (full, waits) = if one.is_answered() { (one, other) } else { (other, one) };
    assert_eq!(full.answer().status, 503);
    waits.send(&[7]);
    assert_eq!(waits.answer().body, (20 << 20).to_string().as_bytes());
    // Their room is free again.
    let mut client = engine.connect();
    put(&mut client, 20 << 20);
    client.send(&vec![7; 20 << 20]);
    assert_eq!(client.answer().status, 200);
}

const PAGE: &str = "<?php echo strlen(file_get_contents('php://input')), ' ', md5(file_get_contents('php://input'));";

/// A PHP that listens, killed when dropped.
struct Php {
    child: Mutex<Child>,
    folder: tempfile::TempDir,
}

impl Php {
    fn start() -> Php {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("page.php"), PAGE).unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let child = Command::new("php-cgi")
            .args(["-n", "-d", "enable_post_data_reading=0"])
            .env_clear()
            .env("PHP_FCGI_CHILDREN", "0")
            // FastCGI § 2.2: an application finds its listening socket at descriptor 0.
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn()
            .expect("this test needs php-cgi: apt-get install php-cgi");
        Php { child: Mutex::new(child), folder }
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn php_gets_bodies_of_every_kind_and_memory_stays_bounded() {
    const SIZE: usize = 20 << 20;
    let php = Php::start();
    let engine = engine(&[php.folder.path().join("s")], Limits::default(), PATIENCE);
    let md5 = |bytes: &[u8]| {
        let mut child = Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let sum = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        format!("{} {}", bytes.len(), &sum[..32])
    };
    let small = engine.raw(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsmall");
    assert!(small.ends_with(&md5(b"small")), "{small}");
    let chunked = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                    3\r\nsma\r\n2\r\nll\r\n0\r\n\r\n";
    let chunked = engine.raw(chunked);
    assert!(chunked.ends_with(&md5(b"small")), "{chunked}");

    let expected = md5(&vec![7; SIZE]);
    let before = resident_bytes();
    let mut client = engine.connect();
    client.send(
        format!("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes(),
    );
    assert!(client.head().starts_with("HTTP/1.1 100"));
    let mut out = client.reader().get_ref().try_clone().unwrap();
    std::io::copy(&mut std::io::repeat(7).take(SIZE as u64), &mut out).unwrap();
    assert_eq!(String::from_utf8(client.answer().body).unwrap(), expected);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more are held");
    assert_eq!(std::fs::read_dir(php.folder.path()).unwrap().count(), 2, "the body's file has no name");
}
