//! How often someone may ask: a rate for each key, in fixed memory.
//!
//! The algorithm is GCRA, the generic cell rate algorithm in its virtual scheduling form (ITU-T I.371, annex A; ATM Forum
//! TM 4.1). A key has one number, its theoretical arrival time `tat`: when it would be back at its full burst. With a
//! request due each `interval` and a burst of `b`, a request at `now` is admitted if
//! `max(tat, now) - now <= (b - 1) * interval`, and then `tat = max(tat, now) + interval`. That is a bucket of `b` tokens
//! which regains one each `interval`, to the nanosecond and without a timer. What is refused costs the key nothing, so
//! that whoever waits as long as it was told is admitted.

use std::time::Duration;

use crate::Time;
use crate::balance::hash;

/// The rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Between two requests in the long run; 100 ms are 10 a second.
    pub interval: Duration,
    /// Requests that may come at once after a pause; 0 counts as 1.
    pub burst: u32,
}

impl Limit {
    /// Decides on a request of a key that is back at its full burst at `tat`. Admitted: the new `tat`.
    ///
    /// # Errors
    /// Refused: how long until a request will be admitted (`Retry-After`, RFC 9110 section 10.2.3, which counts whole
    /// seconds: round up).
    pub fn decide(&self, tat: Time, now: Time) -> Result<Time, Duration> {
        let ahead = tat.since(now);
        let tolerance = self.interval.saturating_mul(self.burst.max(1) - 1);
        match ahead.checked_sub(tolerance) {
            Some(early) if !early.is_zero() => Err(early),
            _ => Ok(tat.max(now) + self.interval),
        }
    }
}

/// Entries among which a key has its place; a set is one cache line or two.
const WAYS: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u64,
    tat: Time,
}

/// An entry that nobody has: its burst is full at any time.
const VACANT: Entry = Entry { key: 0, tat: Time::ZERO };

/// The keys that are not at their full burst; 16 bytes each, all of them taken at once.
///
/// A key can be in one of 8 entries only, whichever its hash says. An entry whose key is back at its full burst is as
/// good as vacant. If none of the 8 is, the key nearest to its full burst is forgotten, which can only do it good at
/// once: who keeps the rate is never refused because of others, and who is far above it is remembered the longest.
/// Keys count as the same if their seeded hashes of 64 bits are.
#[derive(Clone, Debug)]
pub struct Rates {
    limit: Limit,
    seed: u64,
    entries: Box<[Entry]>,
    forgotten: u64,
}

impl Rates {
    /// Room for `keys`, rounded up to 8 times a power of two. The seed should be a secret, lest someone choose keys that
    /// share a set.
    pub fn new(limit: Limit, keys: usize, seed: u64) -> Rates {
        let sets = keys.div_ceil(WAYS).next_power_of_two();
        Rates { limit, seed, entries: vec![VACANT; sets * WAYS].into(), forgotten: 0 }
    }

    /// Decides on a request of `key`, such as the octets of an address.
    ///
    /// # Errors
    /// Refused: how long until a request will be admitted, as in [`Limit::decide`].
    pub fn ask(&mut self, now: Time, key: &[u8]) -> Result<(), Duration> {
        self.ask_hashed(now, hash::bytes(self.seed, key))
    }

    /// The same for a key that was hashed already, with a seed that is a secret.
    ///
    /// # Errors
    /// As [`Rates::ask`].
    pub fn ask_hashed(&mut self, now: Time, key: u64) -> Result<(), Duration> {
        let tat = self.limit.decide(self.tat(now, key), now)?;
        self.set(now, key, tat);
        Ok(())
    }

    /// Counts `requests` of a key that somebody else has admitted, whether or not they would be admitted here: it is refused
    /// until that is made up for.
    pub fn charge(&mut self, now: Time, key: u64, requests: u32) {
        let tat = self.tat(now, key).max(now) + self.limit.interval.saturating_mul(requests);
        self.set(now, key, tat);
    }

    /// When the key is back at its full burst; [`Time::ZERO`] if it is since `now`.
    fn tat(&self, now: Time, key: u64) -> Time {
        let set = self.place(key);
        let known = self.entries[set..set + WAYS].iter().find(|entry| entry.key == key && entry.tat > now);
        known.map_or(Time::ZERO, |entry| entry.tat)
    }

    fn set(&mut self, now: Time, key: u64, tat: Time) {
        let set = self.place(key);
        let set = &mut self.entries[set..set + WAYS];
        let known = set.iter().position(|entry| entry.key == key && entry.tat > Time::ZERO);
        let nearest = || set.iter().enumerate().min_by_key(|(_, entry)| entry.tat).map(|(place, _)| place);
        if let Some(entry) = known.or_else(nearest).and_then(|place| set.get_mut(place)) {
            self.forgotten += u64::from(entry.key != key && entry.tat > now);
            *entry = Entry { key, tat };
        }
    }

