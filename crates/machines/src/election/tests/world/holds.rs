//! What must hold, and what must hold in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{NODES, World};
use crate::election::tests::db::{Txn, name, number};
use crate::election::{Election, Mode, Recovery, State};

impl World {
    /// A living role keeps to its times.
    pub(super) fn check_roles(&mut self) {
        for id in 0..NODES {
            let (node, db) = (&self.nodes[id], &self.dbs[id]);
            let Some(role) = node.role.as_ref().filter(|_| !node.paused && db.answers()) else {
                self.unleased.remove(&id);
                continue;
            };
            let late = role.memory.handover.as_ref().map(|handover| handover.since + Duration::from_secs(6));
            let open = !db.read_only && db.waiting.is_empty() && role.listed;
            if open && role.lease.is_none_or(|until| until < self.now) {
                let since = *self.unleased.entry(id).or_insert(self.now);
                if since + Duration::from_secs(3) < self.now {
                    self.fail(format!("db{} is open without a lease", id + 1));
                }
            } else {
                self.unleased.remove(&id);
            }
            if late.is_some_and(|late| late < self.now) {
                self.fail(format!("db{} hands over and does not come to an end", id + 1));
            }
        }
    }

    pub(super) fn fail(&mut self, what: String) {
        self.broken.get_or_insert(format!("{} ms: {what}", self.now.as_nanos() / 1_000_000));
    }

    /// A client is told that its write is done.
    pub(super) fn done(&mut self, id: usize, write: u64) {
        let Some(&(_, arrived)) = self.arrived.get(&write) else { return };
        self.acknowledged.insert(write);
        self.served_at = self.now;
        let later =
            self.opened.iter().find(|(other, at)| **other != id && **at < arrived && self.opened.get(&id) < Some(at));
        if let Some((other, at)) = later
            && !self.forced
        {
            let (at, arrived) = (at.as_nanos() / 1_000_000, arrived.as_nanos() / 1_000_000);
            self.fail(format!(
                "db{} acknowledged a write of {arrived} ms, db{} is open since {at} ms",
                id + 1,
                other + 1
            ));
        }
    }

    pub(super) fn open(&mut self, id: usize) {
        let cluster = self.store.mirror.cluster.as_ref().map(|entry| &entry.value);
        let recorded = cluster.is_some_and(|cluster| cluster.primary == name(id));
        if !self.opened.contains_key(&id)
            || self.opened.iter().any(|(other, at)| *other != id && Some(at) > self.opened.get(&id))
        {
            self.promotions += 1;
        }
        let promised = !self.forced && self.settings.1 != Mode::Async;
        if recorded && promised {
            let has: BTreeSet<u64> = self.dbs[id].binlog.iter().map(|txn| txn.write).collect();
            if let Some(lost) = self.acknowledged.difference(&has).next() {
                self.fail(format!("db{} opened without the acknowledged write {lost}", id + 1));
            }
        }
        self.opened.insert(id, self.now);
    }

    pub(super) fn check_start(&mut self, id: usize, recovery: Recovery) {
        let leader = self.store.mirror.leader.as_ref().map(|entry| number(&entry.value.server));
        let primary = self.store.mirror.cluster.as_ref().map(|entry| number(&entry.value.primary));
        if recovery == Recovery::Truncated && primary == Some(id) && (leader.is_none() || leader == Some(id)) {
            self.fail(format!("db{} was truncated although nobody else has what it had", id + 1));
        }
    }

    /// What is not as it should be once everything has worked for a while.
    pub fn unsettled(&self) -> Option<String> {
        let Some(cluster) = self.store.mirror.cluster.as_ref().map(|entry| &entry.value) else {
            return Some("there is no record".into());
        };
        let primary = number(&cluster.primary);
        let open: Vec<usize> = (0..NODES).filter(|id| self.dbs[*id].answers() && !self.dbs[*id].read_only).collect();
        if open != [primary] {
            return Some(format!("open are {open:?}, the primary is {primary}"));
        }
        if self.settings.1 != Mode::Async && cluster.sync.len() != NODES - 1 {
            return Some(format!("S is {:?}", cluster.sync));
        }
        let states: Vec<State> = self.nodes.iter().filter_map(|node| node.role.as_ref().map(Election::state)).collect();
        let well = |id: usize| states[id] == if id == primary { State::Primary } else { State::Replica };
        if !(0..NODES).all(well) {
            return Some(format!("they are {states:?}"));
        }
        let logs: Vec<&Vec<Txn>> = self.dbs.iter().map(|db| &db.binlog).collect();
        (0..NODES).find(|id| logs[*id] != logs[primary]).map(|id| {
            format!("db{} ends at {:?}, db{} at {:?}", id + 1, logs[id].last(), primary + 1, logs[primary].last())
        })
    }

    /// What was acknowledged and is nowhere.
    pub fn lost(&self) -> Option<u64> {
        let primary = self.store.mirror.cluster.as_ref().map(|entry| number(&entry.value.primary))?;
        let has: BTreeSet<u64> = self.dbs[primary].binlog.iter().map(|txn| txn.write).collect();
        self.acknowledged.difference(&has).next().copied()
    }

    pub fn report(&self) -> String {
        let nodes = self.nodes.iter().zip(&self.dbs).map(|(node, db)| {
            let role = node.role.as_ref().map(|role| format!("{} ({})", role.state().as_str(), role.because()));
            format!("  db{}: {role:?} {:?} read_only {} semi_sync {} waiting {} at {:?} relay {} replays {:?} dumps {:?} blocked {:?}",
                db.id + 1, db.up, db.read_only, db.semi_sync, db.waiting.len(), db.binlog.last(), db.relay.len(), db.replay, db.dumps.keys(), db.blocked)
        });
        let cluster = self.store.mirror.cluster.as_ref().map(|entry| &entry.value);
        let record = cluster
            .map(|c| format!("epoch {} primary {} designated {} sync {:?}", c.epoch, c.primary, c.designated, c.sync));
        format!(
            "{}\n  record {record:?} leader {:?} order {:?}",
            nodes.collect::<Vec<_>>().join("\n"),
            self.store.mirror.leader,
            self.store.mirror.order
        )
    }
}
