//! Two balancers hold to one rate and to each other's bans.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client::get;
use crate::lab::{Lab, design, eventually, said};

/// Requests a second that are declared, and how many at once.
const RATE: u64 = 10;
const BURST: u64 = 10;

/// How long the visitor goes on.
const LENGTH: Duration = Duration::from_secs(8);

const LIMITS: &str = "\n[limits]\nrates = [\n\
    { per = \"address\", rate = \"10/s\", burst = 10, route = \"/messages.json/\" },\n\
    { per = \"address\", rate = \"5/m\", burst = 5, route = \"/health/\", ban = \"2m\", ban-after = 20 },\n]\n\
    [servers.lb2]\naddress = \"10.80.0.9\"\nroles = [\"balancer\"]\n";

/// Asks as fast as it can, on a connection of its own each time, which the two balancers get in turn: admitted and refused.
fn hammer(at: SocketAddr, host: &str, path: &str, length: Duration) -> (u64, u64) {
    let (start, mut admitted, mut refused) = (Instant::now(), 0, 0);
    while start.elapsed() < length {
        match get(at, host, path).unwrap().status {
            200 => admitted += 1,
            429 => refused += 1,
            other => panic!("{other}"),
        }
    }
    (admitted, refused)
}

/// What the balancer of `server` says of itself.
fn report(lab: &Lab, server: &str) -> serde_json::Value {
    let status = lab.status();
    let server =
        status["servers"].as_array().unwrap().iter().find(|it| it["status"]["server"] == server).cloned().unwrap();
    let services = server["status"]["services"].as_array().unwrap();
    services.iter().find(|service| service["name"] == "balancer").unwrap()["report"].clone()
}

fn shares(lab: &Lab, server: &str) -> bool {
    let report = report(lab, server);
    let fact =
        report["facts"].as_array().and_then(|facts| facts.iter().find(|fact| fact[0] == "rates shared with").cloned());
    fact.is_some_and(|fact| fact[1].as_str().unwrap().contains("(heard "))
}

#[test]
fn who_alternates_between_two_balancers_gets_the_rate_once_and_a_ban_at_both() {
    let lab = Lab::start(&(design("1-distributed") + LIMITS), "d-limited.test");
    for server in ["lb1", "lb2"] {
        eventually("they hear each other", Duration::from_secs(20), || shares(&lab, server).then_some(()));
    }
    let (admitted, refused) = hammer(lab.http(), &lab.www(), "/messages.json", LENGTH);
    // What `machines::limiter` says: the second burst comes on top once, and what comes in within a period or two.
    let most = 2 * BURST + RATE * (LENGTH.as_secs() + 1) + 2;
    let least = RATE * LENGTH.as_secs() * 9 / 10;
    eprintln!("{admitted} admitted, {refused} refused in {LENGTH:?}; by the rate {}", RATE * LENGTH.as_secs() + BURST);
    assert!((least..=most).contains(&admitted), "{admitted} of {}", admitted + refused);
    let each: Vec<u64> =
        ["lb1", "lb2"].map(|it| report(&lab, it)["counters"]["requests_rate_limited_total"].as_u64().unwrap()).into();
    assert!(each.iter().all(|refused| *refused > 0), "both were asked: {each:?}");

    // Banned by one of them: a moment later both refuse, whichever is asked, and a balancer that begins anew hears of it.
    hammer(lab.http(), &lab.www(), "/health", Duration::from_secs(2));
    let begun = Instant::now();
    for _ in 0..10 {
        let answer = get(lab.http(), &lab.www(), "/health").unwrap();
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!(answer.status == 429 && wait > 60, "for longer than the rate: {answer:?}");
    }
    assert_eq!(get(lab.http(), &lab.www(), "/").unwrap().status, 200, "other pages are free");
    let restarted = lab.mainstay(&["restart", "--rolling", "--tier", "balancer", lab.domain()]);
    assert!(restarted.status.success(), "{}", said(&restarted));
    eventually("new balancers have the ban", Duration::from_secs(20), || {
        let waits: Vec<u64> = (0..4)
            .filter_map(|_| get(lab.http(), &lab.www(), "/health").ok()?.header("retry-after")?.parse().ok())
            .collect();
        (waits.len() == 4 && waits.iter().all(|wait| *wait > 60 - begun.elapsed().as_secs().min(59))).then_some(())
    });
}
