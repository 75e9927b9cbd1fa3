//! What to do next with one MariaDB server whose role the plan fixes: pure, one step at a time.
//!
//! The driver observes, asks [`next`], carries the one step out and observes again, so that a step whose effect did not
//! come is simply asked for again, and nothing depends on what was remembered.
//!
//! Nobody is promoted here: the role comes from the declaration, and a server whose data say otherwise is refused.

/// What the plan wants of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It takes the writes.
    Primary {
        /// Commits wait for a replica.
        semi_sync: bool,
    },
    /// It replays another.
    Replica {
        /// The primary's listener, `10.80.0.11:3306`.
        source: String,
    },
}

/// What a running server was seen to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// `@@read_only`.
    pub read_only: bool,
    /// Whether its commits wait for replicas: `@@rpl_semi_sync_master_enabled`.
    pub semi_sync: bool,
    /// Whether schemas and accounts were brought up to the plan since the driver started.
    pub accounts: bool,
    /// Whether its binary log holds any transaction.
    pub history: bool,
    /// `SHOW SLAVE STATUS`; `None` if it was never told to replicate.
    pub replication: Option<Replication>,
    /// Whether the planned source answers a connection now.
    pub source_reachable: bool,
}

/// The replication of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Whom it replays.
    pub source: String,
    /// The thread that receives.
    pub io: Thread,
    /// The thread that applies; never `Connecting`.
    pub sql: Thread,
    /// Whether everything received is applied.
    pub drained: bool,
}

/// A replication thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Thread {
    /// Not running.
    Stopped,
    /// Running, without a connection.
    Connecting,
    /// Running.
    Running,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All is as wanted.
    Rest,
    /// `read_only = 1`.
    Close,
    /// Commits wait for replicas, or no longer.
    SemiSync(bool),
    /// Create and correct schemas and accounts.
    Prepare,
    /// `read_only = 0`.
    Open,
    /// Point an empty server at its source, to replay from the beginning.
    Follow,
    /// Point a replica at the same data's new place.
    Repoint,
    /// Start both replication threads.
    Start,
    /// Start the receiving thread alone.
    StartIo,
    /// Start the applying thread alone.
    StartSql,
    /// Stop the receiving thread alone.
    StopIo,
    /// Nothing can be done until something else happens.
    Wait(Waiting),
    /// The plan contradicts the data.
    Refuse(Refusal),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The source answers no connection.
    Source,
    /// What was received is not applied yet.
    Drain,
}

/// Why a server is not given the role that the plan has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was a replica: what it has not received yet would be lost, and its source may still take writes.
    IsReplica {
        /// Whom it replays.
        of: String,
    },
    /// It has transactions of its own that its source may not have.
    HasHistory,
}

/// What to do next so that what is seen becomes what is wanted.
pub fn next(wanted: &Wanted, seen: &Observed) -> Step {
    match wanted {
        Wanted::Primary { semi_sync } => primary(*semi_sync, seen),
        Wanted::Replica { source } => replica(source, seen),
    }
}

// The accounts come first: no replica can log in and acknowledge before they exist. Waiting for replicas is on before
// the first write is let in, or that write would be on one disk only.
fn primary(semi_sync: bool, seen: &Observed) -> Step {
    match &seen.replication {
        Some(_) if !seen.read_only => Step::Close,
        Some(replication) => Step::Refuse(Refusal::IsReplica { of: replication.source.clone() }),
        None if !seen.accounts => Step::Prepare,
        None if seen.semi_sync != semi_sync => Step::SemiSync(semi_sync),
        None if seen.read_only => Step::Open,
        None => Step::Rest,
    }
}

fn replica(source: &str, seen: &Observed) -> Step {
    if !seen.read_only {
        return Step::Close;
    }
    if seen.semi_sync {
        return Step::SemiSync(false);
    }
    match &seen.replication {
        None if seen.history => Step::Refuse(Refusal::HasHistory),
        None => Step::Follow,
        Some(replication) if replication.source == source => run(replication, seen.source_reachable),
        Some(replication) => move_to_new_source(replication, seen.source_reachable),
    }
}

// With GTID, a start from both threads stopped throws away what was received and not applied, and fetches it again. That
// is harmless while the source lives, and the loss of acknowledged transactions when it does not: so never without it.
// With one thread running, the other is started alone, which throws nothing away.
fn run(replication: &Replication, source_reachable: bool) -> Step {
    match (replication.io, replication.sql) {
        (Thread::Stopped, _) if !source_reachable => Step::Wait(Waiting::Source),
        (Thread::Stopped, Thread::Stopped) => Step::Start,
        (Thread::Stopped, _) => Step::StartIo,
        (_, Thread::Stopped) => Step::StartSql,
        _ => Step::Rest,
    }
}

