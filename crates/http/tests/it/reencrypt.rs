//! Backends over TLS: an engine in front of another, which knows its callers by their certificates.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mainstay_http::tls::{self, ClientTls, Encrypted, Identity};
use mainstay_http::{Address, Checked, Config, Declared, Listeners, Pool, Route, Server, Settings, Speaks, Target};
use mainstay_machines::health::{self, State};
use tokio::sync::watch;

use crate::engine::{Engine, echo, limits, pool, until};
use crate::tls::Authority;

const NAME: &str = "server1.a.test";

/// An engine that lets in only whom `authority` has signed.
fn inner(authority: &Authority) -> Engine {
    let clients = std::fs::read(authority.path("ca.pem")).unwrap();
    Engine::encrypted(&[echo("app")], tls::server(vec![authority.identity(&[NAME])], Some(&clients)).unwrap())
}

fn believing(authority: &Authority, identity: Option<Identity>) -> ClientTls {
    tls::client(&std::fs::read(authority.path("ca.pem")).unwrap(), identity).unwrap()
}

fn at(engine: &Engine, name: &str, tls: ClientTls) -> Address {
    Address::Tls(Encrypted::new(engine.secure, name, tls).unwrap())
}

/// An engine in front of `backend`.
fn outer(backend: Address, speaks: Speaks) -> Engine {
    // A handshake of a debug build on a busy machine.
    let limits = mainstay_http::Limits { connect_within: Duration::from_secs(5), ..limits() };
    let route = Route { speaks, ..Route::to(pool([backend].into_iter(), 100)) };
    Engine::following(Config { front: true, limits, ..Config::default() }, route)
}

/// How a check finds `backend`, and why.
fn checked(backend: Address) -> (State, String) {
    let declared = Declared { name: "b".into(), weight: 1, spare: false, address: Some(backend.clone()), well: false };
    let pool = Pool::new(Settings::default(), vec![declared]);
    let server = Server::new(Config::default());
    let config =
        health::Config { interval: Duration::from_millis(50), timeout: Duration::from_secs(5), rise: 1, fall: 1 };
    let target = Target { backend: 0, address: backend, path: "/.mainstay/health".into() };
    let checked = Checked::new(pool, vec![target], config, None);
    let checks = checked.checks().clone();
    server.live().swap(Config::default(), vec![checked]);
    let (stop, stopped) = watch::channel(false);
    let thread = std::thread::spawn(move || server.run(Listeners::default(), &stopped).unwrap());
    until("it is checked", || checks.seen()[0].because != "not checked yet");
    let seen = checks.seen().remove(0);
    stop.send_replace(true);
    thread.join().unwrap();
    (seen.state, seen.because)
}

#[test]
fn a_backend_is_met_once_and_its_connection_kept() {
    let authority = Authority::new();
    let inner = inner(&authority);
    let known = || believing(&authority, Some(authority.identity(&["balancer.a.test"])));
    let engine = outer(at(&inner, NAME, known()), Speaks::Http);
    let mut client = engine.connect();
    for _ in 0..20 {
        let answer = client.get("/");
        assert_eq!(answer.status, 200);
        assert!(answer.body.starts_with(b"app\n"), "{}", String::from_utf8_lossy(&answer.body));
    }
    assert_eq!(inner.total("tls_full_handshakes_total"), 1, "idle connections are kept");
    let (state, because) = checked(at(&inner, NAME, known()));
    assert_eq!(state, State::Well, "{because}");
}

#[test]
fn http2_is_spoken_over_tls_too() {
    let authority = Authority::new();
    let inner = inner(&authority);
    let known = believing(&authority, Some(authority.identity(&["balancer.a.test"])));
    let engine = outer(at(&inner, NAME, known), Speaks::Http2);
    let mut client = engine.connect();
    assert!((0..20).all(|_| client.get("/").status == 200));
    assert_eq!((inner.total("tls_full_handshakes_total"), inner.total("http2_connections_total")), (1, 1));
}

#[test]
fn who_is_not_believed_gets_nothing_and_the_report_says_why() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let inner = inner(&authority);
    let own = || Some(authority.identity(&["balancer.a.test"]));
    let clear = Encrypted::new(inner.address, NAME, believing(&authority, own())).unwrap();
    let cases = [
        (at(&inner, NAME, believing(&stranger, own())), "shows a certificate that no authority of ours has signed"),
        (at(&inner, "server2.a.test", believing(&authority, own())), "shows a certificate for another name"),
        (at(&inner, NAME, believing(&authority, None)), "refused us, or the certificate that we show"),
        (
            at(&inner, NAME, believing(&authority, Some(stranger.identity(&["balancer.a.test"])))),
            "refused us, or the certificate that we show",
        ),
        (Address::Tls(clear), "does not speak TLS as it should"),
    ];
    for (backend, why) in cases {
        for speaks in [Speaks::Http, Speaks::Http2] {
            let engine = outer(backend.clone(), speaks);
            assert_eq!(engine.connect().get("/").status, 502, "{why}");
        }
        let (state, because) = checked(backend);
        assert_ne!(state, State::Well, "{why}");
        assert!(because.contains(why), "{because} instead of {why}");
    }
    let asked = inner.pool.backends().map(|(_, figures)| figures.requests.load(Ordering::SeqCst)).sum::<u64>();
    assert_eq!(asked, 0, "a request was passed on in spite of it");
}

#[test]
fn names_are_checked_when_they_are_declared() {
    let authority = Authority::new();
    let inner = inner(&authority);
    for (name, fine) in [("a.test", true), ("10.80.0.11", true), ("", false), ("a b", false), ("a..test", false)] {
        let made = Encrypted::new(inner.secure, name, believing(&authority, None));
        assert_eq!(made.is_ok(), fine, "{name:?}");
    }
}
