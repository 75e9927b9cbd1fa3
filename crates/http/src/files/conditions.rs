//! Conditional requests (RFC 9110 § 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Found;
use crate::codec::{Kind, Request};

/// The headers of a request that an answer depends on, as they were sent. A header that was sent twice counts as not
/// sent: then the answer is the whole file.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// `If-Match`
    pub if_match: Option<&'a [u8]>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Option<&'a [u8]>,
    /// `If-None-Match`
    pub if_none_match: Option<&'a [u8]>,
    /// `If-Modified-Since`
    pub if_modified_since: Option<&'a [u8]>,
    /// `Range`
    pub range: Option<&'a [u8]>,
    /// `If-Range`
    pub if_range: Option<&'a [u8]>,
    /// `Accept-Encoding`
    pub accept_encoding: Option<&'a [u8]>,
    /// The time of the answer: Last-Modified may not lie in the future (RFC 9110 § 8.8.2.1).
    pub now: SystemTime,
}

/// What the conditions say of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer.
    Pass,
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// How long after a change its second is over and its time can be trusted to name one content only (RFC 9110
/// § 8.8.2.2).
const SETTLED: u64 = 1;

impl<'a> Conditions<'a> {
    /// No conditions.
    pub fn none(now: SystemTime) -> Conditions<'a> {
        Conditions {
            if_match: None,
            if_unmodified_since: None,
            if_none_match: None,
            if_modified_since: None,
            range: None,
            if_range: None,
            accept_encoding: None,
            now,
        }
    }

    /// Those of `request`, in one pass over its headers: most have none of these.
    pub fn of(request: &'a Request, now: SystemTime) -> Conditions<'a> {
        let mut conditions = Conditions::none(now);
        let mut repeated = Conditions::none(now);
        for (kind, value) in request.head.values() {
            if let Some(slot) = conditions.slot(kind)
                && slot.replace(value).is_some()
                && let Some(slot) = repeated.slot(kind)
            {
                *slot = Some(value);
            }
        }
        conditions.without(&repeated)
    }

    /// Whether the answer to a GET is the whole file.
    pub fn are_none(&self) -> bool {
        self.if_match.is_none()
            && self.if_unmodified_since.is_none()
            && self.if_none_match.is_none()
            && self.if_modified_since.is_none()
            && self.range.is_none()
    }

    fn slot(&mut self, kind: Kind) -> Option<&mut Option<&'a [u8]>> {
        match kind {
            Kind::Range => Some(&mut self.range),
            Kind::IfRange => Some(&mut self.if_range),
            Kind::IfMatch => Some(&mut self.if_match),
            Kind::AcceptEncoding => Some(&mut self.accept_encoding),
            Kind::IfNoneMatch => Some(&mut self.if_none_match),
            Kind::IfModifiedSince => Some(&mut self.if_modified_since),
            Kind::IfUnmodifiedSince => Some(&mut self.if_unmodified_since),
            _ => None,
        }
    }

    /// A part may only be sent if its condition is known.
    fn without(self, repeated: &Conditions<'_>) -> Conditions<'a> {
        let once = |value: Option<&'a [u8]>, again: Option<&[u8]>| value.filter(|_| again.is_none());
        Conditions {
            if_match: once(self.if_match, repeated.if_match),
            if_unmodified_since: once(self.if_unmodified_since, repeated.if_unmodified_since),
            if_none_match: once(self.if_none_match, repeated.if_none_match),
            if_modified_since: once(self.if_modified_since, repeated.if_modified_since),
            range: once(self.range, repeated.range.or(repeated.if_range)),
            if_range: once(self.if_range, repeated.if_range),
            accept_encoding: once(self.accept_encoding, repeated.accept_encoding),
            now: self.now,
        }
    }

    /// In the order of RFC 9110 § 13.2.2; the method is GET or HEAD.
    pub(super) fn verdict(&self, found: &Found, etag: &str) -> Verdict {
        let since = |date| seconds(date).map(|date| found.modified > date);
        let met = match (self.if_match, self.if_unmodified_since.and_then(since)) {
            (Some(list), _) => lists(list, etag, strong_match),
            (None, Some(changed)) => !changed,
            (None, None) => true,
        };
        if !met {
            return Verdict::Failed;
        }
        let known = match (self.if_none_match, self.if_modified_since.and_then(since)) {
            (Some(list), _) => lists(list, etag, weak_match),
            (None, Some(changed)) => !changed,
            (None, None) => false,
        };
        if known { Verdict::NotModified } else { Verdict::Pass }
    }

    /// Whether Range may be honoured (RFC 9110 § 13.1.5): the client's part is of this very content.
    pub(super) fn range_applies(&self, found: &Found, etag: &str) -> bool {
        match self.if_range {
            None => true,
            Some(value) if value.starts_with(b"\"") || value.starts_with(b"W/") => strong_match(value, etag),
            Some(date) => seconds(date) == Some(found.modified) && self.seconds_now() > found.modified + SETTLED,
        }
    }

    fn seconds_now(&self) -> u64 {
        self.now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }

    /// What Last-Modified says; `None` if the file claims to be from the future.
    pub(super) fn modified(&self, found: &Found) -> Option<SystemTime> {
        (found.modified <= self.seconds_now()).then(|| UNIX_EPOCH + Duration::from_secs(found.modified))
    }
}

/// An HTTP date in seconds since 1970 (RFC 9110 § 5.6.7); `None` for what is none, which is as if it were not there.
fn seconds(date: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(date).ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Whether a list of entity tags, or `*`, has one that is `etag`. Tags of ours hold no comma; a foreign one that does
/// falls into parts that are not ours.
fn lists(list: &[u8], etag: &str, matches: fn(&[u8], &str) -> bool) -> bool {
    list == b"*" || list.split(|byte| *byte == b',').any(|tag| matches(tag.trim_ascii(), etag))
}

/// RFC 9110 § 8.8.3.2; ours are strong.
fn strong_match(tag: &[u8], etag: &str) -> bool {
    tag == etag.as_bytes()
}

fn weak_match(tag: &[u8], etag: &str) -> bool {
    tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes()
}
