//! How the endpoints are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_site::wire::{Part, Report, State};

use super::choice::{Check, Lack, Leadership, Source, View};
use super::endpoint::Endpoint;
use super::servers::{Known, Servers};

/// The report as of now.
pub fn report(servers: &Servers, endpoints: &[Arc<Endpoint>]) -> Report {
    let world = servers.world();
    servers.view(&world, |view| {
        let known = world.known.iter().enumerate();
        let parts: Vec<Part> = known.map(|(index, known)| part(servers, view, index, known)).collect();
        let met = world.known.iter().any(|known| known.met);
        let (state, because) = judge(servers, view, &parts, met);
        Report {
            state,
            because,
            facts: facts(view.leadership, endpoints),
            parts,
            counters: counters(servers, endpoints),
        }
    })
}

fn facts(leadership: Leadership, endpoints: &[Arc<Endpoint>]) -> Vec<(String, String)> {
    let open =
        endpoints.iter().map(|endpoint| (format!("{} connections", endpoint.kind.name()), endpoint.open().to_string()));
    let epoch = match leadership.source {
        Source::Plan => None,
        Source::Store => Some(leadership.epoch.to_string()),
        Source::StoreLost => {
            Some(format!("{}; the store does not answer, what it said last is kept to", leadership.epoch))
        }
    };
    open.chain(epoch.map(|epoch| ("epoch".into(), epoch))).collect()
}

fn judge(servers: &Servers, view: &View<'_>, parts: &[Part], met: bool) -> (State, String) {
    let name = |index: usize| servers.server(index).name.as_str();
    let lack = |lack: Lack| match lack {
        Lack::Leaderless(why) => format!("nobody is the primary: {why}"),
        Lack::Unfit(index, why) => format!("{}: {why}", name(index)),
    };
    match (view.writer(), view.reader(&servers.connections())) {
        _ if view.checks.iter().all(|check| *check == Check::Pending) => (State::Starting, "asking the servers".into()),
        (Ok(writer), Ok(_)) => match parts.iter().find(|part| part.state != State::Serving) {
            _ if view.leadership.source == Source::StoreLost => {
                (State::Degraded, format!("the store does not answer; writes still go to {}", name(writer)))
            }
            Some(part) => (State::Degraded, format!("{}: {}", part.name, part.because)),
            None => (State::Serving, format!("writes go to {}", name(writer))),
        },
        (Err(why), Ok(reader)) => (State::Degraded, format!("no writes: {}; reads go to {}", lack(why), name(reader))),
        (_, Err(why)) if !met => (State::Starting, format!("waits for {}", lack(why))),
        (_, Err(why)) => (State::Failed, format!("no server is fit: {}", lack(why))),
    }
}

fn part(servers: &Servers, view: &View<'_>, index: usize, known: &Known) -> Part {
    let unfit = match view.writer() {
        _ if view.leadership.leader != Some(index) => view.unfit_to_read(index),
        Err(Lack::Unfit(_, why)) => Some(why),
        Ok(_) | Err(Lack::Leaderless(_)) => None,
    };
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
        Check::Well(seen) => match seen.replication.as_ref().map(|replication| replication.lag_s) {
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
            (format!("{name}_cut_total"), value(&counters.cut)),
            (format!("{name}_cut_within_a_statement_total"), value(&counters.cut_within)),
            (format!("{name}_lost_total"), value(&counters.lost)),
            (format!("{name}_sent_bytes_total"), value(&counters.tally.sent)),
            (format!("{name}_received_bytes_total"), value(&counters.tally.received)),
        ]
    };
    let failures = (0..servers.count()).map(|index| value(&servers.server(index).failures)).sum();
    let checks = [("checks_failed_total".to_owned(), failures)];
    endpoints.iter().flat_map(of_endpoint).chain(checks).collect()
}
