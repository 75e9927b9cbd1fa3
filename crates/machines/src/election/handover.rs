//! An operator's order at the primary; above all the switchover.

use std::collections::BTreeSet;

use super::flaw::Flaw;
use super::leader::led;
use super::memory::Handover;
use super::{
    Cluster, Compare, Election, Epoch, Key, Limitation, Mode, Observed, Reason, Receiving, Server, Transaction, Wish,
    Write,
};

impl Election {
    /// Begins, goes on with or gives up what was ordered.
    pub(super) fn note_handover(&mut self) {
        let Some(order) = self.order().cloned() else {
            self.memory.handover = None;
            return;
        };
        let (Some(cluster), Some(seen)) = (self.cluster().cloned(), self.seen.clone()) else { return };
        let settled = self.memory.refused.as_ref().is_some_and(|(revision, _)| *revision == order.changed);
        if settled || Some(cluster.epoch) != self.leads() || !self.is_me(&cluster.primary) {
            return;
        }
        if let Some(limitation) = self.order_limitation(&cluster, &order.value.wish) {
            self.memory.refused = Some((order.changed, Reason::OrderRefused { limitation }));
        } else if let Wish::Switchover { to } = order.value.wish {
            self.note_switchover(order.changed, to, &cluster, &seen);
        }
    }

    fn note_switchover(&mut self, order: super::Revision, to: Option<Server>, cluster: &Cluster, seen: &Observed) {
        if let Some(handover) = &self.memory.handover {
            let late = self.long_ago(Some(handover.since), self.settings.timing.handover);
            if late && !self.flawed(Flaw::HandOverForEver) {
                self.give_handover_up();
            }
        } else if self.is_open(seen) && self.lease.is_some() {
            match self.successor(to, cluster, seen) {
                Ok(to) => self.memory.handover = Some(Handover { to, since: self.now, order }),
                Err(limitation) => self.memory.refused = Some((order, Reason::OrderRefused { limitation })),
            }
        }
    }

    pub(super) fn give_handover_up(&mut self) {
        if let Some(Handover { to, order, .. }) = self.memory.handover.take() {
            self.memory.refused = Some((order, Reason::HandoverFailed { to }));
        }
    }

    /// Who is to be the next: whom the operator names, else the one that has received most.
    fn successor(&self, to: Option<Server>, cluster: &Cluster, seen: &Observed) -> Result<Server, Limitation> {
        if let Some(server) = to {
            return self.limits_successor(&server, cluster, seen).map_or(Ok(server), Err);
        }
        let able = |server: &&Server| self.limits_successor(server, cluster, seen).is_none();
        // The first in the file of those that are as far.
        let furthest = self.others().filter(able).fold(None, |best: Option<&Server>, server| {
            let received = |server| self.member(server).map(|member| &member.gtid_received);
            match best {
                Some(best) if received(best).zip(received(server)).is_none_or(|(a, b)| a.covers(b)) => Some(best),
                _ => Some(server),
            }
        });
        furthest.cloned().ok_or(Limitation::Unconnected)
    }

    fn limits_successor(&self, server: &Server, cluster: &Cluster, seen: &Observed) -> Option<Limitation> {
        let follows = |least| {
            let member = self.member(server);
            member.is_some_and(|member| member.epoch == cluster.epoch && member.receiving >= least)
        };
        let wants = if self.settings.mode == Mode::Async { Receiving::Silently } else { Receiving::Acknowledging };
        if self.settings.mode != Mode::Async && !cluster.sync.contains(server) {
            return Some(Limitation::Outside { sync: cluster.sync.clone() });
        }
        let unfit = self.member(server).and_then(|member| member.unfit.clone());
        if let Some(why) = unfit {
            return Some(Limitation::CannotApply { why });
        }
        (!seen.connected.contains(server) || !follows(wants)).then_some(Limitation::Unconnected)
    }

    /// Closed, and the other one has everything: it is the primary's turn to go.
    pub(super) fn hand_over(&self, epoch: Epoch, cluster: &Cluster, seen: &Observed) -> Option<Transaction> {
        let Handover { to, order, since } = self.memory.handover.as_ref()?;
        let closed = (seen.read_only && seen.waiting == 0 && self.acting.is_none()) || self.flawed(Flaw::HandOverOpen);
        let has_all = |server: &Server| self.has_received(server, &seen.current);
        if !closed || !(has_all(to) || self.flawed(Flaw::HandOverUncaught)) {
            return None;
        }
        // Who is not in the next S has to be kept out before anybody is let in: that takes longer than to wait for its word.
        let lives = |server: &&Server| self.is_fresh(server) && seen.connected.contains(*server);
        let all = self.sync_others(cluster).iter().filter(lives).all(has_all);
        if !all && self.now < *since + self.settings.timing.handover / 5 {
            return None;
        }
        let sync: BTreeSet<Server> = match self.settings.mode {
            Mode::Async => BTreeSet::new(),
            _ => cluster
                .sync
                .iter()
                .filter(|server| *server != to && has_all(server))
                .chain([&self.settings.me])
                .cloned()
                .collect(),
        };
        let next = Cluster { primary: to.clone(), designated: true, sync, ..cluster.clone() };
        let changed = self.mirror.cluster.as_ref()?.changed;
        Some(Transaction {
            compares: vec![led(epoch), Compare::Changed(Key::Cluster, changed), Compare::Changed(Key::Order, *order)],
            writes: vec![
                Write::Cluster(next),
                Write::Member(self.settings.me.clone(), self.as_primary(epoch, seen)),
                Write::Delete(Key::Order),
                Write::Delete(Key::Leader),
            ],
        })
    }
}
