//! What a request says to caches (RFC 9111 § 5.2.1) and what its answer depends on, in one pass over its headers.

use super::list::{members, pair, seconds};
use crate::codec::{Kind, Request};

/// What a request says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked<'r> {
    /// Nothing of this exchange may be stored.
    pub(crate) no_store: bool,
    /// Only after asking the origin.
    pub(crate) no_cache: bool,
    /// Rather nothing than asking the origin.
    pub(crate) only_if_cached: bool,
    /// At most so old, in seconds.
    pub(crate) max_age: Option<u64>,
    /// Fresh for at least so long.
    pub(crate) min_fresh: Option<u64>,
    /// Stale for at most so long; without bound if it names none.
    pub(crate) max_stale: Option<u64>,
    /// It has a cookie: what answers it may be meant for one visitor.
    pub(crate) cookie: bool,
    /// The same, by name and password.
    pub(crate) authorization: bool,
    /// `If-Match` or `If-Unmodified-Since`: for the origin alone to decide (§ 4.3.2).
    pub(crate) for_origin: bool,
    /// There is an `If-None-Match`.
    pub(crate) if_none_match: bool,
    /// `If-Modified-Since`, the last line of it.
    pub(crate) if_modified_since: Option<&'r [u8]>,
    /// `Range`; `None` too if there are two.
    pub(crate) range: Option<&'r [u8]>,
    /// `If-Range`
    pub(crate) if_range: Option<&'r [u8]>,
}

impl<'r> Asked<'r> {
    pub(crate) fn of(request: &'r Request) -> Asked<'r> {
        let (mut asked, mut controlled, mut pragma, mut ranges) = (Asked::default(), false, false, 0);
        for (kind, value) in request.head.values() {
            match kind {
                Kind::Range => (asked.range, ranges) = (Some(value), ranges + 1),
                Kind::Cookie => asked.cookie = true,
                Kind::Pragma => pragma |= members(value).any(|member| member.eq_ignore_ascii_case(b"no-cache")),
                Kind::IfRange => asked.if_range = Some(value),
                Kind::IfMatch | Kind::IfUnmodifiedSince => asked.for_origin = true,
                Kind::CacheControl => {
                    controlled = true;
                    asked.control(value);
                }
                Kind::Authorization => asked.authorization = true,
                Kind::IfNoneMatch => asked.if_none_match = true,
                Kind::IfModifiedSince => asked.if_modified_since = Some(value),
                _ => {}
            }
        }
        // RFC 9111 § 5.4: what HTTP/1.0 had, where there is nothing newer.
        asked.no_cache |= pragma && !controlled;
        asked.range = asked.range.filter(|_| ranges == 1);
        asked
    }

    fn control(&mut self, value: &[u8]) {
        for member in members(value) {
            let (name, argument) = pair(member);
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            match name.len() {
                7 if is(b"max-age") => self.max_age = Some(number(argument, 0)),
                8 if is(b"no-store") => self.no_store = true,
                8 if is(b"no-cache") => self.no_cache = true,
                9 if is(b"min-fresh") => self.min_fresh = Some(number(argument, u64::MAX)),
                9 if is(b"max-stale") => self.max_stale = Some(argument.map_or(u64::MAX, |_| number(argument, 0))),
                14 if is(b"only-if-cached") => self.only_if_cached = true,
                _ => {}
            }
        }
    }

    /// Whether it is about what the client has already: the origin's answer would be of no use to others.
    pub(crate) fn is_partial(&self) -> bool {
        self.range.is_some() || self.if_none_match || self.if_modified_since.is_some()
    }

    /// Whether it has wishes of its own about the age of its answer.
    pub(crate) fn is_demanding(&self) -> bool {
        self.no_cache || self.max_age.is_some() || self.min_fresh.is_some() || self.max_stale.is_some()
    }

    /// Whether it says who asks.
    pub(crate) fn is_personal(&self) -> bool {
        self.cookie || self.authorization
    }
}

/// A number that cannot be read is the strictest one.
fn number(argument: Option<&[u8]>, strictest: u64) -> u64 {
    argument.and_then(seconds).unwrap_or(strictest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::HeadLimits;

    fn asked(lines: &str, check: impl Fn(Asked<'_>) -> bool) -> bool {
        let mut request = Request::default();
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        assert!(request.read(head.as_bytes(), &HeadLimits::default()).unwrap().is_some());
        check(Asked::of(&request))
    }

    #[test]
    fn what_clients_say() {
        assert!(asked("", |asked| asked == Asked::default()));
        assert!(asked("Cache-Control: nothing-to-see-here\r\nPragma: foo\r\n", |asked| asked == Asked::default()));
        assert!(asked("Cache-Control: No-Cache\r\n", |asked| asked.no_cache));
        assert!(asked("Cache-Control: max-age=5, no-store\r\n", |asked| asked.max_age == Some(5) && asked.no_store));
        assert!(asked("Cache-Control: max-age=x\r\n", |asked| asked.max_age == Some(0)));
        assert!(asked("Cache-Control: max-stale\r\n", |asked| asked.max_stale == Some(u64::MAX)));
        assert!(asked("Cache-Control: max-stale=x\r\n", |asked| asked.max_stale == Some(0)));
        assert!(asked("Cache-Control: min-fresh=7\r\n", |asked| asked.min_fresh == Some(7)));
        assert!(asked("Cache-Control: only-if-cached\r\n", |asked| asked.only_if_cached));
        assert!(asked("Cookie: a=b\r\n", |asked| asked.is_personal()));
        assert!(asked("Authorization: Basic x\r\n", |asked| asked.is_personal()));
        assert!(asked("If-Match: \"a\"\r\n", |asked| asked.for_origin));
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        assert!(asked("Pragma: no-cache\r\n", |asked| asked.no_cache));
        assert!(asked("Pragma: no-cache\r\nCache-Control: max-age=9\r\n", |asked| !asked.no_cache));
    }

    #[test]
    fn two_ranges_are_none() {
        assert!(asked("Range: bytes=0-1\r\n", |asked| asked.range == Some(b"bytes=0-1")));
        assert!(asked("Range: bytes=0-1\r\nRange: bytes=2-3\r\n", |asked| asked.range.is_none()));
    }
}
