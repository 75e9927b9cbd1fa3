//! How often may be asked: by an address, with a key, or by all together.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mainstay_machines::Time;
use mainstay_machines::balance::hash;
use mainstay_machines::limiter::{Ban, Limiter, Message, Refusal};
use mainstay_machines::rate::Limit;

use super::Source;
use crate::codec::Request;
use crate::config::below;
use crate::counters::count;

/// Parts of a table, each under a lock of its own: threads rarely meet.
const PARTS: usize = 16;
/// Visitors of one rate that are remembered while they are not back at their full burst: 1 MiB for each rate. Who asks most
/// is forgotten last.
const KEYS: usize = 64 * 1024;

/// Who is counted as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// Each address; of IPv6 each network of 64 bits.
    Address,
    /// Each value of this header; whoever sends none, or several, is counted by address. A key that nobody issued costs nothing
    /// to invent, so a rate by address belongs beside it.
    Header(String),
    /// All together: what the route can bear.
    Everyone,
}

/// A rate as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateSettings {
    /// What it is called in metrics.
    pub name: String,
    /// Only requests for this host, lower case, without port; any if `None`.
    pub host: Option<String>,
    /// Only paths below this prefix, which ends with `/`.
    pub prefix: String,
    /// Who is counted as one.
    pub by: By,
    /// Requests in a `per`, in the long run.
    pub requests: u32,
    /// See `requests`.
    pub per: Duration,
    /// Requests that may come at once after a pause; 0 counts as 1.
    pub burst: u32,
    /// When who goes on is let in no more; `None`: never.
    pub ban: Option<Ban>,
}

/// A rate and who has used how much of it. Keep it when the configuration is replaced by one with the same rate.
pub struct Rate {
    settings: RateSettings,
    began: Instant,
    seed: u64,
    parts: Vec<Mutex<Limiter>>,
    refused: AtomicU64,
    refused_banned: AtomicU64,
}

impl Rate {
    /// A rate that nobody has used yet.
    pub fn new(settings: RateSettings) -> Rate {
        // The standard library's hasher is keyed by the system's random source.
        Rate::seeded(settings, RandomState::new().hash_one(0))
    }

    /// The same for one of several that tell each other: `seed` is a secret that all of them have, and gives visitors the same
    /// numbers everywhere.
    pub fn seeded(settings: RateSettings, seed: u64) -> Rate {
        let (parts, keys) = match settings.by {
            By::Everyone => (1, 1),
            _ => (PARTS, KEYS / PARTS),
        };
        let limit = Limit { interval: settings.per / settings.requests.max(1), burst: settings.burst };
        let part = |_| Mutex::new(Limiter::new(limit, keys, settings.ban));
        Rate {
            parts: (0..parts).map(part).collect(),
            settings,
            began: Instant::now(),
            seed,
            refused: AtomicU64::new(0),
            refused_banned: AtomicU64::new(0),
        }
    }

    /// What it was made from.
    pub fn settings(&self) -> &RateSettings {
        &self.settings
    }

    /// How many requests it refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many of those because the visitor was banned.
    pub fn refused_banned(&self) -> u64 {
        self.refused_banned.load(Ordering::Relaxed)
    }

    /// Visitors forgotten early for want of room.
    pub fn forgotten(&self) -> u64 {
        self.parts().map(|part| part.forgotten()).sum()
    }

    /// Requests that others are not told of, for want of room.
    pub fn untold(&self) -> u64 {
        self.parts().map(|part| part.untold()).sum()
    }

    /// Visitors that are banned now.
    pub fn banned(&self, now: Instant) -> usize {
        let now = self.time(now);
        self.parts().map(|part| part.banned(now)).sum()
    }

    /// Whether it numbers visitors by `seed`.
    pub fn has_seed(&self, seed: u64) -> bool {
        self.seed == seed
    }

    /// The same number wherever the same rate was declared, for whoever knows the secret.
    pub fn number(&self) -> u64 {
        hash::bytes(self.seed, format!("{:?}", self.settings).as_bytes())
    }

    /// From now on others want to be told what is admitted here, or not.
    pub fn share(&self, with_others: bool) {
        self.parts().for_each(|mut part| part.share(with_others));
    }

    /// What the others are to be told now.
    pub fn tell(&self, now: Instant) -> Message {
        let now = self.time(now);
        let mut all = Message::default();
        for mut part in self.parts() {
            let Message { admitted, banned } = part.tell(now);
            all.admitted.extend(admitted);
            all.banned.extend(banned);
        }
        all
    }

    /// Somebody has begun anew: all bans are told next time.
    pub fn repeat(&self) {
        self.parts().for_each(|mut part| part.repeat());
    }

    /// Counts what another one has told.
    pub fn hear(&self, now: Instant, message: &Message) {
        let now = self.time(now);
        let of_part = |number: usize| Message {
            admitted: message.admitted.iter().filter(|(key, _)| self.part(*key) == number).copied().collect(),
            banned: message.banned.iter().filter(|(key, _)| self.part(*key) == number).copied().collect(),
        };
        for (number, mut part) in self.parts().enumerate() {
            part.hear(now, &of_part(number));
        }
    }

    fn parts(&self) -> impl Iterator<Item = MutexGuard<'_, Limiter>> {
        self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A table takes the high bits of a key.
    fn part(&self, key: u64) -> usize {
        (key % self.parts.len() as u64) as usize
    }

