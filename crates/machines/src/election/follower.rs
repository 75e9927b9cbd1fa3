//! Somebody else leads.

use super::flaw::Flaw;
use super::leader::led;
use super::{
    Cluster, Compare, Election, Entry, Epoch, Intent, Key, Leader, Member, Mode, Observed, Process, Reason, Receiving,
    Recovery, Replication, Server, Standing, State, Step, Transaction, Trouble, Wish, Write,
};
use crate::database::Thread;

/// Starts after which the server ended before it answered, as far apart as its own crashes keep them, before its data are copied anew:
/// with pauses that double from a second on a quarter of a minute, in which a port that another program has may be free again, and
/// memory that lacked there.
const STARTS: u32 = 5;
/// Tries to apply what was received before a start, [`super::Timing::retry`] apart, before the same.
const RESCUES: u32 = 20;

impl Election {
    pub(super) fn following(&self, leader: &Entry<Leader>, seen: &Observed) -> Intent {
        let epoch = Epoch(leader.created.0);
        match self.cluster() {
            Some(cluster) if cluster.epoch == epoch => self.follow(&leader.value.server, epoch, cluster, seen),
            // Whoever was frozen stays so: should the promotion fail, it is asked again.
            _ => {
                let because = Reason::AwaitsPromotion { server: leader.value.server.clone() };
                let state = if self.is_open(seen) { State::Demoting } else { self.state };
                let intent = Intent::new(state, because).receiving(seen.receiving());
                if self.is_open(seen) { intent.act(Step::Close) } else { intent }
            }
        }
    }

    fn follow(&self, primary: &Server, epoch: Epoch, cluster: &Cluster, seen: &Observed) -> Intent {
        if let Some(why) = self.beyond_repair(seen) {
            return self.copy(Reason::BeyondRepair { why }, cluster, primary);
        }
        if let Some(intent) = self.depose(primary, epoch, seen) {
            return intent;
        }
        if let Some(Wish::Rejoin { server }) = self.order().map(|order| &order.value.wish)
            && self.is_me(server)
            && !cluster.sync.contains(server)
        {
            let order = self.order().map(|order| order.changed).unwrap_or_default();
            return Intent::new(State::Cloning, Reason::AskedToClone).transact(self.dismiss(order));
        }
        if self.memory.clone_asked {
            return self.copy(Reason::AskedToClone, cluster, primary);
        }
        match &seen.replication {
            Some(replication) => self.replay(replication, primary, epoch, cluster, seen),
            None => self.join(primary, epoch, cluster, seen),
        }
    }

    /// Why this server cannot be brought to where it could replay anybody: its data cannot be started, such as a binary log that
    /// MariaDB refuses to cut its unacknowledged end off (it ends with a statement that is no transaction), or what it received
    /// before cannot be applied. A full disk is no such reason: no copy would fit on it.
    fn beyond_repair(&self, seen: &Observed) -> Option<String> {
        let (times, why) = self.memory.repairs.as_ref()?;
        let most = match seen.process {
            Process::Stopped => STARTS,
            _ if seen.stranded => RESCUES,
            _ => return None,
        };
        (*times >= most && seen.unable.is_none()).then(|| why.clone())
    }

    /// What must be before it can replay anybody: it runs, is closed, waits for nobody's acknowledgement, and has lost
    /// nothing that it had received.
    // ## Primary | Demoting => Rejoining
    fn depose(&self, primary: &Server, epoch: Epoch, seen: &Observed) -> Option<Intent> {
        let deposed = || Reason::Deposed { by: primary.clone(), epoch };
        let rejoining = |because| Intent::new(State::Rejoining, because).receiving(seen.receiving());
        let was_primary = self.was_primary();
        let truncated = self.memory.truncated == Some(super::Revision(epoch.0));
        match seen.process {
            Process::Stopped if was_primary => Some(rejoining(deposed()).act(Step::Start(Recovery::Truncated))),
            Process::Stopped => Some(rejoining(Reason::ServerDown).act(Step::Start(Recovery::Whole))),
            // It may have hung as an open primary, and come back to itself at any moment.
            Process::Silent if was_primary && !truncated && !seen.read_only => {
                Some(rejoining(deposed()).act(Step::Kill))
            }
            Process::Silent => Some(rejoining(Reason::ServerStarting)),
            // Commits that wait must neither be told that all is well nor be kept: only its end takes them away.
            Process::Running if was_primary && (!seen.read_only || seen.waiting > 0) => {
                Some(rejoining(deposed()).act(Step::Kill))
            }
            Process::Running if !seen.read_only => Some(rejoining(deposed()).act(Step::Close)),
            Process::Running if seen.semi_sync => Some(rejoining(deposed()).act(Step::SemiSync(false))),
            Process::Running if seen.stranded => Some(rejoining(Reason::Rescues).act(Step::Rescue)),
            Process::Running => None,
        }
    }

    /// It replays nobody: it was a primary, or is new.
    fn join(&self, primary: &Server, epoch: Epoch, cluster: &Cluster, seen: &Observed) -> Intent {
        let at = seen.received.clone();
        // The primary itself began with nothing, so its binary log is whole; or nothing is all that there was to copy.
        let from_the_beginning =
            cluster.history.last().is_some_and(|reign| reign.from_gtid.is_start()) || self.memory.cloned == Some(epoch);
        if at.is_start() {
            let joins = || self.reach(primary, epoch, cluster, seen);
            return if from_the_beginning { joins() } else { self.copy(Reason::Empty, cluster, primary) };
        }
        match self.standing(cluster, seen) {
            Standing::Behind => self.reach(primary, epoch, cluster, seen),
            // Its end may be what was never acknowledged: a start without that may mend it.
            Standing::Beyond { .. }
                if self.was_primary() && self.memory.truncated != Some(super::Revision(epoch.0)) =>
            {
                Intent::new(State::Rejoining, Reason::Deposed { by: primary.clone(), epoch }).act(Step::Kill)
            }
            Standing::Beyond { fork } => self.copy(Reason::Diverged { at, fork: Some(fork) }, cluster, primary),
            Standing::Strange => self.copy(Reason::Diverged { at, fork: None }, cluster, primary),
        }
    }

