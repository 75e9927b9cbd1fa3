//! The headers that mean something to a proxy.

/// What a header line is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Forwarded as it stands.
    Other,
    /// `Connection`: names further headers of this hop (RFC 9110 § 7.6.1).
    Connection,
    /// Of this hop alone; dropped: `Keep-Alive`, `Proxy-Connection`, `TE`, `Proxy-Auth…` (RFC 9110 § 7.6.1, § 11.7).
    Hop,
    /// `Upgrade`: of this hop alone.
    Upgrade,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding`.
    Encoding,
    /// `Host`.
    Host,
    /// `Expect`.
    Expect,
    /// `X-Forwarded-For`.
    ForwardedFor,
    /// `X-Forwarded-Proto`.
    ForwardedProto,
    /// `X-Forwarded-Host`.
    ForwardedHost,
    /// Others that say where a request came from: `X-Real-IP`, `X-Forwarded-Port`, `-Prefix`, `-Scheme`, `-Server` and `-Ssl`.
    ForwardedElse,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Request-Id`.
    RequestId,
    /// `traceparent` (W3C Trace Context § 3.2).
    TraceParent,
    /// `tracestate` (§ 3.3).
    TraceState,
    /// `X-Mainstay-Via`: who has handled the request so far.
    Via,
    /// `Referer`.
    Referer,
    /// `User-Agent`.
    UserAgent,
    /// `Cookie`.
    Cookie,
    /// `Authorization`.
    Authorization,
    /// `Accept-Encoding`.
    AcceptEncoding,
    /// `Cache-Control`.
    CacheControl,
    /// `Pragma`.
    Pragma,
    /// `Range`.
    Range,
    /// `If-Range`.
    IfRange,
    /// `If-Match`.
    IfMatch,
    /// `If-None-Match`.
    IfNoneMatch,
    /// `If-Modified-Since`.
    IfModifiedSince,
    /// `If-Unmodified-Since`.
    IfUnmodifiedSince,
    /// One of these with `_` for `-`; dropped. CGI and WSGI give both spellings one name (RFC 3875 § 4.1.18), so that a
    /// visitor's `X_Forwarded_For` could pass for ours.
    Imitation,
}

/// Of the longest name that is known.
const IMITATED_BYTES_MAX: usize = 19;

impl Kind {
    /// Tells what the header called `name` is. By its length and one letter first, which are different for nearly all that are
    /// known: most names match none.
    pub fn of(name: &[u8]) -> Kind {
        match (name.len(), name.first().map_or(0, u8::to_ascii_lowercase)) {
            (2, b't') if is(name, b"te") => Kind::Hop,
            (4, b'h') if is(name, b"host") => Kind::Host,
            (5, b'r') if is(name, b"range") => Kind::Range,
            (6, b'c') if is(name, b"cookie") => Kind::Cookie,
            (6, b'e') if is(name, b"expect") => Kind::Expect,
            (6, b'p') if is(name, b"pragma") => Kind::Pragma,
            (7, b'u') if is(name, b"upgrade") => Kind::Upgrade,
            (7, b'r') if is(name, b"referer") => Kind::Referer,
            (8, b'i') if is(name, b"if-range") => Kind::IfRange,
            (8, b'i') if is(name, b"if-match") => Kind::IfMatch,
            (9, b'x') if is(name, b"x-real-ip") => Kind::ForwardedElse,
            (9, b'f') if is(name, b"forwarded") => Kind::Forwarded,
            (10, b'c') if is(name, b"connection") => Kind::Connection,
            (10, b'k') if is(name, b"keep-alive") => Kind::Hop,
            (10, b't') if is(name, b"tracestate") => Kind::TraceState,
            (10, b'u') if is(name, b"user-agent") => Kind::UserAgent,
            (11, b't') if is(name, b"traceparent") => Kind::TraceParent,
            (12, b'x') if is(name, b"x-request-id") => Kind::RequestId,
            (13, b'a') if is(name, b"authorization") => Kind::Authorization,
            (13, b'c') if is(name, b"cache-control") => Kind::CacheControl,
            (13, b'i') if is(name, b"if-none-match") => Kind::IfNoneMatch,
            (14, b'c') if is(name, b"content-length") => Kind::Length,
            (14, b'x') if is(name, b"x-mainstay-via") => Kind::Via,
            (15, b'a') if is(name, b"accept-encoding") => Kind::AcceptEncoding,
            (15, b'x') if is(name, b"x-forwarded-for") => Kind::ForwardedFor,
            (15, b'x') if is(name, b"x-forwarded-ssl") => Kind::ForwardedElse,
            (16, b'x') if is(name, b"x-forwarded-port") => Kind::ForwardedElse,
            (16, b'p') if is(name, b"proxy-connection") => Kind::Hop,
            (16, b'x') if is(name, b"x-forwarded-host") => Kind::ForwardedHost,
            (17, b'i') if is(name, b"if-modified-since") => Kind::IfModifiedSince,
            (17, b't') if is(name, b"transfer-encoding") => Kind::Encoding,
            (17, b'x') if is(name, b"x-forwarded-proto") => Kind::ForwardedProto,
            (18, b'x')
                if is(name, b"x-forwarded-prefix")
                    || is(name, b"x-forwarded-scheme")
                    || is(name, b"x-forwarded-server") =>
            {
                Kind::ForwardedElse
            }
            (18, b'p') if is(name, b"proxy-authenticate") => Kind::Hop,
            (19, b'i') if is(name, b"if-unmodified-since") => Kind::IfUnmodifiedSince,
            (19, b'p') if is(name, b"proxy-authorization") => Kind::Hop,
            (0..=IMITATED_BYTES_MAX, _) if has_underscore(name) => Kind::imitated(name),
            _ => Kind::Other,
        }
    }

