//! Whom requests go to when backends differ: by fault, by speed, by visitor.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use mainstay_http::{Address, Declared, Pool, Settings, Speaks, Sticky};
use mainstay_machines::balance::Algorithm;
use mainstay_machines::outlier;

use crate::engine::{Answer, DEAD, Engine, PATIENCE, backend, limits, request, value};

/// A backend whose answers can be changed, and which counts them.
struct Back {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    answered: Arc<AtomicU64>,
}

impl Back {
    fn new(name: &'static str, takes: Duration) -> Back {
        let (status, answered) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU64::new(0)));
        let (says, counts) = (status.clone(), answered.clone());
        let address = backend(move |mut client| {
            while let Some(head) = request(&mut client) {
                let began = Instant::now();
                while let Some(left) = takes.checked_sub(began.elapsed()) {
                    park_timeout(left);
                }
                counts.fetch_add(1, Ordering::SeqCst);
                let shared =
                    if head.starts_with("GET /picture") { "Cache-Control: public, max-age=60\r\n" } else { "" };
                let length = name.len();
                let status = says.load(Ordering::SeqCst);
                client
                    .send(format!("HTTP/1.1 {status} X\r\n{shared}Content-Length: {length}\r\n\r\n{name}").as_bytes());
            }
        });
        Back { address, status, answered }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }
}

