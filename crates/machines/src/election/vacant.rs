//! Nobody leads.

use std::collections::BTreeSet;

use super::flaw::Flaw;
use super::{
    Cluster, Compare, Election, Intent, Key, Limitation, Observed, Process, Reason, Receiving, Recovery, Revision,
    Server, State, Step, Transaction, Wish, Write,
};
use crate::database::Thread;

impl Election {
    pub(super) fn vacant(&self, seen: &Observed) -> Intent {
        let intent = match self.cluster() {
            // Closing waits for commits that wait for an acknowledgement. Whoever may lead again goes on with them as its leader.
            Some(cluster) if self.is_me(&cluster.primary) && self.is_open(seen) => {
                self.stand_again(cluster, seen).act(Step::Close)
            }
            _ if self.is_open(seen) => Intent::new(State::Demoting, Reason::LostLead).act(Step::Close),
            cluster if self.is_forced_on_me() => self.stand_by_force(cluster, seen),
            None => self.found(seen),
            Some(cluster) if self.is_me(&cluster.primary) => self.stand_again(cluster, seen),
            Some(cluster) if cluster.sync.contains(&self.settings.me) && self.elects() => self.stand(cluster, seen),
            Some(_) => self.stand_by(seen),
        };
        if self.flawed(Flaw::TruncateUnled) && seen.process == Process::Stopped {
            return intent.act(Step::Start(Recovery::Truncated));
        }
        intent
    }

    fn is_forced_on_me(&self) -> bool {
        let wish = self.order().map(|order| &order.value.wish);
        matches!(wish, Some(Wish::Failover { to: Some(to), force: true }) if self.is_me(to))
    }

    /// What keeps the server from answering, and what is done about it. It is started as it is: whoever was a primary does
    /// not come here before it leads again.
    fn bring_up(&self, seen: &Observed) -> Option<Intent> {
        let intent = |because| Intent::new(State::Booting, because);
        match seen.process {
            Process::Stopped => Some(intent(Reason::ServerDown).act(Step::Start(Recovery::Whole))),
            Process::Silent => Some(intent(Reason::ServerStarting).receiving(self.published_receiving())),
            Process::Running if seen.stranded => Some(Intent::new(State::Rejoining, Reason::Rescues).act(Step::Rescue)),
            Process::Running => None,
        }
    }

    // ## Replica | Booting => Candidate
    fn stand(&self, cluster: &Cluster, seen: &Observed) -> Intent {
        if let Some(intent) = self.bring_up(seen) {
            return intent;
        }
        let intent = match self.promotion_limitation() {
            None => Intent::new(State::Candidate, Reason::Elected { before: cluster.primary.clone() })
                .transact(self.claims(cluster, true)),
            Some(limitation) => Intent::new(State::Candidate, Reason::Limited { limitation }),
        };
        // Who was named takes the lead without asking anybody; who has not stopped receiving follows it the sooner.
        let named = cluster.designated && self.now < self.memory.vacant_since + self.settings.timing.designation;
        match &seen.replication {
            // Who handed over follows the sooner.
            _ if seen.is_frozen() && named && seen.semi_sync && seen.waiting == 0 => intent.act(Step::SemiSync(false)),
            _ if seen.is_frozen() => intent,
            Some(_) if named => intent,
            Some(_) => intent.act(Step::Freeze),
            None => intent,
        }
    }

    /// The recorded primary has every acknowledged write, whatever S is.
    fn stand_again(&self, cluster: &Cluster, seen: &Observed) -> Intent {
        let idle = |because| Intent::new(State::Demoting, because);
        if cluster.designated
            && let Some(intent) = self.bring_up(seen)
        {
            return intent;
        }
        match self.promotion_limitation() {
            None => {
                let intent = Intent::new(State::Candidate, self.claim(Some(cluster)));
                let intent = intent.transact(self.claims(cluster, false));
                // Whoever was named replays somebody who has closed: it has everything.
                match &seen.replication {
                    Some(replication) if cluster.designated && replication.io != Thread::Stopped => {
                        intent.act(Step::TakeOver)
                    }
                    _ if cluster.designated && !seen.is_frozen() => intent.act(Step::Freeze),
                    _ => intent,
                }
            }
            Some(limitation) => idle(Reason::Limited { limitation }),
        }
    }

