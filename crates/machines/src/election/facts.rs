//! What follows from the store and the local server, at one instant.

use std::collections::BTreeSet;

use super::flaw::Flaw;
use super::{
    Cluster, Election, Entry, Epoch, Leader, Limitation, Member, Mode, Observed, Order, Process, Receiving,
    Replication, Server, Standing, Trouble, Wish, standing,
};
use crate::Time;
use crate::database::Thread;
use crate::gtid::Position;

impl Observed {
    /// What the receiving thread does at most.
    pub(super) fn receiving(&self) -> Receiving {
        match &self.replication {
            Some(replication) if replication.io != Thread::Stopped && self.process != Process::Stopped => {
                if replication.acknowledges { Receiving::Acknowledging } else { Receiving::Silently }
            }
            _ => Receiving::No,
        }
    }

    /// Whether it is to receive, and is not connected.
    pub(super) fn is_adrift(&self) -> bool {
        self.replication.as_ref().is_some_and(|replication| replication.io == Thread::Connecting)
    }

    /// Whether it receives nothing, and applies what it received.
    pub(super) fn is_frozen(&self) -> bool {
        let applies = |replication: &Replication| replication.sql != Thread::Stopped || replication.drained;
        self.receiving() == Receiving::No && self.replication.as_ref().is_none_or(applies)
    }
}

impl Election {
    pub(super) fn is_me(&self, server: &Server) -> bool {
        *server == self.settings.me
    }

    pub(super) fn cluster(&self) -> Option<&Cluster> {
        self.mirror.cluster.as_ref().map(|entry| &entry.value)
    }

    pub(super) fn member(&self, server: &Server) -> Option<&Member> {
        self.mirror.members.get(server).map(|entry| &entry.value)
    }

    /// What this server has said of itself.
    pub(super) fn published(&self) -> Option<&Member> {
        self.member(&self.settings.me)
    }

    pub(super) fn published_receiving(&self) -> Receiving {
        self.published().map_or(Receiving::No, |member| member.receiving)
    }

    pub(super) fn others(&self) -> impl Iterator<Item = &Server> {
        self.settings.members.iter().map(|(server, _)| server).filter(|server| !self.is_me(server))
    }

    /// S without this server.
    pub(super) fn sync_others(&self, cluster: &Cluster) -> BTreeSet<Server> {
        cluster.sync.iter().filter(|server| !self.is_me(server)).cloned().collect()
    }

    pub(super) fn is_open(&self, seen: &Observed) -> bool {
        seen.process != Process::Stopped && !seen.read_only
    }

    pub(super) fn order(&self) -> Option<&Entry<Order>> {
        self.mirror.order.as_ref()
    }

    /// Whether the primary before, which has closed, named this server: it has received everything.
    pub(super) fn is_named(&self) -> bool {
        self.cluster().is_some_and(|cluster| cluster.designated && self.is_me(&cluster.primary))
    }

    /// Whether a primary is to hand over, or does.
    pub(super) fn is_handing_over(&self) -> bool {
        matches!(self.order().map(|order| &order.value.wish), Some(Wish::Switchover { .. }))
    }

    /// The last reign whose writes this server has.
    pub(super) fn my_epoch(&self) -> Epoch {
        let reigned = self.cluster().and_then(|cluster| {
            cluster.history.iter().rev().find(|reign| self.is_me(&reign.primary)).map(|reign| reign.epoch)
        });
        let followed = self.published().map(|member| member.epoch);
        reigned.max(followed).max(self.memory.cloned).unwrap_or_default()
    }

    /// Whether it was a primary, and no replica since.
    pub(super) fn was_primary(&self) -> bool {
        let epoch = self.my_epoch();
        self.cluster().is_some_and(|cluster| {
            cluster.history.iter().any(|reign| reign.epoch == epoch && self.is_me(&reign.primary))
        })
    }

    /// How its data stand to the history on record.
    pub(super) fn standing(&self, cluster: &Cluster, seen: &Observed) -> Standing {
        if self.flawed(Flaw::FollowDiverged) {
            return Standing::Behind;
        }
        standing(&cluster.history, self.my_epoch(), &seen.received)
    }

    /// What it once had and has no more, although others may rely on it.
    pub(super) fn lost(&self, seen: &Observed) -> Option<Position> {
        let had = &self.published()?.gtid_received;
        let cluster = self.cluster()?;
        let relied_on = cluster.sync.contains(&self.settings.me) || self.is_me(&cluster.primary);
        let flawed = self.flawed(Flaw::StandWithoutData);
        (relied_on && !flawed && seen.process == Process::Running && !seen.stranded && !seen.received.covers(had))
            .then(|| had.clone())
    }

    /// Why this server itself is in no state to be promoted.
    pub(super) fn unfit(&self, seen: &Observed) -> Option<Limitation> {
        let trouble = seen.replication.as_ref().and_then(|replication| replication.error.as_ref());
        if let Some(Trouble::Apply(why)) = trouble {
            return Some(Limitation::CannotApply { why: why.clone() });
        }
        if let Some(had) = self.lost(seen) {
            return Some(Limitation::LostData { had });
        }
        (self.memory.unfit_until > self.now).then_some(Limitation::Unfit)
    }

    /// Whether somebody may be promoted without being forced to.
    pub(super) fn elects(&self) -> bool {
        let ordered = matches!(self.order().map(|order| &order.value.wish), Some(Wish::Failover { force: false, .. }));
        ordered || (self.settings.automatic && self.settings.mode != Mode::Async)
    }

    /// Whether another one could take the lead if this server gave it up.
    pub(super) fn is_replaceable(&self, cluster: &Cluster) -> bool {
        self.elects() && !self.sync_others(cluster).is_empty()
    }

