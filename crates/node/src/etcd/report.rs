//! How the member is, in words.

use std::collections::BTreeMap;

use mainstay_site::names::ServerName;
use mainstay_site::wire::{Part, Report, State};

use crate::platform::process::Process;
use crate::store::Error;
use crate::store::etcd::Health;

/// What was found out about the members at one time.
pub struct Seen<'a> {
    pub own: &'a ServerName,
    pub health: &'a [(ServerName, Result<Health, Error>)],
    pub process: &'a Process,
    pub restarts: u64,
    /// Since when each other member is as it is.
    pub others_since: &'a BTreeMap<ServerName, (bool, u64)>,
    /// What the last look could not do.
    pub trouble: Option<String>,
}

/// The report of a member that answers.
pub fn running(seen: &Seen<'_>) -> Report {
    let (state, because) = judge(seen);
    let own = seen.own_health();
    let mut facts = vec![("members".into(), format!("{} of {} answer", seen.well(), seen.health.len()))];
    facts.extend(own.map(|health| ("leader".into(), seen.leader(health))));
    facts.extend(own.map(|health| ("data".into(), format!("{} kB", health.size_bytes >> 10))));
    facts.extend(own.map(|health| ("version".into(), format!("etcd {}", health.version))));
    let process = part(seen.process, state, because.clone());
    let parts = std::iter::once(process).chain(seen.health.iter().filter_map(|one| other(seen, one))).collect();
    Report { state, because, facts, parts, counters: counters(seen.restarts) }
}

/// The report of one that does not answer yet.
pub fn without(state: State, because: String, process: Option<&Process>, restarts: u64) -> Report {
    let parts = process.map(|process| part(process, state, because.clone()));
    Report { state, because, facts: Vec::new(), parts: parts.into_iter().collect(), counters: counters(restarts) }
}

fn counters(restarts: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([("etcd_restarts_total".into(), restarts)])
}

fn part(process: &Process, state: State, because: String) -> Part {
    Part { name: "etcd".into(), state, since_ms: process.since_ms(), because, pid: Some(process.pid()) }
}

/// Another member as it is seen from here.
fn other(seen: &Seen<'_>, (name, health): &(ServerName, Result<Health, Error>)) -> Option<Part> {
    let (state, because) = match health {
        Ok(health) if health.leader == 0 => (State::Failed, "knows no leader".into()),
        Ok(_) => (State::Serving, "answers".into()),
        Err(error) => (State::Failed, error.to_string()),
    };
    let since_ms = seen.others_since.get(name).map_or(seen.process.since_ms(), |(_, since_ms)| *since_ms);
    (name != seen.own).then(|| Part { name: name.to_string(), state, since_ms, because, pid: None })
}

fn judge(seen: &Seen<'_>) -> (State, String) {
    let own = match seen.health.iter().find(|(name, _)| name == seen.own) {
        Some((_, Ok(own))) => own,
        Some((_, Err(error))) => return (State::Starting, error.to_string()),
        None => return (State::Failed, "is no member".into()),
    };
    let missing: Vec<&str> = seen.missing().map(|name| name.as_str()).collect();
    if own.leader == 0 {
        let because =
            format!("no majority: {} cannot be asked; nothing can be agreed on until one is back", missing.join(", "));
        return (State::Failed, if missing.is_empty() { "the members elect a leader".into() } else { because });
    }
    if let Some(alarm) = own.errors.first() {
        return (State::Degraded, format!("etcd complains: {alarm}"));
    }
    if !missing.is_empty() {
        let more = if seen.well() * 2 <= seen.health.len() + 1 { "; another loss would stop it" } else { "" };
        return (State::Degraded, format!("{} cannot be asked{more}", missing.join(", ")));
    }
    match &seen.trouble {
        Some(trouble) => (State::Degraded, trouble.clone()),
        None => (State::Serving, seen.leader(own)),
    }
}

impl Seen<'_> {
    fn own_health(&self) -> Option<&Health> {
        self.health.iter().find(|(name, _)| name == self.own).and_then(|(_, health)| health.as_ref().ok())
    }

    fn missing(&self) -> impl Iterator<Item = &ServerName> {
        self.health.iter().filter(|(_, health)| health.is_err()).map(|(name, _)| name)
    }

    fn well(&self) -> usize {
        self.health.iter().filter(|(_, health)| health.is_ok()).count()
    }

    fn leader(&self, own: &Health) -> String {
        if own.leader == own.id {
            return "leads".into();
        }
        let is_leader = |(_, health): &&(ServerName, Result<Health, Error>)| {
            health.as_ref().is_ok_and(|health| health.id == own.leader)
        };
        let known = self.health.iter().find(is_leader).map(|(name, _)| name.as_str());
        format!("follows {}", known.unwrap_or("a member that cannot be asked"))
    }
}
