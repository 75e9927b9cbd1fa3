//! Who may write the database.
//!
//! One [`Election`] runs beside every database server. It decides and does nothing: it is told what the store holds and what
//! the local MariaDB was seen to be, and asks for one step on the server and one transaction with the store at a time. It
//! keeps no secrets from its next life: whatever it remembers besides what store and server say are waiting times, so that a
//! restart of the role at any moment only costs time.
//!
//! # What is promised
//! With semi-sync, a write that was acknowledged to a client is never lost, and no server acknowledges a write that reached it
//! after another one, of a later epoch, has opened. Both follow from the record in the store and from who may acknowledge,
//! whatever clocks, pauses, networks and crashes do. Leases and fences only make the change quick and the old primary silent.
//!
//! # The invariant
//! The record names a primary and a set S ([`Cluster::sync`]). At every instant:
//! - **A.** the recorded primary's data hold every acknowledged write;
//! - **B.** if S is not empty, the furthest of S has received every acknowledged write;
//! - **C.** only members of S can acknowledge to the primary, and while S is not empty it tells no client that a commit is
//!   done before one of them did.
//!
//! So the next primary may be the recorded one, or the furthest of *all* of S; nobody else.
//!
//! # Why it holds
//! Every step, and what it relies on. *(P is the primary, Q and R are others; `compares` are those of the transaction.)*
//! 1. **A member's record says the most it does** ([`Member::receiving`]). To do more it first writes so, comparing its own
//!    record, the cluster's record and the epoch; to do less it does so first and writes then. Hence a record that says "no"
//!    and has not changed is true now, and so is the position in it.
//! 2. **Claim.** Without a leader the members of S freeze: the applying thread runs, then the receiving one stops, then the
//!    record says "no" and what was received. From then on P gets no acknowledgement from that member, whatever P believes. The
//!    furthest makes the leader's key if there is none, comparing the cluster's record and the records of all others of S. By
//!    1 nobody of S receives at that instant, and nobody of S can begin again: that compares the epoch, which is a new one
//!    now. By B it has every acknowledged write. Relies on nothing else; P may be alive, open and paused.
//! 3. **Promotion.** It applies what it received, forgets its source, and records `{its epoch, itself, S', history}`,
//!    comparing the record and its own key. S' are those of S that had received exactly as much: B holds for them, and the
//!    others join as replicas do. If it dies before, the record is as it was, and so is its place in S. Only then does it
//!    let anybody write. A: it has everything.
//! 4. **P leads again** if its mariadbd or its role died and nobody claimed: by A it may, S stays as it is. It does so at once
//!    when S is empty or failover is manual, else after [`Timing::patience`]. Its mariadbd is started again only then: a
//!    start commits the unacknowledged end of its binary log, which is right for who leads. Once another one is recorded it is
//!    started without that end instead, and is a replica from then on: what it loses by that, the other one has.
//! 5. **S shrinks.** R's way to P is blocked first, so that it acknowledges no more; then P waits until one that stays in S
//!    has received all that P had *after* the block: that one now has what R alone had acknowledged (B). Then the record is
//!    swapped. Only to the empty set nothing of that is needed, but the order is another: first the record, then semi-sync
//!    goes off, since what is acknowledged from there on P alone has. R is let in again when its record, later than the
//!    record without it, says that it does not acknowledge: it could say otherwise only by comparing a record that has it.
//! 6. **S grows.** First the record, then R acknowledges (C). Into an empty S only when R has everything that P acknowledged
//!    alone: semi-sync goes on (commits wait), P's position is read *after* that, R reaches it, the record is swapped.
//!    Should R not reach it in [`Timing::admission`], semi-sync goes off again: S is still empty.
//! 7. **Switchover.** P closes, which waits for commits and so fails rather than cut one off; reads where it stands; waits
//!    until X has received that; then in one transaction names X in the record, puts itself and whoever else has all of it into S
//!    (B), and deletes its leader's key. X claims by A. Should X not within [`Timing::designation`], S elects by 2, P among
//!    them; until then nobody freezes, so that X is followed at once. X opens before anybody does: commits wait. If anything
//!    takes longer than [`Timing::handover`] P opens again.
//! 8. **The lease.** P closes [`Timing::margin`] before its lease ends and opens again when it is renewed with the key still
//!    there: same epoch, so nobody claimed. All that P does to the record compares its key.
//!
//! What MariaDB must do for this: ARCHITECTURE.md, "The database"; the model in the tests does the same. Durable are the binary log
//! (`sync_binlog=1`) and the relay log (`sync_relay_log=1`).
//!
//! # Who was away
//! A member's data belong to the reign that its record names. The first later reign in the history says where it began: who
//! stands beyond that has writes of its own and is cloned anew; who does not can replay ([`standing`]).

