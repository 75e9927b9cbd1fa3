//! Writing a request head for the next hop.

use super::head::Line;
use super::{Head, Kind, Request};

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

/// Our own lines for a connection that is to change its protocol, in request and answer (RFC 9110 § 7.8).
pub(super) const SWITCH: &[u8] = b"Connection: upgrade\r\nUpgrade: websocket\r\n";

impl Request {
    /// Writes the head for the next hop behind `out`: origin form, HTTP/1.1, headers of this hop gone, forwarding
    /// headers set. Persistent connection.
    pub fn forward(&self, forwarding: &Forwarding<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.method_name().as_bytes());
        out.push(b' ');
        let target = self.target();
        if target.starts_with('?') {
            out.push(b'/');
        }
        out.extend_from_slice(target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.head.copy_lines(out, |line| forwarding.keeps(&self.head, line));
        let host = if self.authority().is_empty() { forwarding.host } else { self.authority() };
        if !self.head.has(Kind::Host) {
            put(out, "Host: ", &[host.as_bytes()]);
        }
        self.forwarding_headers(forwarding, host, out);
        if self.upgrade {
            out.extend_from_slice(SWITCH);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn forwarding_headers(&self, forwarding: &Forwarding<'_>, host: &str, out: &mut Vec<u8>) {
        self.appended(out, forwarding, Kind::ForwardedFor, "X-Forwarded-For: ", &[forwarding.client.as_bytes()]);
        let says = |kind| !forwarding.front && self.head.has(kind);
        if !says(Kind::ForwardedProto) {
            put(out, "X-Forwarded-Proto: ", &[forwarding.proto.as_bytes()]);
        }
        if !says(Kind::ForwardedHost) {
            put(out, "X-Forwarded-Host: ", &[host.as_bytes()]);
        }
        self.forwarded(forwarding, host, out);
        if !says(Kind::RequestId) {
            put(out, "X-Request-Id: ", &[forwarding.id.as_bytes()]);
        }
        put(out, "traceparent: ", &[forwarding.traceparent]);
        self.appended(out, forwarding, Kind::Via, "X-Mainstay-Via: ", &[forwarding.via.as_bytes()]);
    }

    /// RFC 7239 § 4: the front door says everything, inner tiers add their own hop. IPv6 is quoted (§ 6).
    fn forwarded(&self, forwarding: &Forwarding<'_>, host: &str, out: &mut Vec<u8>) {
        let (open, close) = if forwarding.client.bytes().any(|byte| byte == b':') { ("\"[", "]\"") } else { ("", "") };
        let node: [&[u8]; 4] = [b"for=", open.as_bytes(), forwarding.client.as_bytes(), close.as_bytes()];
        if forwarding.front || !self.head.has(Kind::Forwarded) {
            let [name, open, client, close] = node;
            let proto = forwarding.proto.as_bytes();
            put(
                out,
                "Forwarded: ",
                &[name, open, client, close, b";proto=", proto, b";host=\"", host.as_bytes(), b"\""],
            );
        } else {
            self.appended(out, forwarding, Kind::Forwarded, "Forwarded: ", &node);
        }
    }

    /// A list header: what was there (unless we are the front door), then our own member.
    fn appended(&self, out: &mut Vec<u8>, forwarding: &Forwarding<'_>, kind: Kind, name: &str, member: &[&[u8]]) {
        out.extend_from_slice(name.as_bytes());
        if !forwarding.front {
            for value in self.head.all_of_kind(kind).filter(|value| !value.is_empty()) {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
        }
        put(out, "", member);
    }
}

impl Forwarding<'_> {
    /// Whether a line goes on as it stands.
    fn keeps(&self, head: &Head, line: &Line) -> bool {
        if line.dropped || self.whole && line.kind == Kind::Other && is_condition(head.name(line)) {
            return false;
        }
        match line.kind {
            Kind::ForwardedFor | Kind::Forwarded | Kind::Via | Kind::TraceParent => false,
            Kind::TraceState => self.tracestate,
            Kind::ForwardedProto | Kind::ForwardedHost | Kind::RequestId => !self.front,
            _ => true,
        }
    }
}

/// RFC 9110 § 13.1, § 14.2.
fn is_condition(name: &str) -> bool {
    const CONDITIONS: [&str; 6] =
        ["range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
    CONDITIONS.iter().any(|condition| name.eq_ignore_ascii_case(condition))
}

fn put(out: &mut Vec<u8>, name: &str, value: &[&[u8]]) {
    out.extend_from_slice(name.as_bytes());
    value.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(b"\r\n");
}