    fn stand_by_force(&self, cluster: Option<&Cluster>, seen: &Observed) -> Intent {
        if let Some(intent) = self.bring_up(seen) {
            return intent;
        }
        if !seen.is_frozen() {
            return Intent::new(State::Candidate, Reason::Forced).act(Step::Freeze);
        }
        let transaction = self.ordered(self.claims_alone(cluster.is_some()));
        Intent::new(State::Candidate, Reason::Forced).transact(transaction)
    }

    /// There is no record: nobody ever led, or the store is a new one. Only the whole group can tell who has most.
    fn found(&self, seen: &Observed) -> Intent {
        if let Some(intent) = self.bring_up(seen) {
            return intent;
        }
        let intent = |because| Intent::new(State::Booting, because).receiving(seen.receiving());
        let silent: BTreeSet<Server> = self.others().filter(|server| self.member(server).is_none()).cloned().collect();
        if !silent.is_empty() {
            return intent(Reason::AwaitsMembers { silent });
        }
        match self.founder(seen) {
            Err((one, other)) => intent(Reason::Disagree { one, other }),
            Ok(server) if self.is_me(&server) => intent(Reason::Founded).transact(self.claims_alone(false)),
            Ok(server) => intent(Reason::AwaitsFounder { server }),
        }
    }

    /// Who has most; the first in the file of those that are as far.
    fn founder(&self, seen: &Observed) -> Result<Server, (Server, Server)> {
        let position = |server: &Server| {
            if self.is_me(server) { Some(&seen.received) } else { self.member(server).map(|m| &m.gtid_received) }
        };
        let mut all = self.settings.members.iter().filter_map(|(server, _)| Some((server, position(server)?)));
        let Some(mut best) = all.next() else { return Ok(self.settings.me.clone()) };
        for other in all {
            match other.1.order(best.1) {
                None => return Err((best.0.clone(), other.0.clone())),
                Some(std::cmp::Ordering::Greater) => best = other,
                Some(_) => {}
            }
        }
        Ok(best.0.clone())
    }

    /// It may not be the next one.
    fn stand_by(&self, seen: &Observed) -> Intent {
        let limitation = self.promotion_limitation().unwrap_or(Limitation::Unfounded);
        let intent = Intent::new(State::Replica, Reason::Limited { limitation }).receiving(seen.receiving());
        match seen.process {
            // Whoever was a primary waits for another one: whether its end is to be kept is not known before.
            Process::Stopped if !self.was_primary() => intent.act(Step::Start(Recovery::Whole)),
            // Nor acknowledge to the next one, which would have to keep it out first.
            Process::Running if seen.receiving() == Receiving::Acknowledging && !seen.stranded => {
                intent.act(Step::Freeze)
            }
            _ => intent,
        }
    }

    /// The leader's key is made, if nothing has changed that was relied on.
    fn claims(&self, cluster: &Cluster, by_election: bool) -> Transaction {
        let mut transaction = self.claims_alone(true);
        if by_election {
            transaction.compares.extend(self.sync_others(cluster).into_iter().map(|server| {
                let changed = self.mirror.members.get(&server).map_or(Revision::default(), |entry| entry.changed);
                Compare::Changed(Key::Member(server), changed)
            }));
        }
        match self.order().map(|order| &order.value.wish) {
            Some(Wish::Failover { force: false, .. }) => self.ordered(transaction),
            _ => transaction,
        }
    }

    fn claims_alone(&self, recorded: bool) -> Transaction {
        let changed = self.mirror.cluster.as_ref().filter(|_| recorded).map(|entry| entry.changed);
        let record = changed.map_or(Compare::Absent(Key::Cluster), |changed| Compare::Changed(Key::Cluster, changed));
        Transaction {
            compares: vec![Compare::Absent(Key::Leader), record],
            writes: vec![Write::Leader(self.candidacy())],
        }
    }

    /// With the order that it carries out.
    fn ordered(&self, mut transaction: Transaction) -> Transaction {
        if let Some(order) = self.order() {
            transaction.compares.push(Compare::Changed(Key::Order, order.changed));
            transaction.writes.push(Write::Delete(Key::Order));
        }
        transaction
    }
}
