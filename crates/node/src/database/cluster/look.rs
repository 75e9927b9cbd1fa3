//! What the machine is told of the local server.

use std::collections::BTreeSet;
use std::path::Path;

use mainstay_machines::database::Thread;
use mainstay_machines::election::{Observed, Process, Replication, Server, StepId, Trouble};
use mainstay_site::plan;

use crate::database::engine::{self, Seen};

/// With less room than this on its disk MariaDB is about to stop writing: a segment of the binary log does not fit any more.
const FREE_BYTES_MIN: u64 = 8 << 20;

/// What is known of the server besides [`Seen`].
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// The last step that had ended before the look began.
    pub after: StepId,
    /// Whether its process runs.
    pub process: Process,
    /// Accounts were brought up to the plan since the role started.
    pub prepared: bool,
    /// The relay log was applied since the threads last ran.
    pub rescued: bool,
}

/// A look at a server; `seen` is the last one of a server that does not answer.
pub fn observed(config: &plan::Database, data: &Path, around: Around, seen: &Seen) -> Observed {
    let replication = seen.replication.as_ref();
    let still = replication.is_some_and(|it| it.io == Thread::Stopped && it.sql == Thread::Stopped);
    Observed {
        after: around.after,
        process: around.process,
        read_only: seen.variables.read_only,
        semi_sync: seen.variables.semi_sync,
        prepared: around.prepared,
        waiting: seen.number("Rpl_semi_sync_master_wait_sessions"),
        acknowledged: seen.number("Rpl_semi_sync_master_yes_tx"),
        current: seen.variables.position.clone(),
        received: seen.received(),
        replication: replication.map(|it| Replication {
            drained: it.drained || if still { around.rescued } else { seen.has_applied_all() },
            ..replication_of(config, it, seen.acknowledges())
        }),
        stranded: still && !around.rescued,
        connected: servers(seen.connected()),
        blocked: servers(seen.blocked.iter().map(String::as_str)),
        unable: unable(data),
    }
}

fn replication_of(config: &plan::Database, seen: &engine::Replication, acknowledges: bool) -> Replication {
    let source = config.members.iter().find(|member| member.replication.to_string() == seen.source);
    Replication {
        source: source.map(|member| Server::from(&member.server)),
        acknowledges,
        io: seen.io,
        sql: seen.sql,
        drained: seen.drained,
        error: trouble(seen),
    }
}

fn trouble(seen: &engine::Replication) -> Option<Trouble> {
    if seen.io == Thread::Stopped && seen.diverged() {
        return Some(Trouble::Diverged(seen.io_error.clone()));
    }
    if seen.sql != Thread::Stopped || seen.sql_error.is_empty() {
        return None;
    }
    let why = seen.sql_error.clone();
    Some(if seen.contradicts() { Trouble::Diverged(why) } else { Trouble::Apply(why) })
}

/// Whose accounts these are, whether or not the plan has them still: one that has left the site is cut off like another.
fn servers<'a>(accounts: impl Iterator<Item = &'a str>) -> BTreeSet<Server> {
    accounts.filter_map(engine::replica_of).map(Server::from).collect()
}

fn unable(data: &Path) -> Option<String> {
    let disk = rustix::fs::statvfs(data).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    (free < FREE_BYTES_MIN).then(|| format!("{} MB left on the disk of {}", free >> 20, data.display()))
}
