//! What the engine tells of itself and of a request's way, and whom it turns away.

use std::sync::Arc;
use std::time::Duration;

use mainstay_http::{Address, By, Config, Limits, Rate, RateSettings, Route, Speaks};

use crate::engine::{Engine, echo, limits, pool, until, value};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

#[test]
fn a_trace_goes_on_or_begins_and_its_state_with_it() {
    let engine = Engine::new(&[echo("a")]);
    let told = |lines: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: close, tracestate\r\n{lines}\r\n");
        let answer = engine.raw(head.as_bytes());
        answer.split_once("\r\n\r\na\n").unwrap().1.to_owned()
    };
    let continued = told(&format!("Traceparent: 00-{TRACE}-{SPAN}-00\r\nTracestate: a=b\r\nTracestate: c=d\r\n"));
    let parent = value(&continued, "traceparent").unwrap();
    assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-00"), "{parent}");
    assert!(!parent.contains(SPAN), "the span is ours: {parent}");
    assert_eq!(continued.matches("race").count(), 3, "each line once: {continued}");

    let begun = told("Traceparent: 00-nonsense\r\nTracestate: a=b\r\n");
    let parent = value(&begun, "traceparent").unwrap();
    assert_eq!(parent.split('-').nth(1), value(&begun, "x-request-id"), "{begun}");
    assert!(value(&begun, "tracestate").is_none() && !begun.contains("nonsense"), "{begun}");
}

/// A front door with a backend, and what else is set.
fn front(config: Config) -> Engine {
    let pool = pool([Address::Tcp(echo("a"))].into_iter(), 100);
    let route = Route { host: None, prefix: "/".into(), folders: Vec::new(), pool, speaks: Speaks::Http, cache: None };
    Engine::following(Config { front: true, ..config }, route)
}

#[test]
fn an_address_gets_so_many_connections_and_is_told() {
    let limits = Limits { address_connections_max: 2, spares_loopback: false, ..limits() };
    let engine = front(Config { limits, ..Config::default() });
    let (mut first, mut second) = (engine.connect(), engine.connect());
    assert_eq!((first.get("/").status, second.get("/").status), (200, 200));
    let third = engine.connect().rest();
    assert!(third.starts_with("HTTP/1.1 429 ") && third.contains("Retry-After: 2\r\n"), "{third}");
    assert_eq!(engine.total("connections_over_address_limit_total"), 1);
    drop(first);
    // Its place is free once its end was seen.
    until("the place is free", || engine.connect().try_get("/") == Some(200));
    assert_eq!(second.get("/").status, 200);
}

#[test]
fn whoever_asks_too_often_is_told_when_to_come_back() {
    let rate = |by, prefix: &str| {
        let (name, prefix, per) = ("r".into(), prefix.into(), Duration::from_secs(3600));
        Arc::new(Rate::new(RateSettings { name, host: None, prefix, by, requests: 60, per, burst: 2, ban: None }))
    };
    let rates = vec![rate(By::Header("x-key".into()), "/api/"), rate(By::Everyone, "/login/")];
    let engine = front(Config { rates, limits: limits(), ..Config::default() });
    let mut client = engine.connect();
    let mut told = |path: &str, lines: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes());
        let answer = client.answer();
        (answer.status, value(&answer.head, "retry-after").map(|after| after.parse::<u64>().unwrap()))
    };
    for path in ["/login", "//%6cogin"] {
        assert_eq!(told(path, ""), (200, None));
    }
    let (status, after) = told("/login?a=b", "");
    assert!(status == 429 && matches!(after, Some(50..=60)), "{after:?}");
    assert_eq!(told("/", ""), (200, None), "the connection goes on, and other paths are free");
    for key in ["a", "b"] {
        assert_eq!([0; 3].map(|_| told("/api/x", &format!("X-Key: {key}\r\n")).0), [200, 200, 429]);
    }
    assert_eq!(engine.total("requests_rate_limited_total"), 3);
    assert_eq!(told("/.mainstay/health", "").0, 200);
}

#[test]
fn figures_are_shown_to_the_server_itself_and_to_no_visitor() {
    let engine = Engine::new(&[echo("a")]);
    let mut client = engine.connect();
    for path in ["/", "/", "/x"] {
        assert_eq!(client.get(path).status, 200);
    }
    let status = String::from_utf8(client.get("/stub_status").body).unwrap();
    assert_eq!(
        status,
        "Active connections: 1 \nserver accepts handled requests\n 1 1 3 \nReading: 0 Writing: 1 Waiting: 0 \n"
    );
    let metrics = String::from_utf8(client.get("/.mainstay/metrics").body).unwrap();
    for line in [
        "mainstay_connections_total 1",
        "mainstay_responses_total{class=\"2xx\"} 3",
        "mainstay_backend_up{pool=\"test\",backend=\"b0\"} 1",
        "mainstay_backend_responses_total{pool=\"test\",backend=\"b0\",class=\"2xx\"} 3",
        "mainstay_request_duration_seconds_count 3",
    ] {
        assert!(metrics.lines().any(|is| is == line), "{line} is not in\n{metrics}");
    }
    let csv = String::from_utf8(client.get("/;csv").body).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let cell = |row: usize, column: &str| rows[row][rows[0].iter().position(|is| *is == column).unwrap()];
    assert!(rows[..4].iter().all(|row| row.len() == rows[0].len()), "{csv}");
    let names: Vec<_> = (1..4).map(|row| (rows[row][0], cell(row, "svname"), cell(row, "hrsp_2xx"))).collect();
    assert_eq!(names, [("test", "FRONTEND", "3"), ("test", "b0", "3"), ("test", "BACKEND", "3")]);
    assert_eq!((cell(2, "status"), cell(2, "lbtot"), cell(3, "act")), ("no check", "3", "1"));

    for header in
        ["X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7", "Via: 1.1 cdn", "X-Mainstay-Via: balancer=b"]
    {
        for (path, status) in [("/stub_status", 200), ("/;csv", 200), ("/.mainstay/metrics", 404)] {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n").as_bytes());
            let answer = client.answer();
            assert_eq!(answer.status, status, "{path} {header}");
            assert!(status == 404 || answer.body.starts_with(b"a\n"), "the application answers {path} to {header}");
        }
    }
}
