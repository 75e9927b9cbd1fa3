//! The cache, between clients and an origin that says what a test wants.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use mainstay_http::{Address, Cache, CacheSettings, Config, Route};

use crate::engine::{Answer, Client, Engine, PATIENCE, backend, counted, limits, pool, request, value};

/// An origin that remembers what it was asked.
struct Origin {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    /// `answer` gets the number of the request, from 1, and its head. Where it is empty, the origin closes.
    fn new(answer: impl Fn(usize, &str) -> String + Send + Sync + 'static) -> Origin {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let heard = asked.clone();
        let address = backend(move |mut client| {
            while let Some(head) = request(&mut client) {
                if let Some(length) = value(&head, "content-length") {
                    let mut body = vec![0; length.parse().unwrap()];
                    std::io::Read::read_exact(client.reader(), &mut body).unwrap();
                }
                let number = {
                    let mut heard = heard.lock().unwrap();
                    heard.push(head.clone());
                    heard.len()
                };
                let answer = answer(number, &head);
                client.send(answer.as_bytes());
                if answer.is_empty() || answer.contains("Connection: close") {
                    return;
                }
            }
        });
        Origin { address, asked }
    }

    /// One that answers every request alike, but for its number in the body.
    fn saying(lines: &'static str) -> Origin {
        Origin::new(move |number, _| answer(200, lines, &format!("answer {number}")))
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn last(&self) -> String {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

fn answer(status: u16, lines: &str, body: &str) -> String {
    let length = if status == 304 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("HTTP/1.1 {status} Said\r\n{lines}{length}\r\n{body}")
}

/// An engine with a cache before `origin`.
struct Bench {
    engine: Engine,
    cache: Arc<Cache>,
}

impl Bench {
    fn new(origin: &Origin) -> Bench {
        Bench::with(origin, CacheSettings::default())
    }

    fn with(origin: &Origin, settings: CacheSettings) -> Bench {
        let cache = Cache::new(settings);
        let pool = pool([Address::Tcp(origin.address)].into_iter(), 100);
        let config = Config { front: true, limits: limits(), ..Config::default() };
        let engine = Engine::following(config, Route { cache: Some(cache.clone()), ..Route::to(pool) });
        Bench { engine, cache }
    }

    /// A request for `/` with further header lines, on a connection of its own.
    fn get(&self, lines: &str) -> Answer {
        self.ask("GET", "/", lines)
    }

    fn ask(&self, method: &str, target: &str, lines: &str) -> Answer {
        let mut client = self.connect(method, target, lines);
        match method {
            "HEAD" => {
                let head = client.head();
                Answer { status: head[9..12].parse().unwrap(), head, body: Vec::new() }
            }
            _ => client.answer(),
        }
    }

    fn connect(&self, method: &str, target: &str, lines: &str) -> Client {
        let mut client = self.engine.connect();
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes());
        client
    }

    fn total(&self, name: &str) -> u64 {
        self.cache.totals()[name]
    }
}

fn body(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

fn told(answer: &Answer) -> &str {
    value(&answer.head, "cache-status").unwrap_or_default()
}

fn until(what: &str, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        thread::yield_now();
    }
}

const FRESH: &str = "Cache-Control: max-age=60\r\nETag: \"a\"\r\n";

#[test]
fn what_is_fresh_is_given_again() {
    let origin = Origin::saying(FRESH);
    let bench = Bench::new(&origin);
    let first = bench.get("");
    assert_eq!((first.status, body(&first), told(&first)), (200, "answer 1", "mainstay; fwd=uri-miss; stored"));
    assert!(value(&first.head, "age").is_none() && origin.last().contains("Surrogate-Capability: mainstay="));
    let again = bench.get("Cookie: a=b\r\n");
    assert_eq!((again.status, body(&again), told(&again)), (200, "answer 1", "mainstay; hit; ttl=60"));
    assert_eq!(value(&again.head, "age"), Some("0"));
    let head = bench.ask("HEAD", "/", "");
    assert_eq!((head.status, value(&head.head, "content-length")), (200, Some("8")));
    let known = bench.get("If-None-Match: \"a\"\r\n");
    assert_eq!((known.status, body(&known), value(&known.head, "etag")), (304, "", Some("\"a\"")));
    let part = bench.get("Range: bytes=0-5\r\n");
    assert_eq!((part.status, body(&part), value(&part.head, "content-range")), (206, "answer", Some("bytes 0-5/8")));
    assert_eq!(origin.count(), 1);
    assert_eq!((bench.total("cache_hits_total"), bench.total("cache_misses_total")), (4, 1));
    assert_eq!(body(&bench.ask("GET", "/?other", "")), "answer 2", "another address");
}

#[test]
fn hits_follow_each_other_on_one_connection() {
    let origin = Origin::saying(FRESH);
    let bench = Bench::new(&origin);
    let mut client = bench.engine.connect();
    for _ in 0..5 {
        assert_eq!(body(&client.get("/")), "answer 1");
    }
    client.send(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    let old = client.rest();
    assert!(old.contains("Connection: close\r\n") && old.ends_with("answer 1"), "{old}");
}

#[test]
fn what_is_private_passes_each_time() {
    for lines in [
        "",
        "Cache-Control: private, max-age=60\r\n",
        "Cache-Control: no-store\r\n",
        "Cache-Control: public, max-age=60\r\nSet-Cookie: a=b\r\n",
        "Cache-Control: max-age=60\r\nVary: *\r\n",
    ] {
        let origin = Origin::saying(lines);
        let bench = Bench::new(&origin);
        for number in 1..=3 {
            let answer = bench.get("");
            assert_eq!(
                (body(&answer), told(&answer)),
                (&format!("answer {number}")[..], "mainstay; fwd=uri-miss"),
                "{lines}"
            );
        }
        assert_eq!(bench.total("cache_stored_total"), 0, "{lines}");
    }
    let origin = Origin::saying(FRESH);
    let bench = Bench::new(&origin);
    for number in 1..=2 {
        let answer = bench.get("Authorization: Basic eA==\r\n");
        assert_eq!(body(&answer), format!("answer {number}"), "who says who he is gets an answer of his own");
    }
}

#[test]
fn what_is_only_guessed_to_be_fresh_is_not_for_visitors_with_cookies() {
    let origin = Origin::saying("Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT\r\n");
    let bench = Bench::new(&origin);
    assert_eq!(body(&bench.get("Cookie: a=b\r\n")), "answer 1");
    assert_eq!(body(&bench.get("")), "answer 2");
    assert_eq!(body(&bench.get("")), "answer 2");
    let personal = bench.get("Cookie: a=b\r\n");
    assert_eq!((body(&personal), told(&personal)), ("answer 3", ""));
}

#[test]
fn variants() {
    let origin = Origin::new(|number, _| answer(200, &format!("{FRESH}Vary: Foo\r\n"), &format!("answer {number}")));
    let bench = Bench::new(&origin);
    assert_eq!(body(&bench.get("Foo: 1\r\n")), "answer 1");
    let other = bench.get("Foo: 2\r\n");
    assert_eq!((body(&other), told(&other)), ("answer 2", "mainstay; fwd=vary-miss; stored"));
    assert_eq!(body(&bench.get("Foo: 1\r\n")), "answer 1");
    assert_eq!(body(&bench.get("Foo: 2\r\n")), "answer 2");
}

#[test]
fn a_write_takes_out_what_it_changes() {
    let origin = Origin::new(|number, head| match () {
        () if head.starts_with("POST /fails") => answer(500, "", "no"),
        () if head.starts_with("POST") => answer(303, "Location: /b\r\nContent-Location: http://elsewhere/c\r\n", ""),
        () => answer(200, FRESH, &format!("answer {number}")),
    });
    let bench = Bench::new(&origin);
    let all = || ["/a", "/b", "/c"].map(|target| body(&bench.ask("GET", target, "")).to_owned());
    assert_eq!(all(), ["answer 1", "answer 2", "answer 3"]);
    bench.ask("POST", "/fails", "Content-Length: 0\r\n");
    bench.ask("POST", "/a", "Content-Length: 0\r\n");
    assert_eq!(all(), ["answer 6", "answer 7", "answer 3"]);
}

#[test]
fn what_is_stale_is_asked_about() {
    let lines = "Cache-Control: no-cache\r\nETag: \"a\"\r\nX-Count: ";
    let origin = Origin::new(move |number, head| match head.contains("If-None-Match: \"a\"") {
        true if number == 5 => answer(304, "Set-Cookie: a=b\r\n", ""),
        true => answer(304, &format!("{lines}{number}\r\n"), ""),
        false => answer(200, &format!("{lines}{number}\r\n"), "the body"),
    });
    let bench = Bench::new(&origin);
    bench.get("");
    let again = bench.get("If-None-Match: \"z\"\r\nRange: bytes=0-2\r\nIf-Range: \"a\"\r\n");
    assert!(!origin.last().contains("\"z\"") && !origin.last().contains("Range"), "{}", origin.last());
    assert_eq!((again.status, body(&again), value(&again.head, "x-count")), (206, "the", Some("2")));
    assert_eq!(told(&again), "mainstay; fwd=stale; fwd-status=304; ttl=0");
    let third = bench.get("");
    assert_eq!((third.status, body(&third), value(&third.head, "x-count")), (200, "the body", Some("3")));
    assert_eq!(bench.get("If-None-Match: \"a\"\r\n").status, 304);
    let personal = bench.get("");
    assert_eq!((body(&personal), value(&personal.head, "set-cookie")), ("the body", Some("a=b")));
    let anew = bench.get("");
    assert_eq!((told(&anew), bench.total("cache_revalidated_total")), ("mainstay; fwd=uri-miss; stored", 4));
}

#[test]
fn clients_have_wishes() {
    let origin = Origin::saying(FRESH);
    let bench = Bench::new(&origin);
    let none = bench.get("Cache-Control: only-if-cached\r\n");
    assert_eq!((none.status, origin.count()), (504, 0));
    assert_eq!(body(&bench.get("Cache-Control: no-store\r\n")), "answer 1");
    assert_eq!(body(&bench.get("")), "answer 2", "the first was not to be stored");
    let anew = bench.get("Cache-Control: no-cache\r\n");
    assert_eq!((body(&anew), told(&anew)), ("answer 3", "mainstay; fwd=request; stored"));
    assert!(origin.last().contains("If-None-Match: \"a\""));
    assert_eq!(body(&bench.get("Cache-Control: only-if-cached\r\n")), "answer 3");
    assert_eq!(body(&bench.get("Cache-Control: min-fresh=100\r\n")), "answer 4");
    assert_eq!(body(&bench.get("If-Match: \"a\"\r\n")), "answer 5", "that is for the origin to decide");
}

/// What several clients get who ask at the same time, while the origin waits for all of them.
fn together(lines: &'static str, clients: usize) -> (Vec<String>, Bench, Origin) {
    let open = Arc::<AtomicBool>::default();
    let origin = Origin::new({
        let open = open.clone();
        move |number, _| {
            until("the others wait", || open.load(Ordering::SeqCst));
            answer(200, lines, &format!("answer {number}"))
        }
    });
    let bench = Bench::new(&origin);
    let mut waiting: Vec<Client> = (0..clients).map(|_| bench.connect("GET", "/", "")).collect();
    until("all but one wait", || bench.total("cache_collapsed_total") == clients as u64 - 1);
    open.store(true, Ordering::SeqCst);
    let mut bodies: Vec<String> = waiting.iter_mut().map(|client| body(&client.answer()).to_owned()).collect();
    bodies.sort();
    (bodies, bench, origin)
}

#[test]
fn one_fetches_and_the_others_wait() {
    let (bodies, bench, origin) = together(FRESH, 8);
    assert_eq!((bodies, origin.count()), (vec!["answer 1".to_owned(); 8], 1));
    assert_eq!((bench.total("cache_misses_total"), bench.total("cache_hits_total")), (1, 7));
}

#[test]
fn nobody_waits_long_for_what_is_not_stored() {
    let (bodies, bench, origin) = together("Cache-Control: private\r\n", 8);
    let each: Vec<String> = (1..=8).map(|number| format!("answer {number}")).collect();
    assert_eq!((bodies, origin.count()), (each, 8));
    let collapsed = bench.total("cache_collapsed_total");
    bench.get("");
    assert_eq!(bench.total("cache_collapsed_total"), collapsed);
}

#[test]
fn a_client_that_leaves_takes_only_itself_away() {
    let origin = Origin::new(|number, _| match number {
        // The rest never comes. Of so much that it is not waited for.
        1 => format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 90000\r\n\r\nhalf"),
        _ => answer(200, FRESH, "the whole"),
    });
    let bench = Bench::new(&origin);
    let mut first = bench.connect("GET", "/", "");
    first.head();
    let mut second = bench.connect("GET", "/", "");
    until("the second waits", || bench.total("cache_collapsed_total") == 1);
    drop(first);
    assert_eq!(body(&second.answer()), "the whole");
    assert_eq!(body(&bench.get("")), "the whole");
}

#[test]
fn what_broke_off_is_not_stored() {
    let origin = Origin::new(|number, _| match number {
        1 => format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 90000\r\nConnection: close\r\n\r\nhalf"),
        2 => String::new(),
        _ => answer(200, FRESH, "the whole"),
    });
    let bench = Bench::new(&origin);
    let broken = bench.connect("GET", "/", "").rest();
    assert!(broken.ends_with("half"), "{broken}");
    until("it is tried again", || {
        let answer = bench.get("");
        answer.status == 200 && body(&answer) == "the whole"
    });
}

#[test]
fn a_stale_answer_is_given_while_it_is_asked_for_anew() {
    let lines = "Cache-Control: max-age=0, stale-while-revalidate=60\r\nETag: \"a\"\r\n";
    let origin = Origin::saying(lines);
    let bench = Bench::new(&origin);
    assert_eq!(body(&bench.get("")), "answer 1");
    let stale = bench.get("");
    assert_eq!((body(&stale), told(&stale)), ("answer 1", "mainstay; hit; ttl=0"));
    until("it was asked for anew", || body(&bench.get("")) != "answer 1");
    assert!(origin.asked.lock().unwrap()[1].contains("If-None-Match: \"a\""));
    assert!(bench.total("cache_stale_total") >= 2);
    assert!(bench.engine.pool.backends().all(|(_, figures)| figures.failures.load(Ordering::SeqCst) == 0));
}

#[test]
fn a_stale_answer_stands_in_for_one_that_fails() {
    let lines = "Cache-Control: max-age=0, stale-if-error=60\r\nETag: \"a\"\r\n";
    let origin = Origin::new(move |number, _| match number {
        1 => answer(200, lines, "what was"),
        2 => answer(503, "", "not now"),
        3..=5 => String::new(),
        6 => answer(404, "", "gone"),
        _ => answer(503, "", "not now"),
    });
    let bench = Bench::new(&origin);
    bench.get("");
    for _ in 0..2 {
        let spared = bench.get("");
        assert_eq!((spared.status, body(&spared)), (200, "what was"));
        assert_eq!(told(&spared), "mainstay; fwd=stale; detail=origin-failed; ttl=0");
    }
    assert_eq!(
        (origin.count(), bench.total("cache_stale_total")),
        (5, 2),
        "a request without an answer is sent three times"
    );
    assert_eq!(bench.get("").status, 404, "an answer is an answer");
    assert_eq!(bench.get("").status, 503, "and what it replaced is gone");
}

#[test]
fn purging_by_address_and_by_tag() {
    let origin = Origin::new(|number, head| {
        let tag = if head.starts_with("GET /a") { "Cache-Tag: letters, a\r\n" } else { "Surrogate-Key: letters b\r\n" };
        answer(200, &format!("{FRESH}{tag}"), &format!("answer {number}"))
    });
    let bench = Bench::new(&origin);
    let both = || ["/a", "/b"].map(|target| body(&bench.ask("GET", target, "")).to_owned());
    assert_eq!(both(), ["answer 1", "answer 2"]);
    assert_eq!((bench.cache.purge("H", "/a"), bench.cache.purge("h", "/a")), (1, 0));
    assert_eq!(both(), ["answer 3", "answer 2"]);
    assert_eq!((bench.cache.purge_tag("b"), bench.cache.purge_tag("c")), (1, 0));
    assert_eq!(both(), ["answer 3", "answer 4"]);
    assert_eq!(bench.cache.purge_tag("letters"), 2);
    assert_eq!(both(), ["answer 5", "answer 6"]);
    assert_eq!(bench.cache.clear(), 2);
    assert_eq!((both(), bench.total("cache_purged_total")), (["answer 7".into(), "answer 8".into()], 6));
    assert_eq!((bench.cache.purge_target("/b"), bench.cache.purge_target("/")), (1, 0), "under whatever host");
    assert_eq!(both(), ["answer 7", "answer 9"]);
}

#[test]
fn bodies_of_every_framing_and_no_larger_than_allowed() {
    let origin = Origin::new(|number, head| {
        let target = head.split(' ').nth(1).unwrap();
        match target {
            "/chunks" => format!(
                "HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n2\r\n {number}\r\n0\r\nT: v\r\n\r\n"
            ),
            "/closed" => format!("HTTP/1.1 200 OK\r\n{FRESH}Connection: close\r\n\r\nall of {number}"),
            "/large" => answer(200, FRESH, &format!("{number}{}", "x".repeat(200_000))),
            _ => format!(
                "HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n30d40\r\n{number}{}\r\n0\r\n\r\n",
                "x".repeat(199_999)
            ),
        }
    });
    let bench = Bench::with(&origin, CacheSettings { memory_bytes: 1 << 20, object_bytes_max: 1 << 20 });
    assert_eq!(body(&bench.ask("GET", "/chunks", "")), "some 1");
    let stored = bench.ask("GET", "/chunks", "");
    assert_eq!((body(&stored), value(&stored.head, "content-length")), ("some 1", Some("6")));
    assert!(value(&stored.head, "transfer-encoding").is_none());
    for _ in 0..2 {
        assert_eq!(body(&bench.ask("GET", "/closed", "")), "all of 2");
    }
    for (target, number) in [("/large", b'3'), ("/large", b'4'), ("/large-chunk", b'5'), ("/large-chunk", b'6')] {
        let answer = bench.ask("GET", target, "");
        assert_eq!((answer.body[0], answer.status), (number, 200), "more than an eighth of the store");
    }
    assert!(bench.total("cache_bytes") < 4096);
}

/// The cache hears a 304 alone, and nothing of it is left on the connection.
#[test]
fn asking_whether_it_is_still_good_takes_no_connection_of_its_own() {
    let (address, opened) = counted(|mut client| {
        while let Some(head) = request(&mut client) {
            let known = value(&head, "if-none-match").is_some();
            let lines = "ETag: \"a\"\r\nCache-Control: no-cache\r\n";
            client.send(answer(if known { 304 } else { 200 }, lines, if known { "" } else { "page" }).as_bytes());
        }
    });
    let bench = Bench::new(&Origin { address, asked: Arc::default() });
    for _ in 0..5 {
        assert_eq!(body(&bench.get("")), "page");
    }
    assert_eq!((bench.total("cache_revalidated_total"), opened.load(Ordering::SeqCst)), (4, 1));
}