mod facts;
mod flaw;
mod follower;
mod fork;
mod handover;
mod io;
mod leader;
mod memory;
mod primary;
mod promotion;
mod publish;
mod reason;
mod record;
mod sync;
#[cfg(test)]
mod tests;
mod vacant;

use std::collections::VecDeque;
use std::time::Duration;

pub use fork::{Standing, standing};
pub use io::{
    Change, Compare, Entry, Input, Key, Mirror, Observed, Output, Process, Recovery, Replication, Settings, Step,
    StepId, Swap, Timing, Transaction, Trouble, Value, Write,
};
pub use reason::{Limitation, Reason};
pub use record::{Cluster, Epoch, Leader, Member, Mode, Order, Receiving, Reign, Revision, Server, State, Wish};

use self::memory::Memory;
use crate::Time;

/// The machine of one database server.
#[derive(Clone, Debug)]
pub struct Election {
    settings: Settings,
    mirror: Mirror,
    /// Whether the mirror was ever filled.
    listed: bool,
    connected: bool,
    seen: Option<Observed>,
    lease: Option<Time>,
    acting: Option<Acting>,
    transacting: Option<Transacting>,
    last_id: u64,
    state: State,
    because: Reason,
    memory: Memory,
    outputs: VecDeque<Output>,
    now: Time,
    #[cfg(test)]
    flaw: Option<flaw::Flaw>,
}

#[derive(Clone, Debug)]
struct Acting {
    id: StepId,
    until: Time,
    step: Step,
}

#[derive(Clone, Copy, Debug)]
struct Transacting {
    id: StepId,
    until: Time,
    /// It changes the cluster's record.
    records: bool,
    /// It changes this member's record.
    describes: bool,
    /// It makes this server the leader.
    claims: bool,
    /// It was done as this revision, which the mirror has not reached.
    done: Option<Revision>,
}

/// What is right for the moment.
#[derive(Clone, Debug)]
struct Intent {
    state: State,
    because: Reason,
    act: Option<Step>,
    transact: Option<Transaction>,
    /// The most that the member's record has to allow.
    receiving: Receiving,
}

impl Intent {
    fn new(state: State, because: Reason) -> Intent {
        Intent { state, because, act: None, transact: None, receiving: Receiving::No }
    }

    fn act(self, step: Step) -> Intent {
        Intent { act: Some(step), ..self }
    }

    fn transact(self, transaction: Transaction) -> Intent {
        Intent { transact: Some(transaction), ..self }
    }

    fn receiving(self, receiving: Receiving) -> Intent {
        Intent { receiving, ..self }
    }
}

impl Election {
    /// A server of which nothing is known.
    pub fn new(settings: Settings, now: Time) -> Self {
        Election {
            settings,
            mirror: Mirror::default(),
            listed: false,
            connected: false,
            seen: None,
            lease: None,
            acting: None,
            transacting: None,
            last_id: 0,
            state: State::Booting,
            because: Reason::Started,
            memory: Memory::new(now),
            outputs: VecDeque::new(),
            now,
            #[cfg(test)]
            flaw: None,
        }
    }

