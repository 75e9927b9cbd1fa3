//! What this server says of itself in the store.

use super::flaw::Flaw;
use super::{
    Compare, Election, Intent, Key, Member, Observed, Process, Reason, Receiving, State, Step, Transaction, Write,
};
use crate::gtid::Position;

impl Election {
    /// What it says, as things are; epoch and what it receives stay what they are on record.
    pub(super) fn description(&self, state: State, because: &Reason) -> Member {
        let known = self.published();
        let (gtid_current, gtid_received) = self.positions(known);
        Member {
            epoch: known.map_or_else(Default::default, |member| member.epoch),
            state,
            gtid_current,
            gtid_received,
            receiving: self.published_receiving(),
            adrift: self.seen.as_ref().is_some_and(Observed::is_adrift),
            unfit: self.seen.as_ref().and_then(|seen| self.unfit(seen)).map(|limitation| limitation.to_string()),
            beat: known.map_or(0, |member| member.beat) + 1,
            because: because.to_string(),
        }
    }

    /// Where it stands; what it has lost is not taken back, since somebody may have relied on it.
    fn positions(&self, known: Option<&Member>) -> (Position, Position) {
        let before =
            known.map(|member| (member.gtid_current.clone(), member.gtid_received.clone())).unwrap_or_default();
        match &self.seen {
            Some(seen) if seen.process == Process::Running => match self.lost(seen) {
                Some(had) => (seen.current.clone(), had),
                None => (seen.current.clone(), seen.received.clone()),
            },
            _ => before,
        }
    }

    /// Its record, if that is due: something changed, somebody waits for its position, or a second has passed.
    pub(super) fn publication(&self, intent: &Intent) -> Option<Transaction> {
        let seen = self.seen.as_ref()?;
        if !self.listed || seen.after < self.memory.last_acted {
            return None;
        }
        let me = &self.settings.me;
        let known = self.published();
        let mut member = self.description(intent.state, &intent.because);
        member.receiving = self.lowered(intent, seen);
        let told = |member: &Member| (member.receiving, member.adrift, member.unfit.clone());
        let changed = known.is_none_or(|known| told(known) != told(&member));
        // Nobody decides by these; while much happens they would only be in the way of what does.
        let reworded = known.is_none_or(|known| (known.state, &known.because) != (member.state, &member.because));
        let moved = known.is_none_or(|known| known.gtid_received != member.gtid_received);
        let waited = |pause| self.memory.published_at.is_none_or(|at| self.now >= at + pause);
        let timing = &self.settings.timing;
        let eager = moved && self.is_eager() && self.memory.handover.is_none();
        // Who hands over goes by where the others come to stand once it has closed, and waits for that alone.
        let pause = match self.is_handing_over() {
            true if self.memory.stands => timing.handing,
            true => timing.words,
            false => timing.eager,
        };
        let due = changed || waited(timing.beat) || (eager && waited(pause)) || (reworded && waited(timing.words));
        if known.is_none() && (seen.process != Process::Running || seen.stranded) {
            return None;
        }
        let own = match self.mirror.members.get(me) {
            Some(entry) => Compare::Changed(Key::Member(me.clone()), entry.changed),
            None => Compare::Absent(Key::Member(me.clone())),
        };
        due.then(|| Transaction { compares: vec![own], writes: vec![Write::Member(me.clone(), member)] })
    }

    /// What it may be receiving: less than on record only once that is certain, more only by [`Election::announce`].
    fn lowered(&self, intent: &Intent, seen: &Observed) -> Receiving {
        let Some(known) = self.published() else { return seen.receiving() };
        let starts = |acting: &super::Acting| matches!(acting.step, Step::Follow { .. });
        // Nor before it is known what it has: that is what the others go by.
        let known_well = seen.process == Process::Running && !seen.stranded;
        let uncertain = self.acting.as_ref().is_some_and(starts) || !(known_well || self.flawed(Flaw::PublishUnknown));
        let least = if self.flawed(Flaw::PublishBeforeFreezing) { Receiving::No } else { seen.receiving() };
        if uncertain { known.receiving } else { known.receiving.min(least.max(intent.receiving)) }
    }
}