    fn place(&self, key: u64) -> usize {
        hash::below(key, self.entries.len() / WAYS) * WAYS
    }

    /// How many keys were forgotten before they were back at their full burst: if it grows, there is too little room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The bytes that the table takes, however many keys ask.
    pub fn size(&self) -> usize {
        size_of_val(&*self.entries)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const fn limit(interval: u64, burst: u32) -> Limit {
        Limit { interval: Duration::from_nanos(interval), burst }
    }

    /// A bucket with parts of tokens, counted so that no fraction is ever needed: an `interval` of parts is a token.
    struct Bucket {
        limit: Limit,
        parts: u64,
        at: u64,
    }

    impl Bucket {
        fn new(limit: Limit) -> Bucket {
            Bucket { limit, parts: u64::MAX, at: 0 }
        }

        fn ask(&mut self, now: u64) -> Result<(), u64> {
            let token = self.limit.interval.as_nanos() as u64;
            self.parts = self.parts.saturating_add(now - self.at).min(token * u64::from(self.limit.burst));
            self.at = now;
            if self.parts < token {
                return Err(token - self.parts);
            }
            self.parts -= token;
            Ok(())
        }
    }

    fn nanos(result: Result<(), Duration>) -> Result<(), u64> {
        result.map_err(|wait| wait.as_nanos() as u64)
    }

    /// Every sequence of seven requests with pauses from none to more than an interval, for small rates.
    #[test]
    fn every_short_history_is_that_of_a_bucket() {
        for limit in [limit(3, 1), limit(3, 2), limit(2, 3)] {
            for history in 0..5u32.pow(7) {
                let mut rates = Rates::new(limit, 1, 0);
                let mut bucket = Bucket::new(limit);
                let mut now = 1_000;
                for pause in (0..7).map(|step| history / 5u32.pow(step) % 5) {
                    now += u64::from(pause);
                    assert_eq!(nanos(rates.ask(Time::from_nanos(now), b"key")), bucket.ask(now), "{history}");
                }
            }
        }
    }

    #[test]
    fn memory_is_fixed_and_forgetting_is_counted() {
        let mut rates = Rates::new(limit(1_000, 5), 100, 1);
        let size = rates.size();
        assert_eq!(size, 128 * 16);
        for key in 0..10_000u32 {
            assert_eq!(rates.ask(Time::from_nanos(u64::from(key) / 100), &key.to_be_bytes()), Ok(()));
        }
        assert_eq!(rates.size(), size);
        assert!(rates.forgotten() > 9_000);
    }

    #[test]
    fn the_heaviest_is_remembered_in_a_flood_of_others() {
        let mut rates = Rates::new(limit(1_000_000, 5), 8, 1);
        let ask = |rates: &mut Rates, key: u32| rates.ask(Time::from_nanos(1), &key.to_be_bytes());
        assert!((0..5).all(|_| ask(&mut rates, 0).is_ok()));
        assert!((1..1_000).all(|key| ask(&mut rates, key).is_ok()));
        assert!(ask(&mut rates, 0).is_err());
    }

    proptest! {
        /// With room for all, each key has a bucket of its own, whatever the rate; and who waits as long as told is
        /// admitted, a nanosecond earlier not.
        #[test]
        fn each_key_has_its_bucket(
            interval in 1u64..1_000,
            burst in 1u32..20,
            requests in prop::collection::vec((0u64..500, 0u8..4), 1..200),
        ) {
            let limit = limit(interval, burst);
            let mut rates = Rates::new(limit, 64, 3);
            let mut buckets = BTreeMap::new();
            let mut now = 7;
            for (pause, key) in requests {
                now += pause;
                let asked = nanos(rates.ask(Time::from_nanos(now), &[key]));
                prop_assert_eq!(asked, buckets.entry(key).or_insert_with(|| Bucket::new(limit)).ask(now));
                if let Err(wait) = asked {
                    prop_assert_eq!(nanos(rates.clone().ask(Time::from_nanos(now + wait), &[key])), Ok(()));
                    prop_assert_eq!(nanos(rates.clone().ask(Time::from_nanos(now + wait - 1), &[key])), Err(1));
                }
            }
            prop_assert_eq!(rates.forgotten(), 0);
        }

        /// However many others flood a table that is much too small, who keeps the rate is not refused.
        #[test]
        fn who_keeps_the_rate_is_not_refused(
            others in prop::collection::vec((0u64..300, any::<u8>()), 1..500),
        ) {
            let mut rates = Rates::new(limit(1_000, 2), 8, 3);
            let (mut now, mut next) = (0, 0);
            for (pause, other) in others {
                now += pause;
                if now >= next {
                    prop_assert_eq!(rates.ask(Time::from_nanos(now), b"steady"), Ok(()));
                    next = now + 1_000;
                }
                let _ = rates.ask(Time::from_nanos(now), &[other]);
            }
        }
    }
}