    fn time(&self, now: Instant) -> Time {
        let now = now.saturating_duration_since(self.began);
        Time::from_nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Whether it is for requests to `host` and the plain `path`.
    pub(super) fn covers(&self, host: &str, path: &str) -> bool {
        let RateSettings { host: only, prefix, .. } = &self.settings;
        only.as_deref().is_none_or(|is| is.eq_ignore_ascii_case(host)) && below(path, prefix).is_some()
    }

    /// Decides on a request.
    ///
    /// # Errors
    /// Refused: how long until one will be admitted.
    pub(super) fn ask(&self, request: &Request, source: Source, now: Instant) -> Result<(), Duration> {
        let now = self.time(now);
        let asked = match &self.settings.by {
            By::Everyone => self.ask_as(now, b""),
            By::Address => self.ask_as(now, source.octets()),
            By::Header(name) => match request.head.header(name).filter(|key| !key.is_empty()) {
                Some(key) => self.ask_as(now, key),
                // No header holds a NUL: nobody can be counted as somebody's address.
                None => self.ask_as(now, &[&[0], &source.octets()[..]].concat()),
            },
        };
        asked.map_err(|refusal| {
            count(&self.refused);
            if let Refusal::Banned(_) = refusal {
                count(&self.refused_banned);
            }
            refusal.wait()
        })
    }

    fn ask_as(&self, now: Time, key: &[u8]) -> Result<(), Refusal> {
        let key = hash::bytes(self.seed, key);
        self.parts[self.part(key)].lock().unwrap_or_else(PoisonError::into_inner).ask(now, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::HeadLimits;

    fn request(lines: &str) -> Request {
        let mut request = Request::default();
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        request.read(head.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
        request
    }

    fn rate(by: By) -> Rate {
        let (name, prefix, per) = ("test".into(), "/login/".into(), Duration::from_secs(60));
        Rate::seeded(RateSettings { name, host: None, prefix, by, requests: 10, per, burst: 3, ban: None }, 7)
    }

    /// How many of ten requests at one instant are admitted, and how long the last had to wait.
    fn admitted(rate: &Rate, lines: &str, client: u8, now: Instant) -> (usize, u64) {
        let (request, source) = (request(lines), Source::from(std::net::IpAddr::from([192, 0, 2, client])));
        let asked: Vec<_> = (0..10).map(|_| rate.ask(&request, source, now)).collect();
        (asked.iter().filter(|asked| asked.is_ok()).count(), asked[9].unwrap_err().as_secs())
    }

    #[test]
    fn each_address_has_its_burst_and_then_its_rate() {
        let (rate, now) = (rate(By::Address), Instant::now());
        assert_eq!(admitted(&rate, "", 1, now), (3, 6));
        assert_eq!(admitted(&rate, "", 2, now), (3, 6));
        assert_eq!(admitted(&rate, "", 1, now + Duration::from_secs(6)), (1, 6));
        assert_eq!((rate.refused(), rate.forgotten()), (23, 0));
    }

    #[test]
    fn a_key_is_one_wherever_it_comes_from_and_without_one_the_address_counts() {
        let (rate, now) = (rate(By::Header("x-key".into())), Instant::now());
        assert_eq!(admitted(&rate, "X-Key: a\r\n", 1, now).0, 3);
        assert_eq!(admitted(&rate, "X-Key: a\r\n", 2, now).0, 0);
        assert_eq!(admitted(&rate, "X-Key: b\r\n", 1, now).0, 3);
        assert_eq!(admitted(&rate, "", 1, now).0, 3);
        assert_eq!(admitted(&rate, "X-Key: c\r\nX-Key: d\r\n", 1, now).0, 0);
        assert_eq!(admitted(&rate, "X-Key:\r\n", 2, now).0, 3);
    }

    #[test]
    fn all_together_share_one() {
        let (rate, now) = (rate(By::Everyone), Instant::now());
        assert_eq!(admitted(&rate, "", 1, now).0, 3);
        assert_eq!(admitted(&rate, "X-Key: a\r\n", 2, now).0, 0);
    }

    /// Two doors that tell each other: the second one's burst comes on top once and is made up for.
    #[test]
    fn two_hold_to_one_rate_and_to_each_others_bans() {
        let ban = Ban { refusals: 12, within: Duration::from_secs(60), lasts: Duration::from_secs(600) };
        let settings = RateSettings { ban: Some(ban), ..rate(By::Address).settings };
        let doors = [0, 1].map(|_| Rate::seeded(settings.clone(), 7));
        doors.iter().for_each(|door| door.share(true));
        assert_eq!(doors[0].number(), doors[1].number());
        assert_ne!(doors[0].number(), rate(By::Address).number(), "another rate is another");
        let now = Instant::now();
        let exchange = |at: Instant| {
            let said = [0, 1].map(|door: usize| doors[door].tell(at));
            doors[0].hear(at, &said[1]);
            doors[1].hear(at, &said[0]);
        };
        assert_eq!(admitted(&doors[0], "", 1, now).0 + admitted(&doors[1], "", 1, now).0, 6);
        exchange(now);
        // Six were admitted, and one takes six seconds: alone, each would admit three again.
        let later = now + Duration::from_secs(18);
        assert_eq!(admitted(&doors[1], "", 2, later).0, 3, "others are free");
        assert_eq!(admitted(&doors[0], "", 1, later), (0, 600), "and who goes on is banned");
        assert_eq!((doors[0].banned(later), doors[1].banned(later)), (1, 0));
        exchange(later);
        assert_eq!((doors[1].banned(later), doors[1].untold()), (1, 0));
        assert_eq!(admitted(&doors[1], "", 1, later + Duration::from_secs(500)), (0, 100));
        assert!(doors[1].refused_banned() > 0);
    }

    #[test]
    fn a_rate_is_for_its_route() {
        let rate = rate(By::Everyone);
        assert!(rate.covers("h", "/login") && rate.covers("h", "/login/x") && !rate.covers("h", "/logins"));
    }
}
