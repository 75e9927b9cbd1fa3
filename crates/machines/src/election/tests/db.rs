//! MariaDB as it behaved in experiments (ARCHITECTURE.md, "The database"): what is durable, who acknowledges, what a restart does.

use std::collections::{BTreeMap, BTreeSet};

use crate::database::Thread;
use crate::election::{Observed, Process, Recovery, Replication, Server, StepId, Trouble};
use crate::gtid::{Gtid, Position};

/// A transaction: who wrote it first, its number, and which write of a client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Txn {
    pub server: u32,
    pub sequence: u64,
    pub write: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Up {
    Stopped,
    Starting,
    Running,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replay {
    pub source: usize,
    pub acknowledges: bool,
    pub io: bool,
    pub sql: bool,
    pub error: Option<Trouble>,
}

#[derive(Clone, Debug)]
pub struct Db {
    pub id: usize,
    pub up: Up,
    pub paused: bool,
    /// Durable: `sync_binlog=1`.
    pub binlog: Vec<Txn>,
    /// How much of it the engine has committed; the rest waits for an acknowledgement.
    pub committed: usize,
    /// Received and not applied; durable: `sync_relay_log=1`.
    pub relay: Vec<Txn>,
    pub stranded: bool,
    pub read_only: bool,
    pub semi_sync: bool,
    pub replay: Option<Replay>,
    pub blocked: BTreeSet<usize>,
    /// Writes that wait: place in the binary log, write, when it came.
    pub waiting: Vec<(usize, u64)>,
    pub acknowledged: u64,
    /// Connections to the binary log, by replica.
    pub dumps: BTreeMap<usize, u64>,
    pub sql_broken: bool,
    /// It cannot be started.
    pub corrupt: bool,
}

pub fn name(id: usize) -> Server {
    Server(format!("db{}", id + 1))
}

pub fn number(server: &Server) -> usize {
    server.0[2..].parse::<usize>().unwrap() - 1
}

impl Db {
    pub fn new(id: usize) -> Db {
        Db {
            id,
            up: Up::Stopped,
            paused: false,
            binlog: Vec::new(),
            committed: 0,
            relay: Vec::new(),
            stranded: false,
            read_only: true,
            semi_sync: false,
            replay: None,
            blocked: BTreeSet::new(),
            waiting: Vec::new(),
            acknowledged: 0,
            dumps: BTreeMap::new(),
            sql_broken: false,
            corrupt: false,
        }
    }

    pub fn answers(&self) -> bool {
        self.up == Up::Running && !self.paused
    }

    pub fn received(&self) -> Option<Txn> {
        self.relay.last().or(self.binlog.last()).copied()
    }

    /// A client's write. Whether it is done (`Some(true)`), waits (`Some(false)`) or is refused.
    pub fn write(&mut self, write: u64) -> Option<bool> {
        if !self.answers() || self.read_only {
            return None;
        }
        let sequence = self.binlog.last().map_or(0, |last| last.sequence) + 1;
        self.binlog.push(Txn { server: self.id as u32 + 1, sequence, write });
        if self.semi_sync {
            self.waiting.push((self.binlog.len(), write));
            return Some(false);
        }
        self.committed = self.binlog.len();
        Some(true)
    }

    /// An acknowledgement of everything up to `place`; the writes that are done by it.
    pub fn acknowledge(&mut self, place: usize) -> Vec<u64> {
        let (done, rest) = self.waiting.iter().partition(|(at, _)| *at <= place);
        self.waiting = rest;
        let done: Vec<(usize, u64)> = done;
        self.committed = self.committed.max(done.iter().map(|(at, _)| *at).max().unwrap_or(0));
        self.acknowledged += done.len() as u64;
        done.into_iter().map(|(_, write)| write).collect()
    }

    pub fn stop(&mut self) {
        self.up = Up::Stopped;
        self.paused = false;
        self.waiting.clear();
        self.dumps.clear();
        self.blocked.clear();
        self.stranded |= !self.relay.is_empty();
        if let Some(replay) = &mut self.replay {
            (replay.io, replay.sql) = (false, false);
        }
        self.read_only = true;
        self.semi_sync = false;
    }

    /// A plain start commits the end that was not acknowledged; a truncating one takes it out, and of what was
    /// acknowledged too what the engine had not flushed: here always the last one.
    pub fn start(&mut self, recovery: Recovery) {
        if self.up != Up::Stopped {
            return;
        }
        if recovery == Recovery::Truncated {
            self.binlog.truncate(self.committed.saturating_sub(1));
        }
        self.committed = self.binlog.len();
        self.up = Up::Starting;
    }

    /// A start of the threads after a restart throws away what was not applied.
    fn purge_stranded(&mut self) {
        if std::mem::take(&mut self.stranded) {
            self.relay.clear();
        }
    }

    pub fn apply(&mut self, most: usize) {
        let count = most.min(self.relay.len());
        self.binlog.extend(self.relay.drain(..count));
        self.committed = self.binlog.len();
    }

    pub fn freeze(&mut self) {
        self.purge_stranded();
        if let Some(replay) = &mut self.replay {
            (replay.io, replay.sql) = (false, !self.sql_broken);
        }
    }

    pub fn rescue(&mut self) {
        self.apply(usize::MAX);
        self.stranded = false;
    }

    pub fn promote(&mut self) {
        self.replay = None;
        self.relay.clear();
        self.stranded = false;
    }

    pub fn follow(&mut self, source: usize, acknowledges: bool) {
        self.purge_stranded();
        self.apply(usize::MAX);
        self.replay = Some(Replay { source, acknowledges, io: true, sql: true, error: None });
    }

    pub fn copy_of(&mut self, committed: &[Txn]) {
        self.stop();
        self.binlog = committed.to_vec();
        self.committed = self.binlog.len();
        self.relay.clear();
        (self.stranded, self.replay, self.corrupt) = (false, None, false);
        self.up = Up::Starting;
    }

    pub fn observed(&self, after: StepId, prepared: bool) -> Observed {
        let position = |txn: Option<Txn>| {
            txn.map_or(Position::START, |txn| Gtid { domain: 0, server: txn.server, sequence: txn.sequence }.into())
        };
        let threads = |on: bool| if on { Thread::Running } else { Thread::Stopped };
        Observed {
            after,
            process: match self.up {
                Up::Stopped => Process::Stopped,
                _ if !self.answers() => Process::Silent,
                _ => Process::Running,
            },
            read_only: self.read_only,
            semi_sync: self.semi_sync,
            prepared,
            waiting: self.waiting.len() as u64,
            acknowledged: self.acknowledged,
            current: position(self.binlog.last().copied()),
            received: position(if self.stranded { self.binlog.last().copied() } else { self.received() }),
            replication: self.replay.as_ref().map(|replay| Replication {
                source: Some(name(replay.source)),
                acknowledges: replay.acknowledges,
                io: threads(replay.io),
                sql: threads(replay.sql),
                drained: self.relay.is_empty(),
                error: replay.error.clone(),
            }),
            stranded: self.stranded,
            connected: self.dumps.keys().map(|id| name(*id)).collect(),
            blocked: self.blocked.iter().map(|id| name(*id)).collect(),
            unable: None,
        }
    }
}
