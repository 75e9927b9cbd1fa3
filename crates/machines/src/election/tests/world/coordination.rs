//! The way to the store and back.

use std::time::Duration;

use super::{Event, LEASE, NODES, World};
use crate::Time;
use crate::election::{Change, StepId, Swap, Transaction, Write};

impl World {
    pub(super) fn send(&mut self, id: usize, life: u64, step_id: StepId, transaction: Transaction) {
        let sent = self.now;
        let records = transaction.writes.iter().any(|write| matches!(write, Write::Cluster(_)));
        if records && self.nodes[id].late {
            // It is given up at one second.
            let ms = 1_000 + self.dice.below(1_500);
            self.at(ms, Event::Request(id, life, step_id, transaction, sent));
            self.at(1_000, Event::Response(id, life, step_id, Swap::Unknown, None));
            return;
        }
        let lost = !self.nodes[id].store || !self.store_up || self.dice.one_in(self.weather.lost);
        // What is lost for the sender may still arrive, much later.
        let ms = if !lost {
            self.latency()
        } else if self.dice.one_in(2) {
            200 + self.dice.below(4_000)
        } else {
            0
        };
        if ms > 0 {
            self.at(ms, Event::Request(id, life, step_id, transaction, sent));
        }
        if lost {
            self.at(1_000, Event::Response(id, life, step_id, Swap::Unknown, None));
        }
    }

    pub(super) fn request(&mut self, id: usize, life: u64, step_id: StepId, transaction: Transaction, sent: Time) {
        if !self.store_up {
            return;
        }
        let leads = transaction.writes.iter().any(|write| matches!(write, Write::Leader(_)));
        let (swap, changes) = self.store.transact((id, life), self.now + LEASE, &transaction);
        if leads && swap != Swap::Conflict {
            self.at(3_001, Event::LeaseEnd);
        }
        self.announce(changes);
        if self.nodes[id].store && !self.dice.one_in(self.weather.lost) {
            let ms = self.latency();
            let lease = (leads && swap != Swap::Conflict).then(|| sent + LEASE);
            self.at(ms, Event::Response(id, life, step_id, swap, lease));
        } else {
            self.at(1_000, Event::Response(id, life, step_id, Swap::Unknown, None));
        }
    }

    pub(super) fn announce(&mut self, changes: Vec<Change>) {
        for id in (0..NODES).filter(|id| self.nodes[*id].store && self.store_up).collect::<Vec<_>>() {
            let at = self.now + Duration::from_millis(self.latency());
            let node = &mut self.nodes[id];
            node.watched_at = node.watched_at.max(at);
            let (at, life, watch) = (node.watched_at, node.life, node.watch);
            // Told at once, or one after the other.
            let pieces = if self.dice.one_in(2) { changes.len().max(1) } else { 1 };
            for changes in changes.chunks(pieces) {
                self.at_time(at, Event::Watch(id, life, watch, changes.to_vec()));
            }
        }
    }

    pub(super) fn keep_alive(&mut self, id: usize, life: u64) {
        self.at(1_000, Event::KeepAlive(id, life));
        let leads = self.nodes[id].role.as_ref().is_some_and(|role| role.leads().is_some());
        if !leads || !self.nodes[id].store || !self.store_up || self.dice.one_in(self.weather.lost) {
            return;
        }
        let sent = self.now;
        let ms = self.latency();
        let held = match &mut self.store.lease {
            Some((who, until)) if *who == (id, life) => {
                *until = self.now + LEASE;
                true
            }
            _ => false,
        };
        self.at(3_001, Event::LeaseEnd);
        self.at(ms, Event::KeptAlive(id, life, held.then(|| sent + LEASE)));
    }

    pub(super) fn end_lease(&mut self) {
        if self.store_up && self.store.lease.is_some_and(|(_, until)| until <= self.now) {
            let change = self.store.expire();
            self.announce(vec![change]);
        }
    }
}
