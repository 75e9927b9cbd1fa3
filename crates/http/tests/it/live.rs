//! What changes while the engine runs, and its end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use mainstay_http::{Address, Checked, Config, Declared, Limits, Live, Pool, Route, Settings, Target};
use mainstay_machines::health;

use crate::engine::{Engine, PATIENCE, backend, limits, request};

const INTERVAL: Duration = Duration::from_millis(20);

/// A backend that says its name, and what of it is declared; it is not known to be well. Counts how often it was checked.
fn back(name: &'static str) -> (Declared, Arc<AtomicU64>) {
    let checks = Arc::new(AtomicU64::new(0));
    let counted = checks.clone();
    let address = backend(move |mut client| {
        while let Some(head) = request(&mut client) {
            let check = head.starts_with("GET /check ");
            counted.fetch_add(u64::from(check), Ordering::SeqCst);
            let length = name.len();
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}").as_bytes());
        }
    });
    let address = Some(Address::Tcp(address));
    (Declared { name: name.into(), weight: 1, spare: false, address, well: false }, checks)
}

fn checked(pool: &Arc<Pool>, declared: &[Declared], before: Option<&Checked>) -> Arc<Checked> {
    let target = |(backend, it): (usize, &Declared)| Target {
        backend,
        address: it.address.clone().unwrap(),
        path: "/check".into(),
    };
    let config = health::Config { interval: INTERVAL, timeout: PATIENCE, rise: 1, fall: 1 };
    Checked::new(pool.clone(), declared.iter().enumerate().map(target).collect(), config, before)
}

fn swap(live: &Live, pool: &Arc<Pool>, checked: Arc<Checked>) {
    let config = Config { routes: [Route::to(pool.clone())].into(), ..Config::clone(&live.config()) };
    live.swap(config, vec![checked]);
}

/// More than the new backend's first check takes.
fn holding() -> Limits {
    Limits { hold_within: PATIENCE, ..limits() }
}

#[test]
fn an_open_connection_goes_by_what_is_swapped_in_and_checks_follow() {
    let ((a, checks_of_a), (b, checks_of_b)) = (back("a"), back("b"));
    let first = Pool::new(Settings::default(), vec![a.clone()]);
    let engine = Engine::following(Config { limits: holding(), ..Config::default() }, Route::to(first.clone()));
    let known = checked(&first, std::slice::from_ref(&a), None);
    swap(&engine.live, &first, known.clone());
    let mut client = engine.connect();
    assert_eq!(client.get("/").body, b"a", "held until the first check");

    let next = first.following(Settings::default(), vec![b.clone(), a.clone()]);
    let both = checked(&next, &[b.clone(), a], Some(&known));
    let states: Vec<health::State> = both.checks().seen().iter().map(|seen| seen.state).collect();
    assert_eq!(states, [health::State::Unknown, health::State::Well]);
    swap(&engine.live, &next, both.clone());
    let began = Instant::now();
    while client.get("/").body != b"b" {
        assert!(began.elapsed() < PATIENCE, "b got no request");
    }

    let last = next.following(Settings::default(), vec![b.clone()]);
    swap(&engine.live, &last, checked(&last, &[b], Some(&both)));
    next.supersede(last);
    for _ in 0..4 {
        assert_eq!(client.get("/").body, b"b");
    }
    let (checked_b, checked_a) = (checks_of_b.load(Ordering::SeqCst), checks_of_a.load(Ordering::SeqCst));
    while checks_of_b.load(Ordering::SeqCst) < checked_b + 5 {
        assert!(began.elapsed() < PATIENCE, "b is not checked");
        park_timeout(INTERVAL);
    }
    assert!(checks_of_a.load(Ordering::SeqCst) <= checked_a + 1, "a is checked, though it is gone");
}

/// A backend that ends each connection after `answers`, without saying so; and how many came on each.
fn ending_after(answers: usize) -> (Declared, Arc<Mutex<Vec<usize>>>) {
    let connections = Arc::new(Mutex::new(Vec::new()));
    let seen = connections.clone();
    let address = backend(move |mut client| {
        let mut count = 0;
        while count < answers && request(&mut client).is_some() {
            client.send(b"HTTP/1.1 204 No Content\r\n\r\n");
            count += 1;
        }
        seen.lock().unwrap().push(count);
    });
    let address = Some(Address::Tcp(address));
    (Declared { name: "back".into(), weight: 1, spare: false, address, well: false }, connections)
}

/// Ended connections are there after a while, at each of which the backend was well.
fn checks_of(answers: usize) -> Vec<usize> {
    let (declared, connections) = ending_after(answers);
    let pool = Pool::new(Settings::default(), vec![declared.clone()]);
    let engine = Engine::following(Config::default(), Route::to(pool.clone()));
    let checked = checked(&pool, &[declared], None);
    swap(&engine.live, &pool, checked.clone());
    let began = Instant::now();
    loop {
        let ended = connections.lock().unwrap().clone();
        let state = checked.checks().seen()[0].state;
        assert!(ended.is_empty() || state == health::State::Well, "{state:?} after {ended:?}");
        if ended.len() >= 3 {
            return ended;
        }
        assert!(began.elapsed() < PATIENCE, "only {ended:?}");
        park_timeout(INTERVAL);
    }
}

#[test]
fn a_connection_serves_ten_checks_and_one_that_ends_between_two_is_no_failure() {
    assert!(checks_of(usize::MAX).iter().all(|count| *count == 10));
    assert!(checks_of(3).iter().all(|count| *count == 3));
}

#[test]
fn whoever_waits_for_a_backend_that_is_gone_gets_the_next() {
    let (a, _) = back("a");
    let nobody = Declared { name: "nobody".into(), address: None, ..a.clone() };
    let first = Pool::new(Settings::default(), vec![nobody]);
    let engine = Engine::following(Config { limits: holding(), ..Config::default() }, Route::to(first.clone()));
    let mut client = engine.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let began = Instant::now();
    while first.waiting() == 0 {
        assert!(began.elapsed() < PATIENCE, "it does not wait");
        park_timeout(INTERVAL);
    }
    let next = first.following(Settings::default(), vec![a.clone()]);
    swap(&engine.live, &next, checked(&next, &[a], None));
    first.supersede(next);
    assert_eq!(client.answer().body, b"a");
}

#[test]
fn an_ending_engine_answers_who_asks_once_more_and_says_that_it_closes() {
    let (a, _) = back("a");
    let pool = Pool::new(Settings::default(), vec![Declared { well: true, ..a }]);
    let limits = Limits { last_within: PATIENCE, drain_within: PATIENCE, ..limits() };
    let engine = Engine::following(Config { limits, ..Config::default() }, Route::to(pool));
    let (mut used, unused) = (engine.connect(), engine.connect());
    assert_eq!(used.get("/").body, b"a");
    let began = Instant::now();
    while engine.counters.totals()["connections_total"] < 2 {
        assert!(began.elapsed() < PATIENCE, "the second connection is not accepted");
        park_timeout(INTERVAL);
    }
    engine.stop();
    for mut client in [used, unused] {
        let answer = client.get("/");
        assert!(answer.body == b"a" && answer.head.to_lowercase().contains("\r\nconnection: close\r\n"), "{answer:?}");
        assert_eq!(client.rest(), "");
    }
}
