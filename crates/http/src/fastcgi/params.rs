//! The variables of a CGI request (RFC 3875 § 4.1, and what nginx's `fastcgi_params` adds, which PHP relies on).

use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

use super::Script;
use crate::codec::{Authority, Framing, Kind, Request};

/// The connection that a request came on, and who we are.
#[derive(Clone, Copy, Debug)]
pub struct Gateway<'a> {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// The peer is a tier of ours: what it says in `X-Forwarded-For`, `-Proto` and `-Host` is believed.
    pub trusted: bool,
    /// The connection itself is encrypted.
    pub encrypted: bool,
    /// Who we are, for `X-Mainstay-Via`: `app=server1`; empty to add nothing.
    pub via: &'a str,
    /// The request's `traceparent`, with a span of ours; empty to pass on none.
    pub traceparent: &'a [u8],
    /// Whether the request's `tracestate` belongs to that trace.
    pub tracestate: bool,
    /// Bytes of the body. The request says so itself, but not of one that came in chunks, which must be gathered first:
    /// applications read no further than `CONTENT_LENGTH`.
    pub body_bytes: Option<u64>,
}

/// Name-value pairs as they stand in PARAMS records (FastCGI 1.0 § 3.4).
#[derive(Clone, Debug, Default)]
pub struct Params {
    bytes: Vec<u8>,
}

impl Params {
    /// The variables of `request`.
    pub fn of(request: &Request, script: &Script, gateway: &Gateway<'_>) -> Params {
        // Some 700 bytes of variables and the request's own.
        let mut params = Params { bytes: Vec::with_capacity(2048) };
        params.script(script);
        params.request(request, gateway);
        params.connection(request, gateway);
        params.headers(request, gateway);
        params
    }

    /// Adds a variable; of two with one name PHP takes the last.
    pub fn pair(&mut self, name: &str, value: &[u8]) {
        self.length(name.len());
        self.length(value.len());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(value);
    }

