//! How Redis is, in words, from what it says of itself (`INFO`).

use std::collections::BTreeMap;

use mainstay_site::plan;
use mainstay_site::wire::{Part, Report, State};

use crate::platform::process::Process;

/// Its figures under our names, all totals since it started.
const COUNTERS: [(&str, &str); 6] = [
    ("total_connections_received", "redis_connections_total"),
    ("total_commands_processed", "redis_commands_total"),
    ("keyspace_hits", "redis_hits_total"),
    ("keyspace_misses", "redis_misses_total"),
    ("evicted_keys", "redis_evicted_total"),
    ("expired_keys", "redis_expired_total"),
];

/// What `INFO` said.
pub type Info = BTreeMap<String, String>;

/// The report of one that answers.
pub fn answering(config: &plan::Redis, info: &Info, process: &Process, restarts: u64) -> Report {
    let (state, because) = judge(config, info);
    let number = |name: &str| info.get(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let (hits, misses) = (number("keyspace_hits"), number("keyspace_misses"));
    let mut facts = vec![
        ("memory".into(), format!("{} of {}", mebibytes(number("used_memory")), mebibytes(config.memory_bytes))),
        ("keys".into(), keys(info).to_string()),
        ("clients".into(), number("connected_clients").to_string()),
    ];
    if let Some(hit) = (hits * 100).checked_div(hits + misses) {
        facts.push(("hits".into(), format!("{hit} %")));
    }
    let evicted = number("evicted_keys");
    if evicted > 0 {
        facts.push(("evicted".into(), format!("{evicted} for want of memory")));
    }
    let copies = number("connected_slaves");
    if copies > 0 {
        facts.push(("copies".into(), copies.to_string()));
    }
    let version = ["valkey_version", "redis_version"].into_iter().find_map(|name| Some((name, info.get(name)?)));
    facts.extend(version.map(|(name, version)| ("version".into(), format!("{} {version}", product(name)))));
    let mut counters: BTreeMap<String, u64> =
        COUNTERS.iter().map(|(theirs, ours)| ((*ours).to_owned(), number(theirs))).collect();
    counters.insert("redis_restarts_total".into(), restarts);
    let parts = vec![part(process, state, because.clone())];
    Report { state, because, facts, parts, counters }
}

fn product(name: &str) -> &'static str {
    if name.starts_with("valkey") { "Valkey" } else { "Redis" }
}

/// The report of one that does not answer.
pub fn silent(state: State, because: String, process: Option<&Process>, restarts: u64) -> Report {
    let parts = process.map(|process| part(process, state, because.clone())).into_iter().collect();
    let counters = BTreeMap::from([("redis_restarts_total".into(), restarts)]);
    Report { state, because, facts: Vec::new(), parts, counters }
}

fn part(process: &Process, state: State, because: String) -> Part {
    Part { name: "redis".into(), state, since_ms: process.since_ms(), because, pid: Some(process.pid()) }
}

fn judge(config: &plan::Redis, info: &Info) -> (State, String) {
    let said = |name: &str| info.get(name).map_or("", String::as_str);
    if said("loading") == "1" {
        return (State::Starting, "takes its content in".into());
    }
    match &config.follows {
        None => (State::Serving, "asked by the applications".into()),
        Some((primary, _)) if said("master_link_status") == "up" => {
            (State::Serving, format!("keeps a copy of {primary}"))
        }
        Some((primary, _)) if said("master_sync_in_progress") == "1" => (State::Starting, format!("copies {primary}")),
        Some((primary, at)) => {
            (State::Degraded, format!("no copy: {primary} cannot be reached at {at}; see the cache on {primary}"))
        }
    }
}

/// The keys of all numbered databases: `db0:keys=12,expires=0,avg_ttl=0`.
fn keys(info: &Info) -> u64 {
    let is_database =
        |name: &str| name.strip_prefix("db").is_some_and(|rest| rest.bytes().all(|it| it.is_ascii_digit()));
    let count = |value: &String| value.split(',').next()?.strip_prefix("keys=")?.parse::<u64>().ok();
    info.iter().filter(|(name, _)| is_database(name)).filter_map(|(_, value)| count(value)).sum()
}
