//! What a machine does because its time has come.

use super::flaw::Flaw;
use super::{ANNOUNCE_EVERY, ANNOUNCEMENTS, Fitness, Output, Reason, State, Vrrp};
use crate::Time;

impl Vrrp {
    /// Everything that is due.
    pub(super) fn turn(&mut self, now: Time) {
        match self.state {
            State::Initialize => {}
            State::Backup | State::Fault => self.turn_waiting(now),
            State::Master => self.turn_master(now),
        }
    }

    fn turn_waiting(&mut self, now: Time) {
        if now >= self.down_at {
            self.master = None;
            if self.fitness == Some(Fitness::Unable) && !self.has(Flaw::UnableTakes) {
                // Taken now, it would be on two servers as soon as the cable is back.
                self.down_at = now + self.settings.silence();
            } else if self.has_fitter_kin(now) && !self.has(Flaw::UnfitTakes) {
                self.down_at = now + self.settings.interval;
            } else {
                let because = match self.state {
                    State::Fault => Reason::NobodyFitter,
                    _ if self.left => Reason::MasterLeft,
                    _ => Reason::MasterSilent,
                };
                return self.become_master(now, because);
            }
        }
        if now >= self.speak_at {
            self.hello(now);
        }
    }

    fn turn_master(&mut self, now: Time) {
        if let Some(until) = self.yielding {
            return if now >= until { self.nobody_takes_it(now) } else { self.repeat_farewell(now) };
        }
        if self.leaves_unfit(now) {
            self.tried = true;
            if self.fitness.is_some_and(Fitness::serves) && !self.has(Flaw::MaintainedDrops) {
                // It goes on until somebody else does.
                (self.yielding, self.speak_at) = (Some(now + self.settings.interval * 4), now);
                return self.repeat_farewell(now);
            }
            if !self.has(Flaw::NoFarewell) {
                self.outputs.push_back(Output::Advertise { priority: 0 });
            }
            return self.step_down(now, Reason::Listening, None);
        }
        if now >= self.announce_at {
            let next = now + ANNOUNCEMENTS.get(self.announced + 1).copied().unwrap_or(ANNOUNCE_EVERY);
            self.announce_at = if self.has(Flaw::AnnouncesOnce) { Time::NEVER } else { next };
            self.announced += 1;
            self.outputs.push_back(Output::Announce);
        }
        if now >= self.speak_at {
            self.hold(now);
            self.outputs.push_back(Output::Advertise { priority: self.priority() });
            self.speak_at = now + self.settings.interval;
        }
    }

    /// Whether it is not fit, and somebody else is or may be fitter.
    fn leaves_unfit(&self, now: Time) -> bool {
        match self.fitness {
            None | Some(Fitness::Fit) => false,
            Some(Fitness::Unable) => true,
            Some(_) if self.has(Flaw::LowerOnly) => false,
            Some(Fitness::Maintained) if self.tried && self.has(Flaw::MaintainedOnce) => false,
            Some(Fitness::Maintained) if self.settings.kin => now >= self.again_at && self.has_fitter_kin(now),
            Some(Fitness::Maintained) if self.tried => false,
            Some(_) if self.settings.kin => self.has_fitter_kin(now),
            Some(_) => !self.tried,
        }
    }

    /// ## Master => (Master | Initialize): it was to hand over. Who only made room goes on; who was told to leave does.
    fn nobody_takes_it(&mut self, now: Time) {
        if self.away && !self.has(Flaw::AwayStays) {
            return self.depart(now);
        }
        (self.yielding, self.speak_at) = (None, now);
        // Who comes meanwhile has to hear first whose the address is.
        self.again_at = now + self.settings.interval * 2;
    }

    fn has_fitter_kin(&self, now: Time) -> bool {
        let own = self.fitness.unwrap_or(Fitness::Unable);
        self.settings.kin && self.peers.any_fitter(now, self.settings.silence(), own)
    }

    /// The address stays meanwhile: until then it is the only one that answers.
    fn repeat_farewell(&mut self, now: Time) {
        if now >= self.speak_at {
            if !self.has(Flaw::YieldForgets) {
                self.hold(now);
            }
            if self.has(Flaw::EarlyRelease) {
                self.outputs.push_back(Output::Release { to: None });
            }
            self.outputs.push_back(Output::Advertise { priority: 0 });
            self.speak_at = now + self.settings.interval;
        }
    }
}
