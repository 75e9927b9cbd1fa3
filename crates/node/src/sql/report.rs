//! How the endpoints are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_site::wire::{Part, Report, State};

use super::choice::{self, Check};
use super::endpoint::Endpoint;
use super::health::{Known, Servers};

/// The report as of now.
pub fn report(servers: &Servers, endpoints: &[Arc<Endpoint>]) -> Report {
    let known = servers.known();
    let checks = servers.checks();
    let parts: Vec<Part> =
        known.iter().enumerate().map(|(index, known)| part(servers, &checks, index, known)).collect();
    let met = known.iter().any(|known| known.met);
    let (state, because) = judge(servers, &checks, &parts, met);
    let open =
        endpoints.iter().map(|endpoint| (format!("{} connections", endpoint.kind.name()), endpoint.open().to_string()));
    Report { state, because, facts: open.collect(), parts, counters: counters(servers, endpoints) }
}

fn judge(servers: &Servers, checks: &[Check], parts: &[Part], met: bool) -> (State, String) {
    let name = |index: usize| servers.server(index).name.as_str();
    match (choice::writer(checks), choice::reader(checks, &servers.connections())) {
        _ if checks.iter().all(|check| *check == Check::Pending) => (State::Starting, "asking the servers".into()),
        (Ok(writer), Ok(_)) => match parts.iter().find(|part| part.state != State::Serving) {
            Some(part) => (State::Degraded, format!("{}: {}", part.name, part.because)),
            None => (State::Serving, format!("writes go to {}", name(writer))),
        },
        (Err(why), Ok(reader)) => {
            (State::Degraded, format!("no writes: {}: {why}; reads go to {}", name(0), name(reader)))
        }
        (_, Err(why)) if !met => (State::Starting, format!("waits for {}: {why}", name(0))),
        (_, Err(why)) => (State::Failed, format!("no server is fit: {}: {why}", name(0))),
    }
}

fn part(servers: &Servers, checks: &[Check], index: usize, known: &Known) -> Part {
    let unfit = if index == 0 { choice::writer(checks).err() } else { choice::unfit_to_read(checks, index) };
    let (state, because) = match (&known.check, unfit) {
        (Check::Pending, _) => (State::Starting, "not asked yet".to_owned()),
        (Check::Failed(_), Some(why)) if !known.met => (State::Starting, format!("not up yet: {why}")),
        (Check::Failed(_), Some(why)) => (State::Failed, why),
        (_, Some(why)) => (State::Degraded, why),
        (check, None) => (State::Serving, fitness(check)),
    };
    Part { name: servers.server(index).name.clone(), state, since_ms: known.since_ms, because, pid: None }
}

fn fitness(check: &Check) -> String {
    match check {
        Check::Well(seen) => match seen.replication.map(|replication| replication.lag_s) {
            None => "primary, takes writes".into(),
            Some(Some(seconds)) => format!("replica, {seconds} s behind"),
            Some(None) => "replica of a primary that is gone".into(),
        },
        _ => String::new(),
    }
}

fn counters(servers: &Servers, endpoints: &[Arc<Endpoint>]) -> BTreeMap<String, u64> {
    let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let of_endpoint = |endpoint: &Arc<Endpoint>| {
        let (name, counters) = (endpoint.kind.name(), &endpoint.counters);
        [
            (format!("{name}_connections_total"), value(&counters.connections)),
            (format!("{name}_held_total"), value(&counters.held)),
            (format!("{name}_given_up_total"), value(&counters.given_up)),
            (format!("{name}_refused_total"), value(&counters.refused)),
            (format!("{name}_sent_bytes_total"), value(&counters.sent)),
            (format!("{name}_received_bytes_total"), value(&counters.received)),
        ]
    };
    let failures = (0..servers.count()).map(|index| value(&servers.server(index).failures)).sum();
    let checks = [("checks_failed_total".to_owned(), failures)];
    endpoints.iter().flat_map(of_endpoint).chain(checks).collect()
}
