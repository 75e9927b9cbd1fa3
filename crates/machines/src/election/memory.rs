//! Waiting times and what is half done: nothing whose loss costs more than time.

use std::collections::{BTreeMap, BTreeSet};

use super::{Election, Epoch, Observed, Process, Reason, Recovery, Revision, Server, Step, StepId, Timing};
use crate::Time;
use crate::gtid::Position;

#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// Since when the machine exists.
    pub since: Time,
    /// The last local step that came to an end.
    pub last_acted: StepId,
    pub act_after: Time,
    pub transact_after: Time,
    /// What failed last, why and when.
    pub failure: Option<(Step, String, Time)>,
    /// How often in a row the server could not be started, or what it had received before not be applied; and why, the last time.
    pub repairs: Option<(u32, String)>,
    /// Since when there is no leader.
    pub vacant_since: Time,
    pub vacant: bool,
    /// Since when nothing but its turn keeps this member from claiming.
    pub ready_since: Option<Time>,
    /// Its leadership and since when.
    pub led_since: Option<(Epoch, Time)>,
    /// Since when its leadership is on record.
    pub recorded_since: Option<Time>,
    /// Why it leads.
    pub claim: Option<Reason>,
    /// It gave the lead up and does not ask for it until then.
    pub unfit_until: Time,
    /// Since when the server does not answer, or cannot write.
    pub mute_since: Option<Time>,
    /// The last change of each member's record and when it came.
    pub beats: BTreeMap<Server, (Revision, Time)>,
    /// As a primary: since when each replica is connected (`true`) or away.
    pub presence: BTreeMap<Server, (bool, Time)>,
    /// As a primary: since when commits wait and this number has not risen.
    pub stuck_since: Option<(u64, Time)>,
    /// What this primary had after those were blocked.
    pub proof: Option<(BTreeSet<Server>, Position)>,
    pub admission: Option<Admission>,
    /// No replica is taken into an empty S until then.
    pub admit_after: Time,
    pub handover: Option<Handover>,
    /// An order that cannot be carried out, and why.
    pub refused: Option<(Revision, Reason)>,
    /// For which leadership of another its server was started without its end.
    pub truncated: Option<Revision>,
    /// An operator asked for a new copy, and the order is deleted.
    pub clone_asked: bool,
    /// The revision of the last change of the cluster's record that this process sent and knows to be done, if it has sent none
    /// since.
    pub settled: Option<Revision>,
    /// The same for its own record.
    pub own_settled: Option<Revision>,
    /// In which epoch the last clone began, and the last one that was finished.
    pub cloning: Option<Epoch>,
    pub cloned: Option<Epoch>,
    /// When it last wrote its record.
    pub published_at: Option<Time>,
    /// When it was last tried whether replicas acknowledge.
    pub nudged_at: Option<Time>,
    /// Between the last two looks nothing was received.
    pub stands: bool,
}

/// A replica on its way into S.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub server: Server,
    pub since: Time,
    /// What it must have received.
    pub mark: Position,
    /// Commits are to wait, since the primary alone has what they wrote.
    pub holds: bool,
    /// They do, and `mark` was read after that.
    pub held: bool,
}

/// A switchover under way.
#[derive(Clone, Debug)]
pub(super) struct Handover {
    pub to: Server,
    pub since: Time,
    /// The order's revision.
    pub order: Revision,
}

impl Memory {
    pub(super) fn new(now: Time) -> Memory {
        Memory {
            since: now,
            last_acted: StepId::default(),
            act_after: now,
            transact_after: now,
            failure: None,
            repairs: None,
            vacant_since: now,
            vacant: false,
            ready_since: None,
            led_since: None,
            recorded_since: None,
            claim: None,
            unfit_until: Time::ZERO,
            mute_since: None,
            beats: BTreeMap::new(),
            presence: BTreeMap::new(),
            stuck_since: None,
            proof: None,
            admission: None,
            admit_after: Time::ZERO,
            handover: None,
            refused: None,
            truncated: None,
            clone_asked: false,
            settled: None,
            own_settled: None,
            cloning: None,
            cloned: None,
            published_at: None,
            nudged_at: None,
            stands: false,
        }
    }

