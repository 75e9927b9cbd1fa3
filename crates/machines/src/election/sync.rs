//! The set S: who may acknowledge. How it shrinks and grows is what safety hangs on; see [`super`], 5 and 6.

use std::collections::BTreeSet;

use super::flaw::Flaw;
use super::memory::Admission;
use super::{Cluster, Election, Epoch, Mode, Observed, Process, Receiving, Server, State, Transaction, Wish};
use crate::gtid::Position;

impl Election {
    /// Those of S without whom it goes on: away for too long, or not acknowledging what waits, or to be cloned.
    pub(super) fn gone(&self, cluster: &Cluster, seen: &Observed) -> BTreeSet<Server> {
        if self.settings.mode == Mode::Async {
            return cluster.sync.clone();
        }
        let timing = &self.settings.timing;
        let patience = if seen.read_only { timing.joining } else { timing.absence };
        let stuck = self.long_ago(self.memory.stuck_since.map(|(_, since)| since), timing.absence);
        let asked = |server: &Server| {
            let wish = Wish::Rejoin { server: server.clone() };
            self.order().is_some_and(|order| order.value.wish == wish)
                || self.member(server).is_some_and(|member| member.state == State::Cloning)
        };
        let away = |server: &Server| {
            self.memory.presence.get(server).is_some_and(|(here, since)| !here && self.now >= *since + patience)
        };
        let silent = |server: &Server| {
            // One that cannot reach the store could not be asked in an election. With others it is better without it; alone
            // it is better than nobody.
            !self.is_fresh(server)
                && cluster.sync.iter().any(|other| other != server && self.is_fresh(other) && !away(other))
        };
        let strange = |server: &Server| !self.settings.members.iter().any(|(member, _)| member == server);
        // A new primary that has waited for them long enough, whatever they do.
        let barren = seen.read_only
            && self.memory.handover.is_none()
            && self.long_ago(self.memory.recorded_since, timing.joining)
            && !cluster.sync.iter().any(|server| self.is_acknowledging(server, cluster.epoch, seen));
        let stuck = stuck || barren;
        let gone = |server: &&Server| {
            strange(server)
                || stuck
                || asked(server)
                || away(server)
                || silent(server)
                || seen.blocked.contains(*server)
        };
        let gone: BTreeSet<Server> = cluster.sync.iter().filter(gone).cloned().collect();
        // Strictly, the last one stays: should the primary be lost too, it can be promoted when it is back. But not if that
        // has no data any more.
        let last = gone == cluster.sync && self.settings.mode == Mode::Strict && !gone.iter().any(asked);
        if last || self.flawed(Flaw::NeverShrink) { BTreeSet::new() } else { gone }
    }

    /// Who is to be cut off before it is taken out; not needed where nobody stays.
    pub(super) fn to_block(&self, cluster: &Cluster, seen: &Observed) -> Option<Server> {
        let gone = self.gone(cluster, seen);
        if gone == cluster.sync || self.flawed(Flaw::ShrinkUnblocked) {
            return None;
        }
        gone.into_iter().find(|server| !seen.blocked.contains(server))
    }

    /// Who may be let in again: whose record, not older than the cluster's, says that it does not acknowledge; and who was
    /// blocked to be taken out of S and then was not.
    pub(super) fn to_unblock(&self, cluster: &Cluster, seen: &Observed) -> Option<Server> {
        let harmless = |server: &&Server| {
            let silent = self.member(server).is_some_and(|member| member.receiving != Receiving::Acknowledging);
            !cluster.sync.contains(*server) && (silent || self.flawed(Flaw::UnblockEarly))
        };
        let stays = |server: &&Server| cluster.sync.contains(*server) && self.is_settled();
        let keeps = self.gone(cluster, seen).is_empty();
        seen.blocked.iter().find(harmless).or_else(|| seen.blocked.iter().find(stays).filter(|_| keeps)).cloned()
    }

    /// Whether the record cannot change any more by what was sent before: the last thing sent was done, and is what the record
    /// holds. Until then a transaction that seemed lost, or was sent before the role was restarted, may still take effect; what
    /// it supposed must stay so.
    pub(super) fn is_settled(&self) -> bool {
        let known = self.mirror.cluster.as_ref().map(|entry| entry.changed);
        self.flawed(Flaw::NeverSettle) || (known.is_some() && known == self.memory.settled)
    }

    /// Writes the record as it is, so that nothing sent before can change it.
    fn settle(&self, epoch: Epoch, cluster: &Cluster, seen: &Observed) -> Option<Transaction> {
        let alone = cluster.sync.is_empty() && seen.semi_sync && self.memory.admission.is_none();
        let kept_out = seen.blocked.iter().any(|server| cluster.sync.contains(server));
        let needed = (seen.read_only && self.memory.handover.is_none()) || alone || kept_out;
        (needed && !self.is_settled()).then(|| self.record(epoch, cluster.clone()))
    }

    pub(super) fn sync_transaction(&self, epoch: Epoch, cluster: &Cluster, seen: &Observed) -> Option<Transaction> {
        let sync = self.shrunk(cluster, seen).or_else(|| self.grown(cluster, seen));
        let changed = sync.is_some() || cluster.mode != self.settings.mode;
        let sync = sync.unwrap_or_else(|| cluster.sync.clone());
        let next = changed.then(|| Cluster { sync, mode: self.settings.mode, ..cluster.clone() });
        next.map(|next| self.record(epoch, next)).or_else(|| self.settle(epoch, cluster, seen))
    }

