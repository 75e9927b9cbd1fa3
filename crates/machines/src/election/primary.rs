//! The record names this server: what a primary does beside taking writes.

use super::flaw::Flaw;
use super::{
    Cluster, Election, Epoch, Intent, Limitation, Mode, Observed, Process, Reason, Receiving, Recovery, Server, State,
    Step, Transaction, Wish,
};

impl Election {
    pub(super) fn primary(&self, epoch: Epoch, cluster: &Cluster, seen: &Observed) -> Intent {
        if let Some(intent) = self.out_of_order(epoch, cluster, seen) {
            return intent;
        }
        let (state, because) = self.reign(cluster, seen);
        let act = self.primary_step(epoch, cluster, seen);
        let transact = self.primary_transaction(epoch, cluster, seen);
        let because = self.refusal(transact.as_ref()).unwrap_or(because);
        Intent { act, transact, ..Intent::new(state, because) }
    }

    fn reign(&self, cluster: &Cluster, seen: &Observed) -> (State, Reason) {
        match &self.memory.handover {
            Some(handover) => (State::Demoting, Reason::HandsOver { to: handover.to.clone() }),
            None if seen.read_only => (State::Promoting, Reason::AwaitsReplica),
            None if cluster.sync.is_empty() => (State::Primary, Reason::LeadsAlone),
            None => (State::Primary, Reason::Leads { sync: cluster.sync.clone() }),
        }
    }

    /// The server is down, hangs or cannot write: somebody else takes the lead if there is one, else it is started again.
    fn out_of_order(&self, epoch: Epoch, cluster: &Cluster, seen: &Observed) -> Option<Intent> {
        let replaceable = self.is_replaceable(cluster);
        let hangs = self.long_ago(self.memory.mute_since, self.settings.timing.absence);
        let unable = |why: &String| Reason::ServerUnable { why: why.clone() };
        let because = seen.unable.as_ref().map_or(Reason::ServerDown, unable);
        match seen.process {
            // ## Primary => Demoting
            Process::Stopped if replaceable => Some(self.resign(epoch, Reason::ServerDown)),
            _ if hangs && replaceable => Some(self.resign(epoch, because)),
            Process::Stopped => {
                Some(Intent::new(State::Promoting, Reason::ServerDown).act(Step::Start(Recovery::Whole)))
            }
            Process::Silent => Some(Intent::new(self.state, Reason::ServerStarting)),
            Process::Running => None,
        }
    }

    fn primary_step(&self, epoch: Epoch, cluster: &Cluster, seen: &Observed) -> Option<Step> {
        let outsider = self.outsider(cluster, seen);
        if self.memory.handover.is_some() && self.is_open(seen) && !self.flawed(Flaw::HandOverOpen) {
            return Some(Step::Close);
        }
        if let Some(server) = outsider {
            return Some(Step::Block(server));
        }
        let waits = self.commits_wait(cluster, seen);
        if seen.semi_sync != waits {
            return Some(Step::SemiSync(waits));
        }
        let acknowledged = cluster.sync.iter().any(|server| self.is_acknowledging(server, epoch, seen));
        let prepares = !seen.prepared && (cluster.sync.is_empty() || acknowledged) && !waits_for_nobody(cluster, waits);
        // Those before it had all that clients need; only at the very first start there is nothing.
        let founded = cluster.history.len() > 1;
        if prepares && !founded {
            return Some(Step::Prepare);
        }
        if seen.read_only && self.may_open(cluster, acknowledged) {
            return Some(Step::Open);
        }
        if prepares {
            return Some(Step::Prepare);
        }
        let shut = self.to_block(cluster, seen).map(Step::Block);
        let shut = shut.or_else(|| self.to_unblock(cluster, seen).map(Step::Unblock));
        shut.or_else(|| self.doubts(cluster, seen).then_some(Step::Nudge))
    }

    /// Whether a member of S may be gone without a sign: its machine vanished, or the way to it. MariaDB notices when it writes, and
    /// then the first client would wait for what is found out now.
    fn doubts(&self, cluster: &Cluster, seen: &Observed) -> bool {
        let quiet = self.is_open(seen) && seen.semi_sync && seen.waiting == 0 && self.memory.handover.is_none();
        let lately = self.memory.nudged_at.is_some_and(|at| self.now < at + self.settings.timing.doubt);
        let doubtful = |server: &Server| {
            seen.connected.contains(server)
                && (!self.is_fresh(server) || self.member(server).is_some_and(|member| member.adrift))
        };
        quiet && !lately && cluster.sync.iter().any(doubtful)
    }

    /// Somebody outside S who may acknowledge: it was let go by this server in an earlier life.
    fn outsider(&self, cluster: &Cluster, seen: &Observed) -> Option<Server> {
        let may = |server: &&Server| {
            !cluster.sync.contains(server)
                && !seen.blocked.contains(server)
                && self.member(server).is_some_and(|member| member.receiving == Receiving::Acknowledging)
        };
        if self.flawed(Flaw::OpenUnblocked) || self.flawed(Flaw::ShrinkUnblocked) {
            return None;
        }
        self.others().find(may).cloned()
    }