// What was received from the old place is applied first; the new one may not have it.
fn move_to_new_source(replication: &Replication, source_reachable: bool) -> Step {
    match (replication.io, replication.sql) {
        _ if !source_reachable => Step::Wait(Waiting::Source),
        (Thread::Stopped, Thread::Stopped) => Step::Repoint,
        (Thread::Stopped, _) if replication.drained => Step::Repoint,
        (Thread::Stopped, _) => Step::Wait(Waiting::Drain),
        (_, Thread::Stopped) => Step::StartSql,
        _ => Step::StopIo,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "10.0.0.1:3306";
    const THREADS: [Thread; 3] = [Thread::Stopped, Thread::Connecting, Thread::Running];

    fn fresh() -> Observed {
        Observed {
            read_only: true,
            semi_sync: false,
            accounts: false,
            history: false,
            replication: None,
            source_reachable: true,
        }
    }

    fn following(source: &str, io: Thread, sql: Thread) -> Option<Replication> {
        Some(Replication { source: source.into(), io, sql, drained: false })
    }

    fn to_replica() -> Wanted {
        Wanted::Replica { source: SOURCE.into() }
    }

    /// Every state that can be seen, about 900 of them.
    fn every_state() -> Vec<Observed> {
        let mut replications = vec![None];
        for io in THREADS {
            for sql in [Thread::Stopped, Thread::Running] {
                for source in [SOURCE, "10.0.0.9:3306"] {
                    for drained in [false, true] {
                        replications.push(Some(Replication { source: source.into(), io, sql, drained }));
                    }
                }
            }
        }
        let flags = 0..32_u32;
        let state = |bits: u32, replication: &Option<Replication>| Observed {
            read_only: bits & 1 != 0,
            semi_sync: bits & 2 != 0,
            accounts: bits & 4 != 0,
            history: bits & 8 != 0,
            source_reachable: bits & 16 != 0,
            replication: replication.clone(),
        };
        flags.flat_map(|bits| replications.iter().map(move |replication| state(bits, replication))).collect()
    }

    /// What the step makes of the state, when all goes well.
    fn carry_out(step: &Step, seen: &Observed) -> Observed {
        let mut after = seen.clone();
        let threads = |after: &mut Observed, io: Option<Thread>, sql: Option<Thread>| {
            let replication = after.replication.as_mut().expect("a thread of a replica");
            replication.io = io.unwrap_or(replication.io);
            replication.sql = sql.unwrap_or(replication.sql);
        };
        match step {
            Step::Rest | Step::Refuse(_) => {}
            Step::Close => after.read_only = true,
            Step::Open => after.read_only = false,
            Step::SemiSync(on) => after.semi_sync = *on,
            Step::Prepare => (after.accounts, after.history) = (true, true),
            Step::Follow | Step::Repoint => after.replication = following(SOURCE, Thread::Stopped, Thread::Stopped),
            Step::Start => threads(&mut after, Some(Thread::Running), Some(Thread::Running)),
            Step::StartIo => threads(&mut after, Some(Thread::Running), None),
            Step::StartSql => threads(&mut after, None, Some(Thread::Running)),
            Step::StopIo => threads(&mut after, Some(Thread::Stopped), None),
            Step::Wait(Waiting::Source) => after.source_reachable = true,
            Step::Wait(Waiting::Drain) => {
                after.replication.as_mut().expect("a replica drains").drained = true;
            }
        }
        after
    }

    #[test]
    fn every_state_ends_at_rest_or_refused_and_never_goes_round() {
        for wanted in [Wanted::Primary { semi_sync: true }, Wanted::Primary { semi_sync: false }, to_replica()] {
            for start in every_state() {
                let mut seen = start.clone();
                let mut steps = Vec::new();
                while !matches!(steps.last(), Some(Step::Rest | Step::Refuse(_))) {
                    assert!(steps.len() < 10, "{wanted:?} from {start:?}: {steps:?}");
                    let step = next(&wanted, &seen);
                    seen = carry_out(&step, &seen);
                    steps.push(step);
                }
            }
        }
    }

    #[test]
    fn writes_are_let_in_only_on_a_prepared_primary_that_replays_nobody() {
        for seen in every_state() {
            assert_ne!(next(&to_replica(), &seen), Step::Open);
            for semi_sync in [false, true] {
                if next(&Wanted::Primary { semi_sync }, &seen) == Step::Open {
                    assert!(seen.replication.is_none() && seen.accounts && seen.semi_sync == semi_sync, "{seen:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_received_is_thrown_away_while_the_source_is_gone() {
        for seen in every_state().into_iter().filter(|seen| !seen.source_reachable) {
            let step = next(&to_replica(), &seen);
            assert!(!matches!(step, Step::Start | Step::StartIo | Step::Repoint), "{step:?} at {seen:?}");
        }
    }

    #[test]
    fn a_replica_is_closed_before_anything_else() {
        for seen in every_state().into_iter().filter(|seen| !seen.read_only) {
            assert_eq!(next(&to_replica(), &seen), Step::Close);
        }
    }

    #[test]
    fn steps() {
        let primary = Wanted::Primary { semi_sync: true };
        let replica = to_replica();
        let running = following(SOURCE, Thread::Running, Thread::Running);
        let rows = [
            (&primary, fresh(), Step::Prepare),
            (&primary, Observed { accounts: true, ..fresh() }, Step::SemiSync(true)),
            (&primary, Observed { semi_sync: true, accounts: true, ..fresh() }, Step::Open),
            (
                &primary,
                Observed { replication: running.clone(), ..fresh() },
                Step::Refuse(Refusal::IsReplica { of: SOURCE.into() }),
            ),
            (&replica, fresh(), Step::Follow),
            (&replica, Observed { history: true, ..fresh() }, Step::Refuse(Refusal::HasHistory)),
            (&replica, Observed { replication: running, ..fresh() }, Step::Rest),
            (
                &replica,
                Observed { replication: following(SOURCE, Thread::Connecting, Thread::Stopped), ..fresh() },
                Step::StartSql,
            ),
            (
                &replica,
                Observed { replication: following("10.0.0.9:3306", Thread::Running, Thread::Running), ..fresh() },
                Step::StopIo,
            ),
        ];
        for (wanted, seen, step) in rows {
            assert_eq!(next(wanted, &seen), step, "{wanted:?} {seen:?}");
        }
    }
}
