//! What the headers of an answer say to a cache.

use std::time::{Duration, SystemTime};

use super::directives::Directives;
use super::list::members;

/// The headers of an answer that matter to a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) directives: Directives,
    /// `Surrogate-Control` or `CDN-Cache-Control` stands in for Cache-Control and Expires.
    pub(super) targeted: bool,
    pub(super) age: Age,
    pub(super) date: Option<SystemTime>,
    pub(super) expires: Expires,
    pub(super) last_modified: Option<SystemTime>,
    pub(super) etag: bool,
    pub(super) set_cookie: bool,
    /// Header names, lower case.
    pub(super) vary: Vec<Vec<u8>>,
    pub(super) vary_star: bool,
}

/// How old an answer was when it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Age {
    /// No cache has touched it.
    #[default]
    None,
    Seconds(u64),
    /// Some cache has, but it cannot be read how long ago. RFC 9111 § 5.1 would ignore it; nobody is forced to use what is
    /// stored, and so it counts as stale.
    Unreadable,
}

/// When an answer goes stale, at which time of the origin's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Expires {
    #[default]
    None,
    At(SystemTime),
    /// What is no date is in the past (RFC 9111 § 5.3); so are two that differ.
    Past,
}

impl Said {
    /// Reads `headers`, names in any case.
    pub(super) fn of<'h>(headers: impl Iterator<Item = (&'h str, &'h [u8])>) -> Said {
        let mut said = Said::default();
        let (mut surrogate, mut cdn) = (Directives::default(), Directives::default());
        let (mut for_surrogates, mut for_cdns) = (false, false);
        for (name, value) in headers {
            match &name.to_ascii_lowercase()[..] {
                "cache-control" => said.directives.read(value),
                "surrogate-control" => for_surrogates |= surrogate.read_surrogate(value),
                "cdn-cache-control" => {
                    cdn.read(value);
                    for_cdns = true;
                }
                "age" => said.age.read(value),
                "date" => said.date = date(value),
                "expires" => said.expires.read(value),
                "last-modified" => said.last_modified = date(value),
                "etag" => said.etag = true,
                "set-cookie" => said.set_cookie = true,
                "vary" => said.vary(value),
                _ => {}
            }
        }
        // RFC 9213 § 2.2: the most closely targeted field counts, the others do not.
        said.targeted = for_surrogates || for_cdns;
        if for_surrogates || for_cdns {
            let left_out = std::mem::take(&mut said.directives.left_out);
            said.directives = if for_surrogates { surrogate } else { cdn };
            said.directives.left_out.extend(left_out);
        }
        said
    }

    fn vary(&mut self, value: &[u8]) {
        for name in members(value) {
            self.vary_star |= name == b"*";
            let name = name.to_ascii_lowercase();
            if !self.vary.contains(&name) {
                self.vary.push(name);
            }
        }
    }

    /// How old the answer was when it came at `now` (RFC 9111 § 4.2.3: the corrected initial age, but for the delay of its
    /// own request, which within a site is nothing).
    pub(super) fn initial_age(&self, now: SystemTime) -> Duration {
        let apparent = self.date.and_then(|date| now.duration_since(date).ok()).unwrap_or_default();
        match self.age {
            Age::Seconds(seconds) => apparent.max(Duration::from_secs(seconds)),
            Age::None | Age::Unreadable => apparent,
        }
    }
}

impl Age {
    fn read(&mut self, value: &[u8]) {
        *self = match (*self, super::list::seconds(value)) {
            (Age::None, Some(seconds)) => Age::Seconds(seconds),
            _ => Age::Unreadable,
        };
    }
}

impl Expires {
    fn read(&mut self, value: &[u8]) {
        let new = date(value).map_or(Expires::Past, Expires::At);
        *self = if *self == Expires::None || *self == new { new } else { Expires::Past };
    }
}

/// An HTTP date (RFC 9110 § 5.6.7).
pub(super) fn date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const NOON: &str = "Thu, 18 Aug 2050 12:00:00 GMT";

    fn said(lines: &[(&str, &str)]) -> Said {
        Said::of(lines.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn ages() {
        for (lines, age) in [
            (&[][..], Age::None),
            (&["7200"], Age::Seconds(7200)),
            (&["abc"], Age::Unreadable),
            (&["-7200"], Age::Unreadable),
            (&["7200.0"], Age::Unreadable),
            (&["0,7200"], Age::Unreadable),
            (&["0", "7200"], Age::Unreadable),
            (&["0", "0"], Age::Unreadable),
            (&["7200;foo=bar"], Age::Unreadable),
        ] {
            let lines: Vec<(&str, &str)> = lines.iter().map(|line| ("Age", *line)).collect();
            assert_eq!(said(&lines).age, age, "{lines:?}");
        }
    }

    #[test]
    fn the_initial_age_is_the_larger_of_both_accounts() {
        let noon = date(NOON.as_bytes()).unwrap();
        let later = noon + Duration::from_secs(10);
        assert_eq!(said(&[("Date", NOON)]).initial_age(later), Duration::from_secs(10));
        assert_eq!(said(&[("Date", NOON), ("Age", "3")]).initial_age(later), Duration::from_secs(10));
        assert_eq!(said(&[("Date", NOON), ("Age", "30")]).initial_age(later), Duration::from_secs(30));
        assert_eq!(said(&[("Date", NOON)]).initial_age(UNIX_EPOCH), Duration::ZERO, "a clock that is ahead");
        assert_eq!(said(&[("Date", "foo")]).initial_age(later), Duration::ZERO);
    }

    #[test]
    fn expiry() {
        let at = Expires::At(date(NOON.as_bytes()).unwrap());
        assert_eq!(said(&[]).expires, Expires::None);
        assert_eq!(said(&[("Expires", NOON)]).expires, at);
        assert_eq!(said(&[("Expires", NOON), ("expires", NOON)]).expires, at);
        assert_eq!(said(&[("Expires", "0")]).expires, Expires::Past);
        assert_eq!(said(&[("Expires", NOON), ("Expires", "Thu, 18 Aug 2050 12:00:01 GMT")]).expires, Expires::Past);
    }

    #[test]
    fn vary_names() {
        assert_eq!(said(&[("Vary", "Foo, bar"), ("Vary", ",FOO")]).vary, [b"foo".to_vec(), b"bar".to_vec()]);
        for lines in [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, Foo"], &["Foo, *"]] {
            let lines: Vec<(&str, &str)> = lines.iter().map(|line| ("Vary", *line)).collect();
            assert!(said(&lines).vary_star, "{lines:?}");
        }
    }

    #[test]
    fn what_is_meant_for_us_stands_in_for_what_is_meant_for_all() {
        let all = said(&[("Cache-Control", "no-store"), ("CDN-Cache-Control", "max-age=9")]);
        assert!(all.targeted && !all.directives.no_store && all.directives.max_age == Some(9));
        let surrogate = said(&[("CDN-Cache-Control", "max-age=9"), ("Surrogate-Control", "max-age=5;mainstay")]);
        assert_eq!((surrogate.directives.max_age, surrogate.directives.s_maxage), (None, Some(5)));
        assert!(!said(&[("Surrogate-Control", "max-age=5;somebody-else")]).targeted);
        let limited = said(&[("Cache-Control", "private=\"a\""), ("Surrogate-Control", "max-age=5")]);
        assert_eq!(limited.directives.left_out, [b"a".to_vec()]);
    }
}
