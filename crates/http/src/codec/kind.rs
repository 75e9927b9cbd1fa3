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
    /// One of these with `_` for `-`; dropped. CGI and WSGI give both spellings one name (RFC 3875 § 4.1.18), so that a
    /// visitor's `X_Forwarded_For` could pass for ours.
    Imitation,
}

/// Of the longest name that is known.
const IMITATED_BYTES_MAX: usize = 19;

impl Kind {
    /// Tells what the header called `name` is. Sorted by length first: most names match none.
    pub fn of(name: &[u8]) -> Kind {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is(b"te") => Kind::Hop,
            4 if is(b"host") => Kind::Host,
            6 if is(b"expect") => Kind::Expect,
            7 if is(b"upgrade") => Kind::Upgrade,
            7 if is(b"referer") => Kind::Referer,
            9 if is(b"forwarded") => Kind::Forwarded,
            10 if is(b"connection") => Kind::Connection,
            10 if is(b"keep-alive") => Kind::Hop,
            10 if is(b"tracestate") => Kind::TraceState,
            10 if is(b"user-agent") => Kind::UserAgent,
            11 if is(b"traceparent") => Kind::TraceParent,
            12 if is(b"x-request-id") => Kind::RequestId,
            14 if is(b"content-length") => Kind::Length,
            14 if is(b"x-mainstay-via") => Kind::Via,
            15 if is(b"x-forwarded-for") => Kind::ForwardedFor,
            16 if is(b"proxy-connection") || is(b"x-forwarded-host") => Kind::of_sixteen(name),
            17 if is(b"transfer-encoding") => Kind::Encoding,
            17 if is(b"x-forwarded-proto") => Kind::ForwardedProto,
            18 if is(b"proxy-authenticate") => Kind::Hop,
            19 if is(b"proxy-authorization") => Kind::Hop,
            0..=IMITATED_BYTES_MAX if name.contains(&b'_') => Kind::imitated(name),
            _ => Kind::Other,
        }
    }

    fn imitated(name: &[u8]) -> Kind {
        let mut dashed = [0; IMITATED_BYTES_MAX];
        let dashed = &mut dashed[..name.len()];
        dashed.copy_from_slice(name);
        dashed.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
        match Kind::of(dashed) {
            Kind::Other | Kind::Referer | Kind::UserAgent => Kind::Other,
            _ => Kind::Imitation,
        }
    }

    fn of_sixteen(name: &[u8]) -> Kind {
        if name[0].eq_ignore_ascii_case(&b'x') { Kind::ForwardedHost } else { Kind::Hop }
    }

    /// Its place in a set of kinds.
    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Whether it goes no further, whatever `Connection` names.
    pub fn is_of_this_hop(self) -> bool {
        matches!(self, Kind::Connection | Kind::Hop | Kind::Upgrade | Kind::Imitation)
    }

    /// Whether `Connection` may name it: only what carries neither framing nor routing.
    pub fn may_be_named_by_connection(self) -> bool {
        matches!(self, Kind::Other | Kind::Hop | Kind::Upgrade | Kind::Referer | Kind::UserAgent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imitations() {
        for name in ["X_Forwarded_For", "x-forwarded_proto", "TRANSFER_ENCODING", "proxy_authorization"] {
            assert_eq!(Kind::of(name.as_bytes()), Kind::Imitation, "{name}");
        }
        for name in ["_", "My_Header", "x_forwarded_for_", "proxy_authorization_"] {
            assert_eq!(Kind::of(name.as_bytes()), Kind::Other, "{name}");
        }
    }
}