    /// Whether commits are to wait: while S has members, while one is taken in, and always under [`Mode::Strict`] once
    /// clients are there.
    fn commits_wait(&self, cluster: &Cluster, seen: &Observed) -> bool {
        let admits = self.memory.admission.as_ref().is_some_and(|admission| admission.holds);
        let strict = self.settings.mode == Mode::Strict && !seen.read_only;
        let early = self.flawed(Flaw::SyncOffBeforeRecord) && self.gone(cluster, seen) == cluster.sync;
        let unsettled = seen.semi_sync && !self.is_settled();
        (!cluster.sync.is_empty() && !early) || (admits && !self.flawed(Flaw::GrowUnheld)) || strict || unsettled
    }

    /// A new primary opens when a replica acknowledges, or is about to after a switchover; alone only where that is allowed, and after those that could join at
    /// once had the time to.
    fn may_open(&self, cluster: &Cluster, acknowledged: bool) -> bool {
        let admits = self.memory.admission.as_ref().is_some_and(|admission| admission.holds);
        if self.memory.handover.is_some()
            || admits
            || !self.is_settled()
            || self.transacting.is_some_and(|sent| sent.records)
        {
            return false;
        }
        match self.settings.mode {
            _ if !cluster.sync.is_empty() => acknowledged || self.is_awaited(cluster),
            Mode::Async => true,
            Mode::Strict => false,
            Mode::Available => {
                self.long_ago(self.memory.recorded_since, self.settings.timing.joining) || !self.has_prospects(cluster)
            }
        }
    }

    /// Whether it was named by the primary before it, and members of S live: they follow at once, and commits wait for them.
    fn is_awaited(&self, cluster: &Cluster) -> bool {
        matches!(self.memory.claim, Some(Reason::Designated { .. }))
            && self.sync_others(cluster).iter().any(|server| self.is_fresh(server))
    }

    /// Whether a replica of the reign before is alive: it will follow within the second. The primary of that reign has more
    /// to do before, and nothing is waited for at the first start.
    fn has_prospects(&self, cluster: &Cluster) -> bool {
        let [.., before, _] = cluster.history.as_slice() else { return false };
        let prospect = |server: &Server| {
            *server != before.primary
                && self.is_fresh(server)
                && self.member(server).is_some_and(|m| m.epoch >= before.epoch && m.unfit.is_none())
        };
        self.others().any(prospect)
    }

    fn primary_transaction(&self, epoch: Epoch, cluster: &Cluster, seen: &Observed) -> Option<Transaction> {
        self.order_transaction(epoch, cluster, seen).or_else(|| self.sync_transaction(epoch, cluster, seen))
    }

    fn order_transaction(&self, epoch: Epoch, cluster: &Cluster, seen: &Observed) -> Option<Transaction> {
        let order = self.order()?;
        if self.memory.refused.as_ref().is_some_and(|(revision, _)| *revision == order.changed) {
            return Some(self.dismiss(order.changed));
        }
        match &order.value.wish {
            Wish::Switchover { .. } => self.hand_over(epoch, cluster, seen),
            Wish::Failover { .. } | Wish::Rejoin { .. } => None,
        }
    }

    /// Why an order is being deleted without having been carried out.
    fn refusal(&self, transaction: Option<&Transaction>) -> Option<Reason> {
        let (revision, reason) = self.memory.refused.as_ref()?;
        (transaction? == &self.dismiss(*revision)).then(|| reason.clone())
    }

    /// Why this server is no place for an operator's order, if it is not.
    pub(super) fn order_limitation(&self, cluster: &Cluster, wish: &Wish) -> Option<Limitation> {
        let known = |server: &Server| self.settings.members.iter().any(|(member, _)| member == server);
        match wish {
            Wish::Switchover { to: Some(server) } | Wish::Rejoin { server } if !known(server) => {
                Some(Limitation::Unknown { server: server.clone() })
            }
            Wish::Switchover { to: Some(server) } | Wish::Rejoin { server } if self.is_me(server) => {
                Some(Limitation::IsPrimary)
            }
            Wish::Rejoin { server } => {
                let only = cluster.sync.len() == 1 && cluster.sync.contains(server);
                (only && self.settings.mode == Mode::Strict).then_some(Limitation::LastReplica)
            }
            Wish::Failover { .. } => Some(Limitation::Led { by: self.settings.me.clone() }),
            Wish::Switchover { .. } => None,
        }
    }
}

/// Writes of our own would hang: commits wait, and nobody is there who could acknowledge.
fn waits_for_nobody(cluster: &Cluster, waits: bool) -> bool {
    waits && cluster.sync.is_empty()
}
