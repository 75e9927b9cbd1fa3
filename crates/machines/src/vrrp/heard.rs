//! What a machine makes of what other masters say.

use std::net::IpAddr;
use std::time::Duration;

use super::flaw::Flaw;
use super::{Fitness, LEAST, OWNER, Output, PATIENCE, Reason, State, Vrrp};
use crate::Time;

impl Vrrp {
    /// A master leaves (§ 6.4.2, § 6.4.3).
    pub(super) fn farewell(&mut self, now: Time, from: IpAddr, fitness: Option<Fitness>) {
        self.served(now, from, fitness);
        match self.state {
            // There were two: what the wire knows may be the other's place.
            State::Master if self.yielding.is_none() => self.assert(now),
            State::Backup | State::Fault if self.master == Some(from) || self.has(Flaw::FarewellOfAnybody) => {
                // The earlier one: a farewell that is repeated must not put off what the first one began.
                let begun = if self.has(Flaw::FarewellPutsOff) { Time::NEVER } else { self.down_at };
                self.down_at = begun.min(now + self.skew(now));
                self.left = true;
            }
            _ => {}
        }
    }

    pub(super) fn advert(
        &mut self,
        now: Time,
        from: IpAddr,
        priority: u8,
        interval: Duration,
        fitness: Option<Fitness>,
    ) {
        self.served(now, from, fitness);
        match self.state {
            State::Initialize => self.master = Some(from),
            State::Backup | State::Fault => {
                if !self.preempts(priority) {
                    (self.master, self.left) = (Some(from), false);
                    self.master_interval = interval;
                    self.down_at = now + self.down_interval(now);
                }
            }
            State::Master if self.yielding.is_some() && !self.has(Flaw::StaysYielding) => {
                self.master = Some(from);
                self.depart(now);
            }
            State::Master if self.yields_to(priority, from) => {
                self.master_interval = interval;
                // The other one may not have heard that there were two: then it would not tell the wire again. No farewell,
                // by which our own backups would take over.
                if !self.has(Flaw::QuietLoser) {
                    self.outputs.push_back(Output::Advertise { priority: LEAST });
                }
                self.step_down(now, Reason::Outranked { by: from }, Some(from));
                self.master = Some(from);
            }
            State::Master => self.defy(now, from, interval, fitness),
        }
    }

    /// Notes whose connections there will be if we take the address now. Who says that he cannot serve has none.
    fn served(&mut self, now: Time, from: IpAddr, fitness: Option<Fitness>) {
        let serves = self.settings.kin && (fitness.is_some_and(Fitness::serves) || self.has(Flaw::InheritsFromUnfit));
        let is_other = self.before.is_some_and(|(before, _)| before != from);
        match serves {
            true => self.before = Some((from, now)),
            false if is_other => {}
            false => self.before = None,
        }
    }

    fn preempts(&self, priority: u8) -> bool {
        let may = self.settings.preempt || self.settings.priority == OWNER || self.has(Flaw::AlwaysPreempts);
        let fit = self.fitness == Some(Fitness::Fit) || self.has(Flaw::UnfitPreempts);
        may && fit && priority < self.priority()
    }

    fn yields_to(&self, priority: u8, from: IpAddr) -> bool {
        if self.has(Flaw::TieUnbroken) {
            return priority > self.priority();
        }
        (priority, from) > (self.priority(), self.settings.address)
    }

    /// A master with less right to the address was heard.
    fn defy(&mut self, now: Time, from: IpAddr, interval: Duration, fitness: Option<Fitness>) {
        let steady = interval.max(self.settings.interval) * 2;
        let since = self.defied.filter(|(_, last)| now.since(*last) <= steady).map_or(now, |(since, _)| since);
        self.defied = Some((since, now));
        let as_good = fitness >= self.fitness || self.has(Flaw::YieldsToUnfit);
        let as_good = self.settings.kin && as_good && !self.has(Flaw::NeverUnheard);
        if as_good && !self.settings.preempt && now.since(since) > self.settings.interval * PATIENCE {
            self.master_interval = interval;
            self.step_down(now, Reason::Unheard { by: from }, Some(from));
            self.master = Some(from);
        } else {
            self.assert(now);
        }
    }

    /// Says whose the address is, but does not answer a storm by another one.
    fn assert(&mut self, now: Time) {
        if now >= self.assert_at && !self.has(Flaw::Unasserted) {
            (self.announce_at, self.speak_at) = (now, now);
            self.assert_at = now + self.settings.interval / 2;
        }
    }
}
