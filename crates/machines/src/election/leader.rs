//! The leader's key names this server.

use super::flaw::Flaw;
use super::{
    Cluster, Compare, Election, Epoch, Intent, Key, Leader, Observed, Process, Reason, Revision, State, Step,
    Transaction, Write, earlier,
};
use crate::Time;

impl Election {
    pub(super) fn leading(&self, seen: &Observed) -> Intent {
        let Some(epoch) = self.leads() else { return Intent::new(State::Booting, Reason::LostLead) };
        match self.lease {
            None => self.adopt(epoch, seen),
            Some(until) if self.now >= earlier(until, self.settings.timing.margin) => self.out_of_lease(seen),
            Some(_) => match self.cluster() {
                // ## Candidate | Replica | Booting => Promoting
                Some(cluster) if cluster.epoch != epoch => self.promotion(epoch, Some(cluster), seen),
                None => self.promotion(epoch, None, seen),
                // Handed over: the key goes with the same transaction.
                Some(cluster) if !self.is_me(&cluster.primary) => self.handed_over(cluster, seen),
                // ## Promoting => Primary
                Some(cluster) => self.primary(epoch, cluster, seen),
            },
        }
    }

    /// The role was restarted: the key is moved to a lease of ours, if there is something left to lead.
    fn adopt(&self, epoch: Epoch, seen: &Observed) -> Intent {
        let intent = Intent::new(State::Booting, Reason::Reclaimed);
        let replaceable = self.cluster().is_some_and(|cluster| self.is_replaceable(cluster));
        if seen.process == Process::Stopped && replaceable {
            return self.resign(epoch, Reason::ServerDown);
        }
        let late = self.memory.led_since.is_some_and(|(_, since)| self.now >= since + self.settings.timing.margin);
        let intent = if late && self.is_open(seen) { intent.act(Step::Close) } else { intent };
        intent.transact(Transaction { compares: vec![led(epoch)], writes: vec![Write::Leader(self.candidacy())] })
    }

    // ## Primary => Demoting (and back, if the lease is renewed)
    fn out_of_lease(&self, seen: &Observed) -> Intent {
        let intent = Intent::new(State::Demoting, Reason::LeaseEnds);
        if self.is_open(seen) && !self.flawed(Flaw::OpenWithoutLease) { intent.act(Step::Close) } else { intent }
    }

    fn handed_over(&self, cluster: &Cluster, seen: &Observed) -> Intent {
        let intent = Intent::new(State::Demoting, Reason::HandsOver { to: cluster.primary.clone() });
        if self.is_open(seen) { intent.act(Step::Close) } else { intent }
    }

    /// Gives the lead up at once, so that nobody waits for the lease.
    pub(super) fn resign(&self, epoch: Epoch, because: Reason) -> Intent {
        let transaction = Transaction { compares: vec![led(epoch)], writes: vec![Write::Delete(Key::Leader)] };
        Intent::new(State::Demoting, because).transact(transaction)
    }

    /// What this server writes as leader.
    pub(super) fn candidacy(&self) -> Leader {
        let me = &self.settings.me;
        let address = self.settings.members.iter().find(|(server, _)| server == me).map(|(_, address)| *address);
        let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        Leader { server: me.clone(), address: address.unwrap_or(nowhere) }
    }

    /// Another record in the place of the one that is known, if this is still the leader.
    pub(super) fn record(&self, epoch: Epoch, cluster: Cluster) -> Transaction {
        let known = match &self.mirror.cluster {
            Some(entry) => Compare::Changed(Key::Cluster, entry.changed),
            None => Compare::Absent(Key::Cluster),
        };
        Transaction { compares: vec![led(epoch), known], writes: vec![Write::Cluster(cluster)] }
    }

    /// Deletes an order that this server has dealt with.
    pub(super) fn dismiss(&self, order: Revision) -> Transaction {
        Transaction { compares: vec![Compare::Changed(Key::Order, order)], writes: vec![Write::Delete(Key::Order)] }
    }

    pub(super) fn led_for(&self, patience: std::time::Duration) -> bool {
        let since: Option<Time> = self.memory.led_since.map(|(_, since)| since);
        self.long_ago(since, patience)
    }
}

/// Still the same leadership.
pub(super) fn led(epoch: Epoch) -> Compare {
    Compare::Created(Key::Leader, Revision(epoch.0))
}