    fn imitated(name: &[u8]) -> Kind {
        let mut dashed = [0; IMITATED_BYTES_MAX];
        let dashed = &mut dashed[..name.len()];
        dashed.copy_from_slice(name);
        dashed.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
        if Kind::of(dashed).is_end_to_end() { Kind::Other } else { Kind::Imitation }
    }

    /// Its place in a set of kinds.
    pub(super) const fn bit(self) -> u64 {
        1 << self as u32
    }

    /// Whether it is from one end to the other, and nobody in between adds to it: it goes on as it stands.
    pub fn is_end_to_end(self) -> bool {
        match self {
            Kind::Other | Kind::Referer | Kind::UserAgent | Kind::Cookie | Kind::Authorization => true,
            Kind::AcceptEncoding | Kind::CacheControl | Kind::Pragma => true,
            _ => self.is_condition(),
        }
    }

    /// Whether it makes an answer one for this client alone (RFC 9110 § 13.1, § 14.2).
    pub(crate) fn is_condition(self) -> bool {
        matches!(
            self,
            Kind::Range
                | Kind::IfRange
                | Kind::IfMatch
                | Kind::IfNoneMatch
                | Kind::IfModifiedSince
                | Kind::IfUnmodifiedSince
        )
    }

    /// Whether it goes no further, whatever `Connection` names.
    pub fn is_of_this_hop(self) -> bool {
        matches!(self, Kind::Connection | Kind::Hop | Kind::Upgrade | Kind::Imitation)
    }

    /// Whether `Connection` may name it: only what carries neither framing nor routing.
    pub fn may_be_named_by_connection(self) -> bool {
        self.is_end_to_end() || matches!(self, Kind::Hop | Kind::Upgrade)
    }
}

/// Looks at all bytes together: nearly no name has one.
fn has_underscore(name: &[u8]) -> bool {
    name.iter().fold(false, |any, byte| any | (*byte == b'_'))
}

/// Whether `name` is `known`, whatever case its letters have. All bytes are looked at together: nearly always it is.
fn is<const LENGTH: usize>(name: &[u8], known: &[u8; LENGTH]) -> bool {
    let Ok(name): Result<&[u8; LENGTH], _> = name.try_into() else { return false };
    let mut wrong = 0;
    for at in 0..LENGTH {
        // The bit that tells a letter's cases apart (ASCII).
        let case = u8::from(known[at].is_ascii_lowercase()) << 5;
        wrong |= (name[at] ^ known[at]) & !case;
    }
    wrong == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_every_case_and_nothing_else_is() {
        let known = [
            "te",
            "Host",
            "EXPECT",
            "upgrade",
            "referer",
            "Forwarded",
            "connection",
            "keep-alive",
            "tracestate",
            "User-Agent",
            "traceparent",
            "X-Request-ID",
            "content-length",
            "x-mainstay-via",
            "X-Real-IP",
            "x-forwarded-ssl",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x-forwarded-scheme",
            "x-forwarded-server",
            "x-forwarded-for",
            "proxy-connection",
            "x-forwarded-host",
            "transfer-encoding",
            "x-forwarded-proto",
            "proxy-authenticate",
            "proxy-authorization",
            "Cookie",
            "Authorization",
            "accept-encoding",
            "Cache-Control",
            "pragma",
            "Range",
            "if-range",
            "if-match",
            "If-None-Match",
            "if-modified-since",
            "if-unmodified-since",
        ];
        for name in known {
            for same in [name.to_owned(), name.to_uppercase(), name.to_lowercase()] {
                assert_ne!(Kind::of(same.as_bytes()), Kind::Other, "{same}");
            }
            for at in 0..name.len() {
                for other in 0..=u8::MAX {
                    let mut odd = name.as_bytes().to_owned();
                    odd[at] = other;
                    let same = odd.eq_ignore_ascii_case(name.as_bytes());
                    let kind = Kind::of(&odd);
                    assert!(same || matches!(kind, Kind::Other | Kind::Imitation), "{odd:?}: {kind:?}");
                    assert!(!same || kind == Kind::of(name.as_bytes()), "{odd:?}: {kind:?}");
                }
            }
            for odd in [&name[1..], &format!("{name}x"), &format!("x{name}")] {
                assert_eq!(Kind::of(odd.as_bytes()), Kind::Other, "{odd}");
            }
        }
    }

    #[test]
    fn imitations() {
        for name in ["X_Forwarded_For", "x-forwarded_proto", "TRANSFER_ENCODING", "proxy_authorization"] {
            assert_eq!(Kind::of(name.as_bytes()), Kind::Imitation, "{name}");
        }
        for name in ["_", "My_Header", "x_forwarded_for_", "proxy_authorization_", "Cache_Control", "if_none_match"] {
            assert_eq!(Kind::of(name.as_bytes()), Kind::Other, "{name}");
        }
    }
}
