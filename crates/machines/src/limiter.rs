//! One of several limiters that hold to the same rate: balancers, of which a visitor may ask any.
//!
//! Each decides by what it knows, at once, and tells the others now and then what it has admitted ([`Limiter::tell`],
//! [`Limiter::hear`]). What it hears it counts as its own, also beyond the burst: then it refuses until that is made up for.
//!
//! So the sum of all can be off only by what was admitted since the others last heard. Of `n` limiters that tell each other
//! everything each period, with `d` from a request to when all have counted it (a period, and the way), a key gets in any time `t`
//! at most
//!
//! ```text
//! burst + rate × t + (n − 1) × (burst + rate × d)
//! ```
//!
//! where one limiter alone admits `burst + rate × t`: the bursts of the others come on top once, and are paid for. In the long run
//! the rate is the declared one, not `n` times of it. Since a request may be counted later than it came, a little of the burst is
//! lost: who keeps the rate with all of them together is never refused by any if the burst is larger by `rate × d` than what he
//! makes use of. A message that is lost is not counted: as much more is admitted as it told of.
//!
//! Who goes on asking although he is refused can be banned ([`Ban`]). Bans are told at once, and all of them again from time to
//! time, so that a lost message or a limiter that begins anew only has them later.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Time;
use crate::rate::{Limit, Rates};

/// Keys that one message tells of: a limiter is one of many parts of a table, and tells every fraction of a second. Requests of
/// further ones are not told and counted as such, the keys that asked first being those that ask most.
const TOLD_MAX: usize = 64;

/// Keys that are banned at once, of one limiter; 24 bytes each. Of more, that which ends soonest is let go.
const BANNED_MAX: usize = 1024;

/// Between two times that all bans are told.
pub const REPEAT: Duration = Duration::from_secs(5);

/// When a key is banned, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// So many refusals within [`Ban::within`] are too many.
    pub refusals: u32,
    /// See there.
    pub within: Duration,
    /// For how long nothing is admitted then.
    pub lasts: Duration,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many at once: the next one is admitted after this.
    Early(Duration),
    /// The key is banned for this long.
    Banned(Duration),
}

impl Refusal {
    /// How long to wait.
    pub fn wait(self) -> Duration {
        match self {
            Refusal::Early(wait) | Refusal::Banned(wait) => wait,
        }
    }
}

/// What one limiter tells the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Key and how many of its requests were admitted since the last message.
    pub admitted: Vec<(u64, u32)>,
    /// Key and for how much longer it is banned.
    pub banned: Vec<(u64, Duration)>,
}