    fn replay(
        &self,
        replication: &Replication,
        primary: &Server,
        epoch: Epoch,
        cluster: &Cluster,
        seen: &Observed,
    ) -> Intent {
        let at = seen.received.clone();
        if matches!(replication.error, Some(Trouble::Diverged(_))) && !self.flawed(Flaw::FollowDiverged) {
            return self.copy(Reason::Diverged { at, fork: None }, cluster, primary);
        }
        let follows_it = replication.source.as_ref() == Some(primary);
        match self.standing(cluster, seen) {
            Standing::Beyond { fork } => return self.copy(Reason::Diverged { at, fork: Some(fork) }, cluster, primary),
            // MariaDB itself refuses a source that does not know where this server stands.
            Standing::Strange if !follows_it && !at.is_start() => {
                return self.copy(Reason::Diverged { at, fork: None }, cluster, primary);
            }
            Standing::Strange | Standing::Behind => {}
        }
        let wanted = self.wanted(cluster);
        let runs = replication.io != Thread::Stopped && replication.sql != Thread::Stopped;
        let acknowledges = replication.acknowledges == (wanted == Receiving::Acknowledging);
        let published = self.published().is_some_and(|member| member.epoch == epoch && member.receiving >= wanted);
        if follows_it && runs && acknowledges && published {
            // ## Rejoining => Replica
            let because = Reason::Follows { server: primary.clone(), acknowledges: replication.acknowledges };
            return Intent::new(State::Replica, because).receiving(wanted);
        }
        self.reach(primary, epoch, cluster, seen)
    }

    fn wanted(&self, cluster: &Cluster) -> Receiving {
        let acknowledges = cluster.sync.contains(&self.settings.me) && self.settings.mode != Mode::Async;
        if acknowledges { Receiving::Acknowledging } else { Receiving::Silently }
    }

    /// Makes it replay the primary: less is done before it is written, more is written before it is done.
    fn reach(&self, primary: &Server, epoch: Epoch, cluster: &Cluster, seen: &Observed) -> Intent {
        let wanted = self.wanted(cluster);
        let trouble = self.memory.failure.as_ref().filter(|(step, _, _)| matches!(step, Step::Follow { .. }));
        let because = match trouble {
            Some((step, why, _)) => Reason::StepFailed { step: step.to_string(), why: why.clone() },
            None => Reason::Joins { server: primary.clone() },
        };
        let state = if self.state == State::Replica { State::Replica } else { State::Rejoining };
        let intent = Intent::new(state, because).receiving(wanted.max(seen.receiving()));
        // What was sent before could otherwise still take the permission back after it is used.
        let settled = self.mirror.members.get(&self.settings.me).map(|entry| entry.changed) == self.memory.own_settled;
        let published = self.published().is_some_and(|member| member.epoch == epoch && member.receiving >= wanted);
        let allowed = published && settled && self.transacting.is_none();
        let follow = Step::Follow { source: primary.clone(), acknowledge: wanted == Receiving::Acknowledging };
        if seen.receiving() > wanted {
            return intent.act(Step::Freeze);
        }
        if allowed || self.flawed(Flaw::ReceiveBeforePublishing) {
            return intent.act(follow);
        }
        if self.acting.is_some() {
            return intent;
        }
        intent.transact(self.announce(epoch, wanted))
    }

    /// Writes that it receives, and from which reign.
    fn announce(&self, epoch: Epoch, receiving: Receiving) -> Transaction {
        let me = &self.settings.me;
        let own = match self.mirror.members.get(me) {
            Some(entry) => Compare::Changed(Key::Member(me.clone()), entry.changed),
            None => Compare::Absent(Key::Member(me.clone())),
        };
        let cluster = self.mirror.cluster.as_ref().map(|entry| entry.changed).unwrap_or_default();
        let mut member = Member { epoch, receiving, ..self.description(self.state, &self.because) };
        if self.published().is_none_or(|known| known.epoch != epoch)
            && let Some(seen) = &self.seen
        {
            // Another reign: what it had beyond this one's beginning is no loss.
            (member.gtid_current, member.gtid_received) = (seen.current.clone(), seen.received.clone());
        }
        let compares = vec![own, led(epoch), Compare::Changed(Key::Cluster, cluster)];
        Transaction { compares, writes: vec![Write::Member(me.clone(), member)] }
    }

    // ## Rejoining | Replica => Cloning
    fn copy(&self, because: Reason, cluster: &Cluster, primary: &Server) -> Intent {
        // From a replica if there is one: a primary has enough to do.
        let able = |server: &&Server| {
            *server != primary
                && self.is_fresh(server)
                && self.member(server).is_some_and(|m| m.epoch == cluster.epoch && m.state == State::Replica)
        };
        let from = self.others().find(able).unwrap_or(primary).clone();
        let intent = Intent::new(State::Cloning, because).receiving(self.published_receiving());
        // The primary takes it out of S first: until then somebody may rely on what it has.
        if cluster.sync.contains(&self.settings.me) { intent } else { intent.act(Step::Clone { from }) }
    }
}
