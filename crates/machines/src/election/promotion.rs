//! From the leader's key to the record: a candidate is made a primary.

use std::collections::BTreeSet;

use super::flaw::Flaw;
use super::{
    Cluster, Election, Epoch, Intent, Limitation, Member, Mode, Observed, Process, Reason, Receiving, Recovery, Reign,
    Replication, Server, State, Step, Write,
};
use crate::database::Thread;

impl Election {
    pub(super) fn promotion(&self, epoch: Epoch, cluster: Option<&Cluster>, seen: &Observed) -> Intent {
        if let Some(limitation) = self.hopeless(cluster, seen) {
            return self.resign(epoch, Reason::GaveUp { limitation });
        }
        let intent = |because| Intent::new(State::Promoting, because);
        match (seen.process, &seen.replication) {
            (Process::Stopped, _) => intent(Reason::ServerDown).act(Step::Start(Recovery::Whole)),
            (Process::Silent, _) => intent(Reason::ServerStarting),
            // Only whoever was the primary and could not close, with commits that wait.
            _ if self.is_open(seen) && seen.replication.is_some() => intent(self.claim(cluster)).act(Step::Close),
            _ if seen.stranded => intent(Reason::Rescues).act(Step::Rescue),
            (Process::Running, Some(replication)) => self.ripen(replication),
            (Process::Running, None) => self.succeed(epoch, cluster, seen),
        }
    }

    /// Why it is better that another one tries; the lead must not be held by somebody who cannot use it.
    fn hopeless(&self, cluster: Option<&Cluster>, seen: &Observed) -> Option<Limitation> {
        let replaceable = cluster.is_some_and(|cluster| self.is_replaceable(cluster) || !self.is_me(&cluster.primary));
        match self.unfit(seen) {
            Some(lost @ Limitation::LostData { .. }) if !self.is_forced() => Some(lost),
            Some(unfit @ Limitation::CannotApply { .. }) if replaceable => Some(unfit),
            _ if replaceable && self.led_for(self.settings.timing.promotion) => Some(Limitation::TooSlow),
            _ => None,
        }
    }

    fn is_forced(&self) -> bool {
        self.memory.claim == Some(Reason::Forced)
    }

    /// What was received is applied, before it is forgotten from whom.
    fn ripen(&self, replication: &Replication) -> Intent {
        let intent = Intent::new(State::Promoting, Reason::Drains);
        let applied = replication.drained || self.flawed(Flaw::PromoteUndrained);
        if replication.io != Thread::Stopped && self.is_named() {
            intent.act(Step::TakeOver)
        } else if replication.io != Thread::Stopped || (replication.sql == Thread::Stopped && !applied) {
            intent.act(Step::Freeze)
        } else if applied {
            intent.act(Step::Promote)
        } else {
            intent
        }
    }

    /// On record: whoever leads after this one starts from here.
    fn succeed(&self, epoch: Epoch, cluster: Option<&Cluster>, seen: &Observed) -> Intent {
        let because = self.claim(cluster);
        let reign = Reign {
            epoch,
            primary: self.settings.me.clone(),
            from_gtid: seen.current.clone(),
            because: because.to_string(),
            at_ms: 0,
        };
        let mut history = cluster.map_or_else(Vec::new, |cluster| cluster.history.clone());
        history.push(reign);
        let forgotten = history.len().saturating_sub(Cluster::REIGNS_MAX);
        history.drain(..forgotten);
        let next = Cluster {
            epoch,
            primary: self.settings.me.clone(),
            designated: false,
            sync: cluster.map_or_else(BTreeSet::new, |cluster| self.heirs(cluster, seen)),
            mode: self.settings.mode,
            history,
        };
        let mut transaction = self.record(epoch, next);
        transaction.writes.push(Write::Member(self.settings.me.clone(), self.as_primary(epoch, seen)));
        let mut intent = Intent::new(State::Promoting, because);
        // What follows from the record, and is right without it too.
        if seen.read_only && !seen.semi_sync && transaction.writes.iter().any(names_heirs) {
            intent = intent.act(Step::SemiSync(true));
        }
        let intent = intent.transact(transaction);
        if self.flawed(Flaw::OpenBeforeRecord) { intent.act(Step::Open) } else { intent }
    }

    /// The first S: as it was for a primary that leads again or was named by the one before it; else those that have received
    /// exactly as much as this one. With the others it would be forgotten that this one alone has what they have not.
    fn heirs(&self, cluster: &Cluster, seen: &Observed) -> BTreeSet<Server> {
        let keeps = self.is_me(&cluster.primary) || self.flawed(Flaw::KeepSyncAtPromotion);
        let as_far = |server: &Server| {
            self.member(server).is_some_and(|m| m.receiving == Receiving::No && m.gtid_received == seen.current)
        };
        let semi_sync = self.settings.mode != Mode::Async;
        self.sync_others(cluster).into_iter().filter(|server| semi_sync && (keeps || as_far(server))).collect()
    }

    /// Why it leads; what it does not remember follows from the record.
    pub(super) fn claim(&self, cluster: Option<&Cluster>) -> Reason {
        let Some(cluster) = cluster else { return self.memory.claim.clone().unwrap_or(Reason::Founded) };
        let by = || cluster.history.last().map_or_else(|| cluster.primary.clone(), |reign| reign.primary.clone());
        match (&self.memory.claim, self.is_me(&cluster.primary)) {
            (Some(Reason::Forced), _) => Reason::Forced,
            (_, true) if cluster.designated => Reason::Designated { by: by() },
            (_, true) => Reason::Reclaimed,
            (_, false) => Reason::Elected { before: cluster.primary.clone() },
        }
    }

    /// Its own record as a primary.
    pub(super) fn as_primary(&self, epoch: Epoch, seen: &Observed) -> Member {
        Member {
            epoch,
            gtid_current: seen.current.clone(),
            gtid_received: seen.received.clone(),
            receiving: Receiving::No,
            ..self.description(self.state, &self.because)
        }
    }
}

fn names_heirs(write: &Write) -> bool {
    matches!(write, Write::Cluster(cluster) if !cluster.sync.is_empty())
}