    /// Takes note of `input`; drain [`Election::poll`] after each.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = now;
        self.take(input);
        self.expire();
        self.note();
        let intent = self.intent();
        self.enter(&intent);
        self.begin(intent);
    }

    /// What to do next; `None`: sleep until [`Election::deadline`].
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to say [`Input::Tick`], if nothing else happens before.
    pub fn deadline(&self) -> Time {
        let tasks = [self.acting.as_ref().map(|acting| acting.until), self.transacting.map(|sent| sent.until)];
        let closing = self.lease.map(|until| earlier(until, self.settings.timing.margin));
        let all = tasks.into_iter().flatten().chain(closing).chain(self.memory.deadlines(&self.settings.timing));
        all.filter(|at| *at > self.now).min().unwrap_or(Time::NEVER)
    }

    /// How often the driver is to look at the local server, besides after every step.
    pub fn pace(&self) -> Duration {
        let timing = &self.settings.timing;
        match self.is_eager() {
            true if self.is_handing_over() || self.is_named() => timing.handing,
            true => timing.eager,
            false => timing.beat / 4,
        }
    }

    /// The epoch of its leadership, if the store says that it leads: as long as it does, the lease of its key is to be kept alive.
    /// The watch may say so later than the answer to the transaction did; a lease given back meanwhile takes the key with it.
    pub fn leads(&self) -> Option<Epoch> {
        let leader = self.mirror.leader.as_ref()?;
        (leader.value.server == self.settings.me).then_some(Epoch(leader.created.0))
    }

    /// Whether it may ask for the lead within moments: a lease is worth having before that.
    pub fn expects_lead(&self) -> bool {
        let Some(cluster) = self.cluster() else { return false };
        let me = &self.settings.me;
        let named = cluster.designated && cluster.primary == *me;
        let wish = self.order().map(|order| &order.value.wish);
        let ordered = matches!(wish, Some(Wish::Switchover { to }) if to.as_ref().is_none_or(|to| to == me));
        let vacant = self.listed && self.mirror.leader.is_none() && self.elects();
        named || (cluster.sync.contains(me) && (ordered || vacant))
    }

    /// Until when clients may be let in without hearing from this machine again: what the fences are set to. `None`: not now.
    pub fn open_until(&self) -> Option<Time> {
        let cluster = &self.mirror.cluster.as_ref()?.value;
        let leads = self.leads() == Some(cluster.epoch) && cluster.primary == self.settings.me;
        let until = earlier(self.lease?, self.settings.timing.margin);
        (leads && self.memory.handover.is_none() && until > self.now).then_some(until)
    }

    /// What it is up to.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why.
    pub fn because(&self) -> &Reason {
        &self.because
    }

    /// What the store held when it was last heard of.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Tick => {}
            Input::Observed(seen) => {
                let stands = self.seen.as_ref().is_some_and(|before| before.received == seen.received);
                self.memory.stands = stands;
                self.seen = Some(*seen);
            }
            Input::Listed(mirror) => {
                self.mirror = *mirror;
                self.listed = true;
                self.connected = true;
            }
            Input::Changed(changes) => changes.into_iter().for_each(|change| self.apply(change)),
            Input::Connected(connected) => self.connected = connected && self.listed,
            Input::Lease { until } => self.lease = Some(until),
            Input::LeaseEnded => self.lease = Some(Time::ZERO),
            Input::Acted { id, result } => self.acted(id, result),
            Input::Transacted { id, swap } => self.transacted(id, swap),
        }
    }

    fn apply(&mut self, change: Change) {
        // What a list had already is told again by a watch that began before it.
        if change.at < self.mirror.at {
            return;
        }
        self.mirror.at = change.at;
        match change.now {
            Value::Leader(entry) => self.mirror.leader = entry,
            Value::Cluster(entry) => self.mirror.cluster = entry,
            Value::Order(entry) => self.mirror.order = entry,
            Value::Member(server, Some(entry)) => {
                self.mirror.members.insert(server, entry);
            }
            Value::Member(server, None) => {
                self.mirror.members.remove(&server);
            }
        }
    }

    fn acted(&mut self, id: StepId, result: Result<(), String>) {
        let Some(acting) = self.acting.take_if(|acting| acting.id == id) else { return };
        self.memory.last_acted = id;
        match result {
            Ok(()) => self.memory.succeeded(&acting.step, self.mirror.leader.as_ref().map(|entry| entry.created)),
            Err(why) => self.failed(&acting.step, why),
        }
    }

    fn failed(&mut self, step: &Step, why: String) {
        self.memory.act_after = self.now + self.settings.timing.retry;
        match step {
            Step::Rescue => self.memory.repaired(1, Some(&why)),
            // Not even begun, for want of a program or since it ended too often lately: that says nothing of the data. But it may say
            // why the server ended.
            Step::Start(_) => self.memory.repaired(0, Some(&why)),
            _ => {}
        }
        self.memory.failure = Some((step.clone(), why, self.now));
        if *step == Step::Close {
            self.give_handover_up();
        }
    }

    fn transacted(&mut self, id: StepId, swap: Swap) {
        let Some(sent) = self.transacting.as_mut().filter(|sent| sent.id == id) else { return };
        match swap {
            Swap::Done(revision) => {
                sent.done = Some(revision);
                if sent.records {
                    self.memory.settled = Some(revision);
                }
                if sent.describes {
                    self.memory.own_settled = Some(revision);
                }
            }
            Swap::Conflict => self.transacting = None,
            Swap::Unknown => {
                self.transacting = None;
                self.memory.transact_after = self.now + self.settings.timing.retry;
            }
        }
    }

    /// Gives up what took too long, and lets go of a transaction whose effect has come back by the watch: until then what is
    /// known is older than what we did.
    fn expire(&mut self) {
        let now = self.now;
        if let Some(acting) = self.acting.take_if(|acting| acting.until <= now) {
            self.memory.last_acted = acting.id;
            self.failed(&acting.step, "it took too long".to_owned());
        }
        let at = self.mirror.at;
        self.transacting = self.transacting.take_if(|sent| sent.until > now && sent.done.is_none_or(|done| done > at));
        if self.leads().is_none() && !self.transacting.is_some_and(|sent| sent.claims) {
            self.lease = None;
        }
    }

    fn enter(&mut self, intent: &Intent) {
        if self.state != intent.state || self.because != intent.because {
            self.state = intent.state;
            self.because = intent.because.clone();
            self.outputs.push_back(Output::Changed { state: self.state, because: self.because.clone() });
        }
    }

    fn begin(&mut self, intent: Intent) {
        if let Some(step) = intent.act.clone()
            && self.acting.is_none()
            && (self.memory.act_after <= self.now || step == Step::Close)
        {
            let (id, until) = (self.next_id(), self.now + self.patience_for(&step));
            if matches!(step, Step::Clone { .. }) {
                self.memory.cloning = self.cluster().map(|cluster| cluster.epoch);
            }
            if step == Step::Nudge {
                self.memory.nudged_at = Some(self.now);
            }
            self.acting = Some(Acting { id, until, step: step.clone() });
            self.outputs.push_back(Output::Act { id, until, step });
        }
        if self.transacting.is_some() || self.memory.transact_after > self.now || !self.connected {
            return;
        }
        let publication = || self.publication(&intent);
        if let Some(transaction) = intent.transact.clone().or_else(publication) {
            let (id, until) = (self.next_id(), self.now + self.settings.timing.transaction);
            self.sent(&transaction, &intent.because);
            let writes = |kind: fn(&Write) -> bool| transaction.writes.iter().any(kind);
            let records = writes(|write| matches!(write, Write::Cluster(_)));
            let describes = writes(|write| matches!(write, Write::Member(..)));
            let claims = writes(|write| matches!(write, Write::Leader(_)));
            self.transacting = Some(Transacting { id, until, records, describes, claims, done: None });
            self.outputs.push_back(Output::Transact { id, until, transaction });
        }
    }

    fn sent(&mut self, transaction: &Transaction, because: &Reason) {
        for write in &transaction.writes {
            match write {
                Write::Member(..) => {
                    self.memory.published_at = Some(self.now);
                    self.memory.own_settled = None;
                }
                Write::Cluster(_) => self.memory.settled = None,
                _ => {}
            }
        }
        match because {
            Reason::GaveUp { .. } => self.memory.unfit_until = self.now + self.settings.timing.unfit,
            Reason::AskedToClone => self.memory.clone_asked = true,
            Reason::Elected { .. }
            | Reason::Reclaimed
            | Reason::Designated { .. }
            | Reason::Founded
            | Reason::Forced => {
                self.memory.claim = Some(because.clone());
            }
            _ => {}
        }
    }

    fn next_id(&mut self) -> StepId {
        self.last_id += 1;
        StepId(self.last_id)
    }

    fn patience_for(&self, step: &Step) -> Duration {
        let timing = &self.settings.timing;
        match step {
            Step::Clone { .. } => timing.clone,
            Step::Rescue | Step::Prepare | Step::Start(_) => timing.long_step,
            _ => timing.step,
        }
    }

    /// What is right for the moment, by who leads.
    fn intent(&self) -> Intent {
        let Some(seen) = self.seen.as_ref().filter(|seen| seen.after >= self.memory.last_acted) else {
            // What is known of the server is older than what was done to it.
            return Intent { receiving: self.published_receiving(), ..Intent::new(self.state, self.because.clone()) };
        };
        if !self.listed {
            return self.unheard(seen);
        }
        match &self.mirror.leader {
            Some(leader) if leader.value.server == self.settings.me => self.leading(seen),
            _ if !self.connected => self.cut_off(seen),
            Some(leader) => self.following(leader, seen),
            None => self.vacant(seen),
        }
    }

    /// Nothing is known of the store. A server that is open may have lost the lead to another long ago; one whose role was
    /// only restarted is not closed for the moment that the first answer takes.
    fn unheard(&self, seen: &Observed) -> Intent {
        let intent = Intent::new(State::Booting, Reason::StoreUnheard).receiving(Receiving::Acknowledging);
        let late = self.now >= self.memory.since + self.settings.timing.margin;
        if self.is_open(seen) && late { intent.act(Step::Close) } else { intent }
    }

    /// Another one led, or nobody, when the store was last heard of: a replica goes on.
    fn cut_off(&self, seen: &Observed) -> Intent {
        let intent = Intent::new(self.state, Reason::StoreLost).receiving(self.published_receiving());
        if self.is_open(seen) { intent.act(Step::Close) } else { intent }
    }
}

/// `before` earlier than `at`.
fn earlier(at: Time, before: Duration) -> Time {
    Time::from_nanos(at.since(Time::ZERO + before).as_nanos().try_into().unwrap_or(u64::MAX))
}
