//! How the database is, in words and numbers.

use std::collections::BTreeMap;
use std::path::Path;

use mainstay_machines::database::{Refusal, Step, Thread, Waiting};
use mainstay_site::model::Durability;
use mainstay_site::plan::{self, DatabaseRole};
use mainstay_site::wire::{Part, Report, State};

use super::engine::{Replication, Seen};
use super::process::Process;

/// A replica further behind than this is degraded, and the SQL endpoints read elsewhere.
const LAG_S_MAX: u64 = 5;
/// With less room than this the disk is about to be full: one redo log, one binary log segment and some air.
const FREE_BYTES_MIN: u64 = 256 << 20;

/// The state and the reason.
pub type Verdict = (State, String);

/// What is known besides [`Seen`].
pub struct Around<'a> {
    /// The plan.
    pub config: &'a plan::Database,
    /// The process.
    pub process: &'a Process,
    /// The step that was due.
    pub step: &'a Step,
    /// Since when no replica acknowledges, Unix time in milliseconds.
    pub alone_since_ms: Option<u64>,
    /// The data directory.
    pub data: &'a Path,
    /// Restarts of the process after crashes.
    pub restarts: u64,
}

/// Whether commits are to wait for a replica. A multi-primary cluster is not made yet; semi-sync comes nearest.
pub fn semi_sync(config: &plan::Database) -> bool {
    config.replicas > 0 && config.durability != Durability::Async
}

/// The report of a server that answers.
pub fn running(around: &Around, seen: &Seen) -> Report {
    let free = free_bytes(around.data);
    let (state, because) = judge(around, seen, free);
    let mut facts = vec![
        ("role".into(), role(around.config)),
        ("gtid".into(), seen.variables.position.to_string()),
        ("connections".into(), seen.number("Threads_connected").to_string()),
    ];
    facts.extend(seen.replication.as_ref().map(|replication| ("replication".into(), behind(replication))));
    facts.extend(durability(around, seen));
    facts.extend(free.map(|bytes| ("disk free".into(), megabytes(bytes))));
    facts.push(("binary log".into(), megabytes(binlog_bytes(around.data))));
    facts.push(("version".into(), seen.variables.version.clone()));
    Report {
        state,
        because: because.clone(),
        facts,
        parts: vec![part(around.process, state, because)],
        counters: counters(seen, around.restarts),
    }
}

/// The report of a server that does not answer yet or cannot be started.
pub fn without(verdict: Verdict, process: Option<&Process>, restarts: u64) -> Report {
    let (state, because) = verdict;
    Report {
        state,
        because: because.clone(),
        facts: Vec::new(),
        parts: process.map(|process| part(process, state, because)).into_iter().collect(),
        counters: BTreeMap::from([("mariadbd_restarts_total".into(), restarts)]),
    }
}

fn part(process: &Process, state: State, because: String) -> Part {
    Part { name: "mariadbd".into(), state, since_ms: process.held().since_ms(), because, pid: Some(process.pid()) }
}

fn judge(around: &Around, seen: &Seen, free: Option<u64>) -> Verdict {
    let verdict = match around.step {
        Step::Refuse(refusal) => (State::Failed, refused(refusal, around)),
        Step::Rest | Step::Wait(_) => match (&around.config.role, &seen.replication) {
            (DatabaseRole::Replica { of, .. }, Some(replication)) => follower(of.as_str(), replication, around.step),
            _ => primary(around),
        },
        _ => (State::Starting, "being brought up to its plan".into()),
    };
    match free {
        Some(bytes) if bytes < FREE_BYTES_MIN && verdict.0 < State::Degraded => (
            State::Degraded,
            format!(
                "{} left on the disk of {}: free some, MariaDB stops at none",
                megabytes(bytes),
                around.data.display()
            ),
        ),
        _ => verdict,
    }
}

fn primary(around: &Around) -> Verdict {
    match around.alone_since_ms {
        Some(since) => (
            State::Degraded,
            format!("semi-sync: no replica acknowledges since {}; commits are on this server alone", clock(since)),
        ),
        None => (State::Serving, "taking writes".into()),
    }
}