impl Message {
    /// Whether there is nothing to be told.
    pub fn is_empty(&self) -> bool {
        self.admitted.is_empty() && self.banned.is_empty()
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Limiter {
    rates: Rates,
    /// Not yet told; `None`: there is nobody to tell.
    admitted: Option<BTreeMap<u64, u32>>,
    untold: u64,
    bans: Option<Bans>,
}

#[derive(Clone, Debug)]
struct Bans {
    ban: Ban,
    refusals: Rates,
    /// Until when.
    until: BTreeMap<u64, Time>,
    fresh: Vec<u64>,
    /// When all were told; `None`: they are to be told next time.
    repeated_at: Option<Time>,
}

impl Limiter {
    /// With room for `keys`, which come hashed with a seed that all limiters share and nobody else knows.
    pub fn new(limit: Limit, keys: usize, ban: Option<Ban>) -> Limiter {
        let bans = ban.map(|ban| Bans {
            ban,
            refusals: Rates::new(Limit { interval: ban.within / ban.refusals.max(1), burst: ban.refusals }, keys, 0),
            until: BTreeMap::new(),
            fresh: Vec::new(),
            repeated_at: None,
        });
        Limiter { rates: Rates::new(limit, keys, 0), admitted: None, untold: 0, bans }
    }

    /// From now on there are others who want to be told, or not.
    pub fn share(&mut self, with_others: bool) {
        if with_others != self.admitted.is_some() {
            self.admitted = with_others.then(BTreeMap::new);
        }
    }

    /// Decides on a request.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn ask(&mut self, now: Time, key: u64) -> Result<(), Refusal> {
        if let Some(wait) = self.bans.as_ref().and_then(|bans| bans.wait(now, key)) {
            return Err(Refusal::Banned(wait));
        }
        if let Err(wait) = self.rates.ask_hashed(now, key) {
            let banned = self.bans.as_mut().and_then(|bans| bans.refused(now, key));
            return Err(banned.map_or(Refusal::Early(wait), Refusal::Banned));
        }
        if let Some(admitted) = &mut self.admitted {
            let room = admitted.len() < TOLD_MAX;
            match admitted.get_mut(&key) {
                Some(count) => *count = count.saturating_add(1),
                None if room => drop(admitted.insert(key, 1)),
                None => self.untold += 1,
            }
        }
        Ok(())
    }

    /// What the others are to be told now.
    pub fn tell(&mut self, now: Time) -> Message {
        let admitted = self.admitted.as_mut().map(std::mem::take).unwrap_or_default().into_iter().collect();
        let banned = self.bans.as_mut().map(|bans| bans.told(now)).unwrap_or_default();
        Message { admitted, banned }
    }

    /// Somebody has begun anew: all bans are told next time.
    pub fn repeat(&mut self) {
        if let Some(bans) = &mut self.bans {
            bans.repeated_at = None;
        }
    }

    /// Counts what another one has told.
    pub fn hear(&mut self, now: Time, message: &Message) {
        for (key, requests) in &message.admitted {
            self.rates.charge(now, *key, *requests);
        }
        if let Some(bans) = &mut self.bans {
            for (key, wait) in &message.banned {
                // Nobody can ban for longer than was declared.
                bans.hold(now, *key, now + (*wait).min(bans.ban.lasts));
            }
        }
    }

    /// Requests that the others are not told of, for want of room.
    pub fn untold(&self) -> u64 {
        self.untold
    }

    /// Keys that were forgotten early, for want of room.
    pub fn forgotten(&self) -> u64 {
        self.rates.forgotten()
    }

    /// Keys that are banned now.
    pub fn banned(&self, now: Time) -> usize {
        self.bans.as_ref().map_or(0, |bans| bans.until.values().filter(|until| **until > now).count())
    }
}

impl Bans {
    fn wait(&self, now: Time, key: u64) -> Option<Duration> {
        // Mostly nobody is banned.
        let until = self.until.get(&key)?;
        (*until > now).then(|| until.since(now))
    }

    /// ## Refused => (Refused | Banned)
    fn refused(&mut self, now: Time, key: u64) -> Option<Duration> {
        self.refusals.ask_hashed(now, key).err()?;
        self.hold(now, key, now + self.ban.lasts);
        // Where nobody is to be told nobody takes them out; what finds no room is told with all others.
        if self.fresh.len() < BANNED_MAX {
            self.fresh.push(key);
        }
        Some(self.ban.lasts)
    }

    fn hold(&mut self, now: Time, key: u64, until: Time) {
        let known = self.until.get(&key).copied().unwrap_or(Time::ZERO);
        if known >= until {
            return;
        }
        if self.until.len() >= BANNED_MAX && known == Time::ZERO {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= BANNED_MAX
            && known == Time::ZERO
            && let Some(soonest) = self.until.iter().min_by_key(|(_, until)| **until).map(|(key, _)| *key)
        {
            self.until.remove(&soonest);
        }
        self.until.insert(key, until);
    }

    fn told(&mut self, now: Time) -> Vec<(u64, Duration)> {
        self.until.retain(|_, until| *until > now);
        let fresh = std::mem::take(&mut self.fresh);
        if self.repeated_at.is_none_or(|at| now.since(at) >= REPEAT) {
            self.repeated_at = Some(now);
            return self.until.iter().map(|(key, until)| (*key, until.since(now))).collect();
        }
        fresh.into_iter().filter_map(|key| Some((key, self.until.get(&key)?.since(now)))).collect()
    }
}

#[cfg(test)]
mod tests;