    /// When something of this comes to its time.
    pub(super) fn deadlines(&self, timing: &Timing) -> impl Iterator<Item = Time> {
        let vacant = [timing.patience, timing.designation].map(|wait| self.vacant.then(|| self.vacant_since + wait));
        let ready = [1, 2].map(|turn| self.ready_since.map(|since| since + timing.turn * turn));
        let single = [
            Some(self.act_after),
            Some(self.transact_after),
            self.published_at.map(|at| at + timing.beat),
            self.published_at.map(|at| at + timing.eager),
            self.published_at.map(|at| at + timing.handing),
            self.published_at.map(|at| at + timing.words),
            self.recorded_since.map(|since| since + timing.joining),
            self.nudged_at.map(|at| at + timing.doubt),
            self.led_since.map(|(_, since)| since + timing.promotion),
            self.handover.as_ref().map(|handover| handover.since + timing.handover / 5),
            self.handover.as_ref().map(|handover| handover.since + timing.handover),
            self.admission.as_ref().map(|admission| admission.since + timing.admission),
            self.mute_since.map(|since| since + timing.absence),
            self.stuck_since.map(|(_, since)| since + timing.absence),
        ];
        let away: Vec<Time> =
            self.presence.values().flat_map(|(_, since)| [*since + timing.absence, *since + timing.steady]).collect();
        vacant.into_iter().chain(ready).chain(single).flatten().chain(away)
    }

    /// Counts `more` tries to bring the server to where it could replay anybody, until it is seen there.
    pub(super) fn repaired(&mut self, more: u32, why: Option<&String>) {
        let (before, known) = self.repairs.take().unwrap_or_default();
        self.repairs = Some((before + more, why.cloned().unwrap_or(known)));
    }

    pub(super) fn succeeded(&mut self, step: &Step, leader: Option<Revision>) {
        self.failure = None;
        match step {
            Step::Start(recovery) => {
                self.repaired(1, None);
                if *recovery == Recovery::Truncated {
                    self.truncated = leader;
                }
            }
            Step::Clone { .. } => {
                self.clone_asked = false;
                self.repairs = None;
                self.cloned = self.cloning;
            }
            _ => {}
        }
    }
}

impl Election {
    /// Brings the waiting times up to what is known.
    pub(super) fn note(&mut self) {
        self.note_leader();
        self.note_beats();
        self.note_server();
        if self.leads().is_some() {
            self.note_presence();
            self.note_admission();
            self.note_handover();
        }
        self.note_readiness();
    }

    fn note_leader(&mut self) {
        let vacant = self.listed && self.mirror.leader.is_none();
        if vacant && !self.memory.vacant {
            self.memory.vacant_since = self.now;
        }
        self.memory.vacant = vacant;
        let leads = self.leads();
        if self.memory.led_since.map(|(epoch, _)| epoch) != leads {
            self.memory.led_since = leads.map(|epoch| (epoch, self.now));
            self.forget_reign();
            if leads.is_none() {
                self.memory.claim = None;
            }
        }
        let recorded = leads.is_some() && self.cluster().map(|cluster| cluster.epoch) == leads;
        self.memory.recorded_since = recorded.then(|| self.memory.recorded_since.unwrap_or(self.now));
    }

    fn forget_reign(&mut self) {
        let memory = &mut self.memory;
        (memory.recorded_since, memory.stuck_since, memory.proof) = (None, None, None);
        (memory.admission, memory.handover) = (None, None);
        memory.presence.clear();
    }

    fn note_beats(&mut self) {
        for (server, entry) in &self.mirror.members {
            let known = self.memory.beats.get(server).is_some_and(|(changed, _)| *changed == entry.changed);
            if !known {
                self.memory.beats.insert(server.clone(), (entry.changed, self.now));
            }
        }
    }

    fn note_server(&mut self) {
        let Some(seen) = &self.seen else { return };
        let mute = seen.process == Process::Silent || seen.unable.is_some();
        if seen.process == Process::Running && !seen.stranded {
            self.memory.repairs = None;
        }
        self.memory.mute_since = mute.then(|| self.memory.mute_since.unwrap_or(self.now));
    }

    fn note_presence(&mut self) {
        let Some(seen) = &self.seen else { return };
        let others: Vec<Server> = self.others().cloned().collect();
        for server in others {
            let here = seen.connected.contains(&server);
            let entry = self.memory.presence.entry(server).or_insert((here, self.now));
            if entry.0 != here {
                *entry = (here, self.now);
            }
        }
        self.memory.stuck_since = stuck(seen, self.memory.stuck_since, self.now);
    }

    fn note_readiness(&mut self) {
        let ready = match self.promotion_limitation() {
            None | Some(super::Limitation::Turn { .. }) => self.memory.vacant,
            Some(_) => false,
        };
        self.memory.ready_since = ready.then(|| self.memory.ready_since.unwrap_or(self.now));
    }
}

fn stuck(seen: &Observed, before: Option<(u64, Time)>, now: Time) -> Option<(u64, Time)> {
    if seen.waiting == 0 || !seen.semi_sync {
        return None;
    }
    before.filter(|(acknowledged, _)| *acknowledged == seen.acknowledged).or(Some((seen.acknowledged, now)))
}