fn quick(names: &[&'static str]) -> Vec<Back> {
    names.iter().map(|name| Back::new(name, Duration::ZERO)).collect()
}

fn engine(settings: Settings, backs: &[Back]) -> Engine {
    let declared = backs.iter().enumerate().map(|(number, back)| Declared {
        name: format!("b{number}"),
        weight: 1,
        spare: false,
        address: Some(Address::Tcp(back.address)),
        well: true,
    });
    let pool = Pool::new(Settings { name: "test".into(), waiting_max: 100, ..settings }, declared.collect());
    Engine::start(Vec::new(), pool, Speaks::Http, limits())
}

/// Asks until `done`; what was answered last.
fn until(engine: &Engine, done: impl Fn(&Answer) -> bool) -> Answer {
    let (began, mut client) = (Instant::now(), engine.connect());
    loop {
        let answer = client.get("/");
        if done(&answer) {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "it never came: {answer:?}");
    }
}

#[test]
fn one_that_starts_failing_is_ejected_and_comes_back() {
    let backs = quick(&["a", "b", "c"]);
    let ejection_first = Duration::from_millis(300);
    let outliers = outlier::Config { ejection_first, ..outlier::Config::default() };
    let engine = engine(Settings { outliers: Some(outliers), ..Settings::default() }, &backs);
    backs[1].status.store(502, Ordering::SeqCst);
    until(&engine, |_| !engine.pool.ejections().is_empty());
    let ejection = &engine.pool.ejections()[0];
    assert!(ejection.backend == 1 && ejection.to_string().contains("it answered 502"), "{ejection}");
    assert_eq!(backs[1].answered(), 5, "five failures were enough");
    backs[1].status.store(200, Ordering::SeqCst);
    until(&engine, |answer| {
        assert_eq!(answer.status, 200, "nobody meets it while it is ejected");
        answer.body == b"b"
    });
    assert_eq!(engine.pool.ejections(), []);
    let (_, figures) = engine.pool.backends().nth(1).unwrap();
    assert_eq!(figures.ejections.load(Ordering::SeqCst), 1);
}

#[test]
fn faults_of_the_application_eject_nobody() {
    let backs = quick(&["a", "b"]);
    let engine = engine(Settings { outliers: Some(outlier::Config::default()), ..Settings::default() }, &backs);
    backs[0].status.store(500, Ordering::SeqCst);
    until(&engine, |_| backs[0].answered() > 20);
    assert_eq!(engine.pool.ejections(), []);
}

#[test]
fn the_slow_one_gets_less_and_not_nothing() {
    for algorithm in [Algorithm::Fastest, Algorithm::Observed, Algorithm::Predictive] {
        let backs = [Back::new("slow", Duration::from_millis(40)), Back::new("quick", Duration::from_millis(1))];
        let engine = engine(Settings { algorithm, ..Settings::default() }, &backs);
        until(&engine, |_| backs[1].answered() >= 100);
        let slow = backs[0].answered();
        assert!((1..50).contains(&slow), "{algorithm:?}: {slow} of {}", slow + backs[1].answered());
    }
}

#[test]
fn a_client_and_a_page_keep_their_backend() {
    let backs = quick(&["a", "b", "c"]);
    let by_client = engine(Settings { algorithm: Algorithm::SourceHash, ..Settings::default() }, &backs);
    let mine = by_client.connect().get("/").body;
    assert!((0..20).all(|number| by_client.connect().get(&format!("/{number}")).body == mine));
    let by_page = engine(Settings { algorithm: Algorithm::ConsistentHash, ..Settings::default() }, &backs);
    let pages: Vec<_> = (0..20).map(|number| by_page.connect().get(&format!("/{number}?q")).body).collect();
    assert!((0..20).all(|number| by_page.connect().get(&format!("/{number}")).body == pages[number]));
    assert!(pages.iter().any(|page| *page != pages[0]), "and not all the same one");
}

/// What the visitor's browser would send back.
fn cookie(answer: &Answer) -> Option<String> {
    Some(value(&answer.head, "set-cookie")?.split(';').next()?.to_owned())
}

fn get(engine: &Engine, path: &str, cookie: &str) -> Answer {
    let mut client = engine.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\nCookie: x=y; {cookie}\r\n\r\n").as_bytes());
    client.answer()
}

#[test]
fn a_visitor_stays_with_a_backend_whichever_balancer_it_meets() {
    let backs = quick(&["a", "b", "c"]);
    let sticky = |key: &[u8]| Settings { sticky: Some(Sticky::new("stay", key)), ..Settings::default() };
    let one = engine(sticky(b"key"), &backs);
    let first = one.connect().get("/");
    let set = value(&first.head, "set-cookie").unwrap();
    assert!(set.starts_with("stay=") && set.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{set}");
    let mine = cookie(&first).unwrap();
    let other = engine(sticky(b"key"), &backs);
    for engine in [&one, &other] {
        for _ in 0..6 {
            let answer = get(engine, "/", &mine);
            assert_eq!((&answer.body, cookie(&answer)), (&first.body, None), "it is not set again");
        }
    }
    let stranger = engine(sticky(b"another key"), &backs);
    assert!((0..6).any(|_| get(&stranger, "/", &mine).body != first.body), "a foreign cookie says nothing");
    let picture = one.connect().get("/picture");
    assert_eq!((picture.status, cookie(&picture)), (200, None), "a shared cache would give it to everybody");
}

#[test]
fn a_visitor_moves_only_when_the_backend_is_gone() {
    let backs = quick(&["a", "b"]);
    let engine = engine(Settings { sticky: Some(Sticky::new("stay", b"key")), ..Settings::default() }, &backs);
    let first = engine.connect().get("/");
    let (mine, at) = (cookie(&first).unwrap(), usize::from(first.body == b"b"));
    engine.pool.drain(at, true);
    assert!((0..4).all(|_| engine.connect().get("/").body != first.body), "new visitors go elsewhere");
    assert!((0..4).all(|_| get(&engine, "/", &mine).body == first.body), "the others stay");
    engine.pool.mark(at, false);
    let moved = get(&engine, "/", &mine);
    let now = cookie(&moved).unwrap();
    assert!(moved.body != first.body && now != mine);
    engine.pool.drain(at, false);
    engine.pool.mark(at, true);
    assert!((0..4).all(|_| get(&engine, "/", &now).body == moved.body), "and does not move back");
}

#[test]
fn what_fails_for_all_is_not_sent_without_end() {
    let sent = Arc::new(AtomicU64::new(0));
    let dying = |sent: Arc<AtomicU64>| {
        backend(move |mut client| {
            request(&mut client);
            sent.fetch_add(1, Ordering::SeqCst);
        })
    };
    let engine = Engine::new(&[dying(sent.clone()), dying(sent.clone())]);
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(engine.connect().get("/").status, 502);
    }
    let earned = 100.0 + 10.0 * began.elapsed().as_secs_f64() + 0.2 * 100.0;
    let again = sent.load(Ordering::SeqCst) - 100;
    assert!((100..=earned as u64 + 1).contains(&again), "{again} of {earned}");
    assert_eq!(engine.total("retries_total"), again);
    assert!(engine.total("retries_denied_total") > 0);
}

#[test]
fn a_dead_one_costs_no_budget() {
    let backs = quick(&["a"]);
    let engine = Engine::new(&[DEAD, backs[0].address]);
    for _ in 0..400 {
        assert_eq!(engine.connect().get("/").status, 200);
    }
    assert_eq!(engine.total("retries_denied_total"), 0);
}
