//! How the member is, in words and numbers.

use std::collections::BTreeMap;
use std::path::Path;

use mainstay_machines::database::Thread;
use mainstay_machines::election::{self, Cluster, Election, Mode, Reason};
use mainstay_site::wire::{Part, Report, State};

use super::hands::Glance;
use crate::clock::unix_ms;
use crate::database::engine::{Replication, Seen, replica_of};
use crate::database::places::Places;
use crate::database::report::{clock, counters, free_bytes, megabytes};
use crate::fence::Answer;

/// A replica further behind than this is degraded.
const LAG_S_MAX: u64 = 5;
/// With less room than this the disk is about to be full.
const FREE_BYTES_MIN: u64 = 256 << 20;

/// What the report is made from besides the machine.
pub struct View {
    places: Places,
    since_ms: u64,
    state: election::State,
    last: Option<String>,
    refused: Option<String>,
}

/// The fact that says which order was not carried out.
pub const REFUSED: &str = "order refused";
/// The fact that says who reads this server's log.
pub const REPLICAS: &str = "replicas";

impl View {
    /// Of a member that has done nothing yet.
    pub fn new(places: Places) -> View {
        View { places, since_ms: unix_ms(), state: election::State::Booting, last: None, refused: None }
    }

    /// Takes note of a transition.
    pub fn note(&mut self, state: election::State, because: &Reason) {
        if matches!(because, Reason::OrderRefused { .. } | Reason::HandoverFailed { .. }) {
            self.refused = Some(format!("{} {because}", clock(unix_ms())));
        }
        if self.state != state {
            self.since_ms = unix_ms();
            self.last =
                Some(format!("{} {} → {}: {because}", clock(self.since_ms), self.state.as_str(), state.as_str()));
            self.state = state;
        }
    }

    /// The report as of now.
    pub fn report(&self, election: &Election, glance: &Glance, obstacle: Option<&str>) -> Report {
        let (state, because) = self.verdict(election, glance, obstacle);
        let cluster = election.mirror().cluster.as_ref().map(|entry| &entry.value);
        let mut facts = vec![("member".to_owned(), election.state().as_str().to_owned())];
        facts.extend(cluster.into_iter().flat_map(of_the_cluster));
        facts.extend(glance.seen.iter().flat_map(of_the_server));
        facts.extend(self.last.iter().map(|last| ("last transition".to_owned(), last.clone())));
        facts.extend(self.refused.iter().map(|refused| (REFUSED.to_owned(), refused.clone())));
        facts.extend(glance.fence.iter().map(|fence| ("fence".to_owned(), fence_words(fence))));
        facts.extend(glance.unread.iter().map(|folder| unread(folder)));
        facts.extend(free_bytes(&self.places.data).map(|bytes| ("disk free".to_owned(), megabytes(bytes))));
        facts.extend(glance.seen.iter().map(|seen| ("version".to_owned(), seen.variables.version.clone())));
        let part = |(pid, since_ms)| Part {
            name: "mariadbd".into(),
            state,
            since_ms,
            because: because.clone(),
            pid: Some(pid),
        };
        Report {
            state,
            because: because.clone(),
            facts,
            parts: glance.process.map(part).into_iter().collect(),
            counters: glance.seen.as_ref().map_or_else(BTreeMap::new, |seen| counters(seen, glance.ends)),
        }
    }

    fn verdict(&self, election: &Election, glance: &Glance, obstacle: Option<&str>) -> (State, String) {
        let because = election.because().to_string();
        let (state, because) = match election.state() {
            election::State::Primary => primary(election, glance, because),
            election::State::Replica => {
                replica(glance.seen.as_ref().and_then(|seen| seen.replication.as_ref()), because)
            }
            election::State::Booting => (State::Starting, self.with_end(glance, because)),
            _ => (State::Degraded, self.with_end(glance, because)),
        };
        match (obstacle, free_bytes(&self.places.data)) {
            (Some(obstacle), _) => (state.max(State::Degraded), format!("{because}; {obstacle}")),
            (_, Some(bytes)) if bytes < FREE_BYTES_MIN && state < State::Degraded => (
                State::Degraded,
                format!(
                    "{} left on the disk of {}: MariaDB stops at none",
                    megabytes(bytes),
                    self.places.data.display()
                ),
            ),
            _ => (state, because),
        }
    }