    fn shrunk(&self, cluster: &Cluster, seen: &Observed) -> Option<BTreeSet<Server>> {
        let gone = self.gone(cluster, seen);
        if gone.is_empty() {
            return None;
        }
        let rest: BTreeSet<Server> = cluster.sync.difference(&gone).cloned().collect();
        let proven = || {
            let (cut, mark) = self.memory.proof.as_ref()?;
            (*cut == gone && rest.iter().any(|server| self.has_received(server, mark))).then_some(())
        };
        let safe = rest.is_empty() || self.flawed(Flaw::ShrinkUnproven) || proven().is_some();
        safe.then_some(rest)
    }

    fn grown(&self, cluster: &Cluster, seen: &Observed) -> Option<BTreeSet<Server>> {
        let admission = self.memory.admission.as_ref()?;
        // A step under way may open, or have commits wait for nobody.
        if self.acting.is_some() {
            return None;
        }
        let held = admission.held && seen.semi_sync;
        // Nothing is written by anybody while it is closed: nothing can be acknowledged alone.
        let quiet = seen.read_only && seen.waiting == 0;
        let safe = !cluster.sync.is_empty() || held || quiet || self.flawed(Flaw::GrowUnheld);
        let mark = if quiet { &seen.current } else { &admission.mark };
        let has_it = self.has_received(&admission.server, mark) || self.flawed(Flaw::GrowUncaught);
        (has_it && safe).then(|| cluster.sync.iter().chain([&admission.server]).cloned().collect())
    }

    pub(super) fn has_received(&self, server: &Server, mark: &Position) -> bool {
        self.member(server).is_some_and(|member| member.gtid_received.covers(mark))
    }

    /// Brings the admission of a replica and the proof for a smaller S up to what is known.
    pub(super) fn note_admission(&mut self) {
        let (Some(cluster), Some(seen)) = (self.cluster().cloned(), self.seen.clone()) else { return };
        if Some(cluster.epoch) != self.leads() || seen.process != Process::Running {
            self.memory.admission = None;
            return;
        }
        if seen.after < self.memory.last_acted {
            return;
        }
        self.memory.proof = self.proof(&cluster, &seen);
        match self.memory.admission.take() {
            Some(admission) => self.memory.admission = self.advance(admission, &cluster, &seen),
            None => self.memory.admission = self.newcomer(&cluster, &seen).map(|server| self.admit(server, &seen)),
        }
    }

    /// What this server had when it first saw all that are to go blocked.
    fn proof(&self, cluster: &Cluster, seen: &Observed) -> Option<(BTreeSet<Server>, Position)> {
        let gone = self.gone(cluster, seen);
        let cut = |server: &Server| seen.blocked.contains(server) || self.flawed(Flaw::ShrinkUnblocked);
        if gone.is_empty() || !gone.iter().all(cut) || self.acting.is_some() {
            return None;
        }
        let known = self.memory.proof.clone().filter(|(before, _)| *before == gone);
        Some(known.unwrap_or_else(|| (gone, seen.current.clone())))
    }

    /// A replica outside S that is well, if this is the time for one.
    fn newcomer(&self, cluster: &Cluster, seen: &Observed) -> Option<Server> {
        let timing = &self.settings.timing;
        let busy = self.memory.handover.is_some()
            || self.now < self.memory.admit_after
            || !self.gone(cluster, seen).is_empty();
        if busy || self.settings.mode == Mode::Async {
            return None;
        }
        let steady = if seen.read_only { std::time::Duration::ZERO } else { timing.steady };
        let well = |server: &&Server| {
            let present = self.memory.presence.get(*server);
            !cluster.sync.contains(*server)
                && !seen.blocked.contains(*server)
                && self.is_fresh(server)
                && present.is_some_and(|(here, since)| *here && self.now >= *since + steady)
                && self.member(server).is_some_and(|m| {
                    m.epoch == cluster.epoch && m.receiving == Receiving::Silently && m.unfit.is_none()
                })
        };
        self.others().find(well).cloned()
    }

    fn admit(&self, server: Server, seen: &Observed) -> Admission {
        Admission { server, since: self.now, mark: seen.current.clone(), holds: false, held: false }
    }

    /// First the replica comes near while nobody waits for it; then, if S is empty, commits wait until it has all.
    fn advance(&mut self, admission: Admission, cluster: &Cluster, seen: &Observed) -> Option<Admission> {
        let done = cluster.sync.contains(&admission.server);
        let away = !seen.connected.contains(&admission.server);
        if done || away || self.memory.handover.is_some() {
            return None;
        }
        if admission.holds && self.long_ago(Some(admission.since), self.settings.timing.admission) {
            self.memory.admit_after = self.now + self.settings.timing.admission * 8;
            return None;
        }
        let near = self.has_received(&admission.server, &admission.mark) || self.flawed(Flaw::GrowUncaught);
        match (admission.holds, admission.held) {
            (false, _) if near && cluster.sync.is_empty() && !seen.read_only => {
                Some(Admission { holds: true, since: self.now, ..admission })
            }
            (true, false) if seen.semi_sync && self.acting.is_none() => {
                Some(Admission { held: true, mark: seen.current.clone(), ..admission })
            }
            (true, true) if !seen.semi_sync => None,
            _ => Some(admission),
        }
    }
}