    /// Why this server may not be promoted now; `None`: it may.
    pub fn promotion_limitation(&self) -> Option<Limitation> {
        if !self.connected {
            return Some(Limitation::StoreLost);
        }
        if let Some(Entry { value: Leader { server, .. }, .. }) = &self.mirror.leader {
            return Some(if self.is_me(server) {
                Limitation::IsPrimary
            } else {
                Limitation::Led { by: server.clone() }
            });
        }
        let (Some(cluster), Some(seen)) = (self.cluster(), &self.seen) else { return Some(Limitation::Unfounded) };
        if self.is_me(&cluster.primary) {
            self.limits_primary(cluster, seen)
        } else {
            self.limits_member(cluster, seen)
        }
    }

    fn limits_primary(&self, cluster: &Cluster, seen: &Observed) -> Option<Limitation> {
        let waits = !cluster.designated
            && self.is_replaceable(cluster)
            && (self.now < self.memory.vacant_since + self.settings.timing.patience || self.flawed(Flaw::NeverReclaim));
        self.unfit(seen).or(waits.then_some(Limitation::Patience))
    }

    fn limits_member(&self, cluster: &Cluster, seen: &Observed) -> Option<Limitation> {
        if cluster.sync.is_empty() {
            return Some(Limitation::Alone { primary: cluster.primary.clone() });
        }
        if !cluster.sync.contains(&self.settings.me) {
            return Some(Limitation::Outside { sync: cluster.sync.clone() });
        }
        if !self.elects() {
            return Some(if self.settings.mode == Mode::Async { Limitation::Async } else { Limitation::Manual });
        }
        if seen.process != Process::Running {
            return Some(Limitation::ServerDown);
        }
        if !seen.is_frozen() {
            return Some(Limitation::Receiving);
        }
        self.unfit(seen)
            .or_else(|| self.unfrozen(cluster))
            .or_else(|| self.further(cluster, seen))
            .or_else(|| self.turn(cluster))
    }

    /// Those of S that may still receive.
    pub(super) fn unfrozen(&self, cluster: &Cluster) -> Option<Limitation> {
        let frozen = |server: &Server| self.member(server).is_some_and(|member| member.receiving == Receiving::No);
        let waiting: BTreeSet<Server> =
            self.sync_others(cluster).into_iter().filter(|server| !frozen(server)).collect();
        (!waiting.is_empty() && !self.flawed(Flaw::ClaimUnfrozen)).then_some(Limitation::Unfrozen { waiting })
    }

    fn further(&self, cluster: &Cluster, seen: &Observed) -> Option<Limitation> {
        if self.flawed(Flaw::ClaimBehind) {
            return None;
        }
        self.sync_others(cluster).into_iter().find_map(|server| {
            let theirs = &self.member(&server)?.gtid_received;
            match seen.received.order(theirs) {
                None => Some(Limitation::Apart { server }),
                Some(std::cmp::Ordering::Less) => Some(Limitation::Behind { server }),
                Some(_) => None,
            }
        })
    }

    /// Whose turn it is before this one's, of those that are as far: whom the operator named, else by their place in the file.
    /// That only keeps them from asking at once; should one before it be dead, its turn passes.
    fn turn(&self, cluster: &Cluster) -> Option<Limitation> {
        let mine = &self.seen.as_ref()?.received;
        if cluster.designated && self.now < self.memory.vacant_since + self.settings.timing.designation {
            return Some(Limitation::Turn { server: cluster.primary.clone() });
        }
        let as_far = |server: &&Server| {
            cluster.sync.contains(server)
                && self.member(server).is_some_and(|m| m.gtid_received == *mine && m.unfit.is_none())
        };
        let wished = match self.order().map(|order| &order.value.wish) {
            Some(Wish::Failover { to: Some(to), .. }) => Some(to),
            _ => None,
        };
        let in_file = self.settings.members.iter().map(|(server, _)| server).filter(|server| Some(*server) != wished);
        let line = wished.into_iter().chain(in_file);
        let before: Vec<&Server> = line.take_while(|server| !self.is_me(server)).filter(as_far).collect();
        let waits: std::time::Duration = self.settings.timing.turn * u32::try_from(before.len()).unwrap_or(u32::MAX);
        let since = self.memory.ready_since.unwrap_or(self.now);
        (self.now < since + waits).then(|| Limitation::Turn { server: before[0].clone() })
    }

    /// Whether a replica is alive, as far as its record tells.
    pub(super) fn is_fresh(&self, server: &Server) -> bool {
        self.memory.beats.get(server).is_some_and(|(_, at)| self.now < *at + self.settings.timing.beat * 3)
    }

    /// Whether a member of S acknowledges to this primary.
    pub(super) fn is_acknowledging(&self, server: &Server, epoch: Epoch, seen: &Observed) -> bool {
        seen.connected.contains(server)
            && self.member(server).is_some_and(|m| m.receiving == Receiving::Acknowledging && m.epoch == epoch)
    }

    /// Whether somebody waits for positions, or something is under way.
    pub(super) fn is_eager(&self) -> bool {
        let led = self.mirror.leader.as_ref();
        let joins = self.cluster().is_some_and(|cluster| {
            cluster.mode != Mode::Async
                && led.is_some()
                && cluster.primary != self.settings.me
                && !cluster.sync.contains(&self.settings.me)
        });
        let unrecorded =
            led.is_none_or(|entry| self.cluster().is_none_or(|cluster| cluster.epoch.0 != entry.created.0));
        let settled = matches!(self.state, super::State::Replica | super::State::Primary);
        joins || unrecorded || !settled || self.order().is_some() || self.memory.admission.is_some()
    }

    pub(super) fn long_ago(&self, since: Option<Time>, patience: std::time::Duration) -> bool {
        since.is_some_and(|since| since + patience <= self.now)
    }
}