    fn with_end(&self, glance: &Glance, because: String) -> String {
        match &glance.last_end {
            Some(end) if glance.process.is_none() => format!("{because}; {end}"),
            _ => because,
        }
    }
}

/// Who leads alone though others could acknowledge is degraded: what it acknowledges is on one disk.
fn primary(election: &Election, glance: &Glance, because: String) -> (State, String) {
    let cluster = election.mirror().cluster.as_ref().map(|entry| &entry.value);
    let closed = glance.seen.as_ref().is_none_or(|seen| seen.variables.read_only);
    let alone = cluster.is_some_and(|cluster| cluster.sync.is_empty() && cluster.mode != Mode::Async);
    match (closed, alone) {
        (true, _) => (State::Starting, because),
        (_, true) => {
            (State::Degraded, format!("{because}; commits are on this server alone, and nobody can replace it"))
        }
        _ => (State::Serving, because),
    }
}

fn replica(replication: Option<&Replication>, because: String) -> (State, String) {
    let Some(replication) = replication else { return (State::Starting, because) };
    if replication.sql == Thread::Stopped && !replication.sql_error.is_empty() {
        return (State::Degraded, format!("cannot apply what it received: {}", replication.sql_error));
    }
    match replication.lag_s {
        Some(seconds) if seconds > LAG_S_MAX => (State::Degraded, format!("{because}; {seconds} s behind")),
        Some(seconds) => (State::Serving, format!("{because}, {seconds} s behind")),
        None if replication.io_error.is_empty() => (State::Degraded, format!("{because}; not connected")),
        None => (State::Degraded, format!("{because}; not connected: {}", replication.io_error)),
    }
}

fn of_the_cluster(cluster: &Cluster) -> Vec<(String, String)> {
    let names: Vec<String> = cluster.sync.iter().map(ToString::to_string).collect();
    let sync = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    let mut facts = vec![
        ("epoch".to_owned(), cluster.epoch.to_string()),
        ("primary".to_owned(), cluster.primary.to_string()),
        ("may acknowledge".to_owned(), sync),
    ];
    if let Some(reign) = cluster.history.last() {
        facts
            .push(("last change".to_owned(), format!("{} from {}: {}", reign.primary, reign.from_gtid, reign.because)));
    }
    facts
}

fn of_the_server(seen: &Seen) -> Vec<(String, String)> {
    let mut facts = vec![
        ("gtid".to_owned(), seen.variables.position.to_string()),
        ("connections".to_owned(), seen.number("Threads_connected").to_string()),
    ];
    if let Some(replication) = &seen.replication {
        let lag = replication.lag_s.map_or("not connected".to_owned(), |seconds| format!("{seconds} s behind"));
        facts.push(("replication".to_owned(), format!("{lag}, from {}", replication.source)));
    }
    let replicas: Vec<&str> = seen.connected().filter_map(replica_of).collect();
    if !replicas.is_empty() {
        facts.push((REPLICAS.to_owned(), replicas.join(", ")));
    }
    if seen.variables.semi_sync {
        let clients = seen.number("Rpl_semi_sync_master_clients");
        facts.push(("semi-sync".to_owned(), format!("on, {clients} replicas acknowledge")));
    }
    facts
}

fn unread(folder: &Path) -> (String, String) {
    let words = format!("{}: may have transactions of no history; delete it when that is known", folder.display());
    ("data kept, logs unreadable".to_owned(), words)
}

fn fence_words(fence: &Answer) -> String {
    match fence {
        Answer::Done => "kernel".into(),
        Answer::Late => "too late".into(),
        Answer::None { because } => format!("none: {because}"),
    }
}

/// Of a role that ends.
pub fn ending(state: State, because: &str) -> Report {
    Report { state, because: because.into(), facts: Vec::new(), parts: Vec::new(), counters: BTreeMap::new() }
}