    /// The pairs as they are sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn length(&mut self, length: usize) {
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => self.bytes.push(short),
            // Heads are shorter than 2^16.
            _ => self.bytes.extend_from_slice(&(length as u32 | 1 << 31).to_be_bytes()),
        }
    }

    fn script(&mut self, script: &Script) {
        self.pair("DOCUMENT_ROOT", script.root.as_os_str().as_bytes());
        self.pair("SCRIPT_FILENAME", script.file.as_os_str().as_bytes());
        self.pair("SCRIPT_NAME", script.name.as_bytes());
        if !script.info.is_empty() {
            // Never PATH_TRANSLATED: with `cgi.fix_pathinfo=0`, which careful people set, PHP takes it for the script.
            self.pair("PATH_INFO", script.info.as_bytes());
        }
        self.pair("DOCUMENT_URI", &[script.name.as_bytes(), script.info.as_bytes()].concat());
    }

    fn request(&mut self, request: &Request, gateway: &Gateway<'_>) {
        self.pair("REQUEST_METHOD", request.method_name().as_bytes());
        self.pair("REQUEST_URI", request.target().as_bytes());
        self.pair("QUERY_STRING", request.query().as_bytes());
        if let Some(media) = request.head.header("content-type") {
            self.pair("CONTENT_TYPE", media);
        }
        let said = if let Framing::Length(bytes) = request.framing { Some(bytes) } else { None };
        if let Some(bytes) = gateway.body_bytes.or(said) {
            self.pair("CONTENT_LENGTH", bytes.to_string().as_bytes());
        }
    }

    fn connection(&mut self, request: &Request, gateway: &Gateway<'_>) {
        let encrypted = gateway.is_https(request);
        self.pair("GATEWAY_INTERFACE", b"CGI/1.1");
        self.pair("SERVER_SOFTWARE", b"mainstay");
        self.pair("SERVER_PROTOCOL", if request.old { b"HTTP/1.0" } else { b"HTTP/1.1" });
        // PHP built with force-cgi-redirect runs nothing without it.
        self.pair("REDIRECT_STATUS", b"200");
        self.pair("REQUEST_SCHEME", if encrypted { b"https" } else { b"http" });
        if encrypted {
            self.pair("HTTPS", b"on");
        }
        let local = gateway.local.ip().to_string();
        self.pair("SERVER_ADDR", local.as_bytes());
        let host = Authority::parse(gateway.host(request));
        self.pair("SERVER_NAME", host.map_or(&*local, |authority| authority.host).as_bytes());
        // The port that the client asked, not the one that we listen on.
        let port = host.and_then(|authority| authority.port).unwrap_or(if encrypted { 443 } else { 80 });
        self.pair("SERVER_PORT", port.to_string().as_bytes());
        match gateway.visitor(request) {
            Some(visitor) => self.pair("REMOTE_ADDR", visitor.to_string().as_bytes()),
            None => {
                self.pair("REMOTE_ADDR", gateway.peer.ip().to_string().as_bytes());
                self.pair("REMOTE_PORT", gateway.peer.port().to_string().as_bytes());
            }
        }
    }

    /// `HTTP_*`. Headers of one name become one variable (RFC 3875 § 4.1.18).
    fn headers(&mut self, request: &Request, gateway: &Gateway<'_>) {
        let ours = |kind| kind == Kind::TraceParent || kind == Kind::TraceState && !gateway.tracestate;
        let passed: Vec<_> =
            request.head.passed().filter(|(kind, name, _)| !ours(*kind) && becomes_variable(*kind, name)).collect();
        for (place, &(kind, name, value)) in passed.iter().enumerate() {
            let same = |other: &str| other.eq_ignore_ascii_case(name);
            if passed[..place].iter().any(|(_, earlier, _)| same(earlier)) {
                continue;
            }
            let more = passed[place + 1..].iter().filter(|(_, later, _)| same(later)).map(|(_, _, value)| *value);
            let via = (kind == Kind::Via && !gateway.via.is_empty()).then_some(gateway.via.as_bytes());
            let mut values = more.chain(via).peekable();
            if kind == Kind::Host {
                self.header(name, gateway.host(request).as_bytes());
            } else if values.peek().is_none() {
                self.header(name, value);
            } else {
                let separator: &[u8] = if same("cookie") { b"; " } else { b", " };
                self.header(name, &join(value, values, separator));
            }
        }
        if !request.head.has(Kind::Via) && !gateway.via.is_empty() {
            self.header("X-Mainstay-Via", gateway.via.as_bytes());
        }
        if !gateway.traceparent.is_empty() {
            self.header("traceparent", gateway.traceparent);
        }
    }

    fn header(&mut self, name: &str, value: &[u8]) {
        self.length("HTTP_".len() + name.len());
        self.length(value.len());
        self.bytes.extend_from_slice(b"HTTP_");
        self.bytes.extend(name.bytes().map(|byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }));
        self.bytes.extend_from_slice(value);
    }
}

impl Gateway<'_> {
    fn is_https(&self, request: &Request) -> bool {
        let said = if self.trusted { request.head.of_kind(Kind::ForwardedProto) } else { None };
        said.map_or(self.encrypted, |proto| proto.eq_ignore_ascii_case(b"https"))
    }

    /// The host as the visitor wrote it, with its port.
    fn host<'r>(&self, request: &'r Request) -> &'r str {
        let said = if self.trusted { request.head.of_kind(Kind::ForwardedHost) } else { None };
        let said = said.and_then(|host| std::str::from_utf8(host).ok());
        said.filter(|host| Authority::parse(host).is_some()).unwrap_or(request.authority())
    }

    /// The visitor's address as the front door saw it: the first of `X-Forwarded-For`, since the front door drops what
    /// was there before.
    fn visitor(&self, request: &Request) -> Option<IpAddr> {
        let list = if self.trusted { request.head.of_kind(Kind::ForwardedFor) } else { None };
        std::str::from_utf8(list?.split(|byte| *byte == b',').next()?).ok()?.trim().parse().ok()
    }
}

/// Only letters, digits and dashes: `a_b` and `a-b` would be the same variable, and one of the two could be believed.
/// `Proxy` never: `HTTP_PROXY` is where programs look for the proxy that they shall use (CVE-2016-5385, httpoxy).
/// What frames the body or stands in a variable of its own does not come again.
fn becomes_variable(kind: Kind, name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let framing = matches!(kind, Kind::Length | Kind::Encoding | Kind::Expect);
    plain && !framing && !["proxy", "content-type"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn join<'a>(first: &[u8], more: impl Iterator<Item = &'a [u8]>, separator: &[u8]) -> Vec<u8> {
    let mut joined = first.to_vec();
    for value in more {
        joined.extend_from_slice(separator);
        joined.extend_from_slice(value);
    }
    joined
}
