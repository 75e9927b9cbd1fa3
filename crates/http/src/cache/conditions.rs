//! A client's own conditions, against a stored answer (RFC 9111 § 4.3.2).

use std::time::SystemTime;

use super::asked::Asked;
use super::list::members;
use super::said::date;
use crate::codec::{Kind, Request};

/// What names a stored answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Validators {
    /// `ETag` as it was sent.
    pub(super) etag: Option<Box<[u8]>>,
    /// `Last-Modified` as it was sent.
    pub(super) last_modified: Option<Box<[u8]>>,
    /// The time that If-Modified-Since is compared with: Last-Modified, else Date (RFC 9111 § 4.3.2).
    pub(super) modified: Option<SystemTime>,
}

impl Validators {
    /// Whether the client has this answer already.
    pub(super) fn are_known(&self, request: &Request, asked: &Asked<'_>) -> bool {
        if asked.if_none_match {
            let mut lines = request.head.all_of_kind(Kind::IfNoneMatch);
            return lines.any(|line| members(line).any(|tag| self.is_weakly(tag)));
        }
        match (asked.if_modified_since.and_then(date), self.modified) {
            (Some(since), Some(modified)) => modified <= since,
            _ => false,
        }
    }

    /// RFC 9110 § 8.8.3.2, weak comparison; `*` is any.
    fn is_weakly(&self, tag: &[u8]) -> bool {
        let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_owned();
        tag == b"*" || self.etag.as_ref().is_some_and(|etag| opaque(etag) == opaque(tag))
    }

    /// Whether a part that the client asks for continues what it has (RFC 9110 § 13.1.5).
    pub(super) fn range_applies(&self, if_range: Option<&[u8]>) -> bool {
        let Some(value) = if_range else { return true };
        if value.starts_with(b"\"") {
            return self.etag.as_deref() == Some(value);
        }
        // A date is a strong validator only of what did not change within the same second; an exact match of the origin's
        // own words is the best there is. Weak tags never are.
        !value.starts_with(b"W/") && self.last_modified.as_deref() == Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::HeadLimits;

    const BEFORE: &str = "Thu, 18 Aug 2050 11:00:00 GMT";
    const NOON: &str = "Thu, 18 Aug 2050 12:00:00 GMT";
    const AFTER: &str = "Thursday, 18-Aug-50 13:00:00 GMT";

    fn validators(etag: &str) -> Validators {
        Validators {
            etag: Some(etag.as_bytes().into()),
            last_modified: Some(NOON.as_bytes().into()),
            modified: date(NOON.as_bytes()),
        }
    }

    fn known(etag: &str, lines: &str) -> bool {
        let mut request = Request::default();
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        assert!(request.read(head.as_bytes(), &HeadLimits::default()).unwrap().is_some());
        validators(etag).are_known(&request, &Asked::of(&request))
    }

    #[test]
    fn tags() {
        for (etag, lines) in [
            ("\"a\"", "If-None-Match: \"a\"\r\n"),
            ("\"a\"", "If-None-Match: *\r\n"),
            ("\"a\"", "If-None-Match: W/\"a\"\r\n"),
            ("W/\"a\"", "If-None-Match: \"a\"\r\n"),
            ("\"a\"", "If-None-Match: \"b\", \"a,b\", \"a\"\r\n"),
            ("\"a\"", "If-None-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n"),
        ] {
            assert!(known(etag, lines), "{etag} {lines}");
        }
        for lines in ["", "If-None-Match: \"b\"\r\n", "If-None-Match: a\r\n", "If-None-Match: \"a,\"\r\n"] {
            assert!(!known("\"a\"", lines), "{lines}");
        }
    }

    #[test]
    fn times() {
        assert!(known("\"a\"", &format!("If-Modified-Since: {NOON}\r\n")));
        assert!(known("\"a\"", &format!("If-Modified-Since: {AFTER}\r\n")));
        assert!(!known("\"a\"", &format!("If-Modified-Since: {BEFORE}\r\n")));
        assert!(!known("\"a\"", "If-Modified-Since: yesterday\r\n"));
        assert!(!known("\"a\"", &format!("If-None-Match: \"b\"\r\nIf-Modified-Since: {NOON}\r\n")), "tags come first");
    }

    #[test]
    fn parts() {
        let applies = |etag, if_range: &str| validators(etag).range_applies(Some(if_range.as_bytes()));
        assert!(validators("\"a\"").range_applies(None));
        assert!(applies("\"a\"", "\"a\"") && applies("\"a\"", NOON));
        for other in ["\"b\"", "W/\"a\"", BEFORE, "a"] {
            assert!(!applies("\"a\"", other), "{other}");
        }
        assert!(!applies("W/\"a\"", "W/\"a\""), "weak tags name no bytes");
    }
}
