//! How often may be asked: by an address, with a key, or by all together.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_machines::Time;
use mainstay_machines::balance::hash;
use mainstay_machines::rate::{Limit, Rates};

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
}

/// A rate and who has used how much of it. Keep it when the configuration is replaced by one with the same rate.
pub struct Rate {
    settings: RateSettings,
    began: Instant,
    seed: u64,
    parts: Vec<Mutex<Rates>>,
    refused: AtomicU64,
}

impl Rate {
    /// A rate that nobody has used yet.
    pub fn new(settings: RateSettings) -> Rate {
        // The standard library's hasher is keyed by the system's random source.
        let secret = |number: usize| RandomState::new().hash_one(number);
        let (parts, keys) = match settings.by {
            By::Everyone => (1, 1),
            _ => (PARTS, KEYS / PARTS),
        };
        let limit = Limit { interval: settings.per / settings.requests.max(1), burst: settings.burst };
        let part = |number| Mutex::new(Rates::new(limit, keys, secret(number)));
        Rate {
            parts: (0..parts).map(part).collect(),
            settings,
            began: Instant::now(),
            seed: secret(parts),
            refused: AtomicU64::new(0),
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

    /// Visitors forgotten early for want of room.
    pub fn forgotten(&self) -> u64 {
        self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).forgotten()).sum()
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
        let now = now.saturating_duration_since(self.began);
        let now = Time::from_nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        let asked = match &self.settings.by {
            By::Everyone => self.ask_as(now, b""),
            By::Address => self.ask_as(now, source.octets()),
            By::Header(name) => match request.head.header(name).filter(|key| !key.is_empty()) {
                Some(key) => self.ask_as(now, key),
                // No header holds a NUL: nobody can be counted as somebody's address.
                None => self.ask_as(now, &[&[0], &source.octets()[..]].concat()),
            },
        };
        asked.inspect_err(|_| count(&self.refused))
    }

    fn ask_as(&self, now: Time, key: &[u8]) -> Result<(), Duration> {
        let part = hash::below(hash::bytes(self.seed, key), self.parts.len());
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner).ask(now, key)
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
        Rate::new(RateSettings { name, host: None, prefix, by, requests: 10, per, burst: 3 })
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

    #[test]
    fn a_rate_is_for_its_route() {
        let rate = rate(By::Everyone);
        assert!(rate.covers("h", "/login") && rate.covers("h", "/login/x") && !rate.covers("h", "/logins"));
    }
}