fn follower(of: &str, replication: &Replication, step: &Step) -> Verdict {
    if replication.sql == Thread::Stopped && !replication.sql_error.is_empty() {
        return (State::Degraded, format!("cannot apply what {of} sent: {}", replication.sql_error));
    }
    match (step, replication.lag_s) {
        (Step::Wait(Waiting::Source), _) => {
            (State::Degraded, format!("{of} at {} cannot be reached; replication waits for it", replication.source))
        }
        (Step::Wait(Waiting::Drain), _) => (State::Degraded, "applying what the former primary sent".into()),
        (_, Some(seconds)) if seconds > LAG_S_MAX => (State::Degraded, format!("{seconds} s behind {of}")),
        (_, Some(seconds)) => (State::Serving, format!("replica of {of}, {seconds} s behind")),
        (_, None) if replication.io_error.is_empty() => (State::Degraded, format!("connecting to {of}")),
        (_, None) => (State::Degraded, format!("not connected to {of}: {}", replication.io_error)),
    }
}

fn refused(refusal: &Refusal, around: &Around) -> String {
    let data = around.data.display();
    match refusal {
        Refusal::IsReplica { of } => format!(
            "the plan makes this server the primary, but {data} is a replica of {of}: it stays closed, since writes that it \
             has not received would be lost. Declare the former primary first among the database servers again; or, if that \
             one is gone for good, `STOP SLAVE; RESET SLAVE ALL` here makes this one the primary with what it has"
        ),
        Refusal::HasHistory => format!(
            "the plan makes this server a replica, but {data} has transactions of its own: it stays closed, since \
             replaying another server over them would mix two histories. Move {data} away and restart this service: it \
             then copies everything from the primary"
        ),
    }
}

fn role(config: &plan::Database) -> String {
    match &config.role {
        DatabaseRole::Primary => "primary".into(),
        DatabaseRole::Replica { of, address } => format!("replica of {of} ({address})"),
    }
}

fn behind(replication: &Replication) -> String {
    match replication.lag_s {
        Some(seconds) => format!("{seconds} s behind {}", replication.source),
        None => format!("not connected to {}", replication.source),
    }
}

fn durability(around: &Around, seen: &Seen) -> Option<(String, String)> {
    if around.config.role != DatabaseRole::Primary {
        return None;
    }
    let text = match (around.config.durability, semi_sync(around.config)) {
        (_, true) => {
            let acting = if seen.is_on("Rpl_semi_sync_master_status") { "on" } else { "off until a replica is back" };
            let declared =
                if around.config.durability == Durability::Galera { "galera is not made yet; semi-sync " } else { "" };
            format!("{declared}{acting}, {} replicas acknowledge", seen.number("Rpl_semi_sync_master_clients"))
        }
        (Durability::Async, _) => "off as declared".into(),
        _ => "off: there is no replica".into(),
    };
    Some(("semi-sync".into(), text))
}

/// Totals; `restarts` of the process.
pub fn counters(seen: &Seen, restarts: u64) -> BTreeMap<String, u64> {
    const STATUS: [(&str, &str); 8] = [
        ("queries_total", "Queries"),
        ("connections_total", "Connections"),
        ("aborted_connects_total", "Aborted_connects"),
        ("slow_queries_total", "Slow_queries"),
        ("commits_total", "Binlog_commits"),
        ("row_lock_waits_total", "Innodb_row_lock_waits"),
        ("commits_acknowledged_total", "Rpl_semi_sync_master_yes_tx"),
        ("commits_unacknowledged_total", "Rpl_semi_sync_master_no_tx"),
    ];
    let rows = STATUS.iter().map(|(name, status)| ((*name).to_owned(), seen.number(status)));
    rows.chain([("mariadbd_restarts_total".to_owned(), restarts)]).collect()
}

/// Room on the disk of `data`.
pub fn free_bytes(data: &Path) -> Option<u64> {
    rustix::fs::statvfs(data).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn binlog_bytes(data: &Path) -> u64 {
    let files = std::fs::read_dir(data).into_iter().flatten().flatten();
    let binlogs = files.filter(|file| file.file_name().as_encoded_bytes().starts_with(b"binlog."));
    binlogs.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// In words.
pub fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes >> 20)
}

/// The time of day, UTC.
pub fn clock(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}
