//! Writing a request head for the next hop.

use super::head::Line;
use super::{Kind, Request, append};

/// What the next hop is told about where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// We are the front door: nothing that the client says of these matters is believed.
    pub front: bool,
    /// The address at the other end of the connection: `192.0.2.7`, `2001:db8::1`.
    pub client: &'a str,
    /// `http` or `https`.
    pub proto: &'a str,
    /// Who we are: `web=server1`.
    pub via: &'a str,
    /// The id of the request.
    pub id: &'a str,
    /// The client's own conditions and ranges are not passed on.
    pub whole: bool,
    /// Its `traceparent`, with a span of ours; what the client says of it is replaced.
    pub traceparent: &'a [u8],
    /// Whether the client's `tracestate` belongs to that trace, and goes on.
    pub tracestate: bool,
    /// The Host for HTTP/1.0 requests that have none.
    pub host: &'a str,
}

/// Of a line, and of the head.
const END: &[u8] = b"\r\n";
/// Our own lines for a connection that is to change its protocol, in request and answer (RFC 9110 § 7.8).
pub(super) const SWITCH: &[u8] = b"Connection: upgrade\r\nUpgrade: websocket\r\n";

impl Request {
    /// Writes the head for the next hop behind `out`: origin form, HTTP/1.1, headers of this hop gone, forwarding
    /// headers set. Persistent connection.
    pub fn forward(&self, forwarding: &Forwarding<'_>, out: &mut Vec<u8>) {
        let target = self.target();
        let slash: &[u8] = if target.starts_with('?') { b"/" } else { b"" };
        append(out, [self.method_name().as_bytes(), b" ", slash, target.as_bytes(), b" HTTP/1.1\r\n"]);
        self.head.copy_lines(out, |line| forwarding.keeps(line));
        let host = if self.authority().is_empty() { forwarding.host } else { self.authority() };
        if !self.head.has(Kind::Host) {
            append(out, [b"Host: ", host.as_bytes(), END]);
        }
        self.forwarding_headers(forwarding, host.as_bytes(), out);
        if self.upgrade {
            out.extend_from_slice(SWITCH);
        }
        out.extend_from_slice(END);
    }

    fn forwarding_headers(&self, forwarding: &Forwarding<'_>, host: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"X-Forwarded-For: ");
        self.before(out, forwarding, Kind::ForwardedFor);
        append(out, [forwarding.client.as_bytes(), END]);
        let says = |kind| !forwarding.front && self.head.has(kind);
        if !says(Kind::ForwardedProto) {
            append(out, [b"X-Forwarded-Proto: ", forwarding.proto.as_bytes(), END]);
        }
        if !says(Kind::ForwardedHost) {
            append(out, [b"X-Forwarded-Host: ", host, END]);
        }
        self.forwarded(forwarding, host, out);
        if !says(Kind::RequestId) {
            append(out, [b"X-Request-Id: ", forwarding.id.as_bytes(), END]);
        }
        append(out, [b"traceparent: ", forwarding.traceparent, b"\r\nX-Mainstay-Via: "]);
        self.before(out, forwarding, Kind::Via);
        append(out, [forwarding.via.as_bytes(), END]);
    }

    /// RFC 7239 § 4: the front door says everything, inner tiers add their own hop. IPv6 is quoted (§ 6).
    fn forwarded(&self, forwarding: &Forwarding<'_>, host: &[u8], out: &mut Vec<u8>) {
        let client = forwarding.client.as_bytes();
        let (open, close): (&[u8], &[u8]) = if client.contains(&b':') { (b"\"[", b"]\"") } else { (b"", b"") };
        out.extend_from_slice(b"Forwarded: ");
        self.before(out, forwarding, Kind::Forwarded);
        append(out, [b"for=", open, client, close]);
        if forwarding.front || !self.head.has(Kind::Forwarded) {
            append(out, [b";proto=", forwarding.proto.as_bytes(), b";host=\"", host, b"\""]);
        }
        out.extend_from_slice(END);
    }

    /// Of a list header what was there, before our own member; unless we are the front door.
    fn before(&self, out: &mut Vec<u8>, forwarding: &Forwarding<'_>, kind: Kind) {
        if forwarding.front {
            return;
        }
        for value in self.head.all_of_kind(kind).filter(|value| !value.is_empty()) {
            append(out, [value, b", "]);
        }
    }
}

impl Forwarding<'_> {
    /// Whether a line goes on as it stands.
    fn keeps(&self, line: &Line) -> bool {
        if line.dropped || self.whole && line.kind.is_condition() {
            return false;
        }
        match line.kind {
            Kind::ForwardedFor | Kind::Forwarded | Kind::Via | Kind::TraceParent => false,
            Kind::TraceState => self.tracestate,
            Kind::ForwardedProto | Kind::ForwardedHost | Kind::ForwardedElse | Kind::RequestId => !self.front,
            _ => true,
        }
    }
}
