//! Request heads.

use super::head::{diagnose, table};
use super::{Authority, Framing, Head, HeadLimits, Kind, Refusal, end, quick, target};

/// What a method means to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    /// Safe (RFC 9110 § 9.3.1).
    #[default]
    Get,
    /// As GET, without a body in the answer.
    Head,
    /// May alone say `*`.
    Options,
    /// PUT and DELETE: repeating changes nothing (RFC 9110 § 9.2.2).
    Idempotent,
    /// Everything else.
    Other,
}

impl Method {
    fn of(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "OPTIONS" => Method::Options,
            "PUT" | "DELETE" => Method::Idempotent,
            _ => Method::Other,
        }
    }

    /// Whether a request may be sent again without harm (RFC 9110 § 9.2.2).
    pub fn is_idempotent(self) -> bool {
        self != Method::Other
    }
}

/// A request head, used again for the next request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Its lines.
    pub head: Head,
    /// What its method means.
    pub method: Method,
    /// How its body is delimited.
    pub framing: Framing,
    /// HTTP/1.0.
    pub old: bool,
    /// The client will use the connection again.
    pub persists: bool,
    /// The client asks to go on by WebSocket (RFC 6455 § 4.1).
    pub upgrade: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    // Texts of their own: asked for again and again, and each look at bytes as text goes through all of them.
    method_name: String,
    path: String,
    /// Of them before the query.
    path_bytes: usize,
    host: String,
    /// Of them without the port.
    host_bytes: usize,
}

impl Request {
    /// Nothing follows its head on this connection, as the client says.
    pub(crate) fn is_last(&self) -> bool {
        !self.persists && !self.upgrade && self.framing == Framing::None
    }

    /// Reads the head at the start of `buffer`; the number of bytes it took, or `None` if more must come.
    pub fn read(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        let window = quick::window(buffer, limits);
        if let Some(line) = quick::request_line(window, limits)
            && let Some(end) = self.head.keep_quickly(window, line.bytes, limits)
        {
            self.take(line.method, line.target, line.old)?;
            return Ok(Some(end));
        }
        self.read_odd(buffer, limits)
    }

    /// The same, of what may be anything.
    pub(crate) fn read_odd(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        let Some((start, end)) = end::find(buffer, limits)? else { return Ok(None) };
        self.parse(&buffer[start..end], limits)?;
        Ok(Some(end))
    }

    /// `GET`
    pub fn method_name(&self) -> &str {
        &self.method_name
    }

    /// Path and query, `*` if it says so; if the target has none `/`, for OPTIONS `*` (RFC 9112 § 3.2.4).
    pub fn target(&self) -> &str {
        match self.path.as_str() {
            "" if self.method == Method::Options => "*",
            "" => "/",
            path => path,
        }
    }

    /// The path without the query, as it was sent; `/` for `*`, which is answered by who answers that.
    pub fn path(&self) -> &str {
        match &self.path[..self.path_bytes] {
            "" | "*" => "/",
            path => path,
        }
    }

    /// What follows the `?`; empty if there is none.
    pub fn query(&self) -> &str {
        self.path.get(self.path_bytes + 1..).unwrap_or_default()
    }

    /// Host with port as sent; empty in HTTP/1.0 without one.
    pub fn authority(&self) -> &str {
        &self.host
    }

    /// Host without port.
    pub fn host(&self) -> &str {
        &self.host[..self.host_bytes]
    }

    fn parse(&mut self, head: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
        let mut headers = table();
        let mut request = httparse::Request::new(&mut []);
        let ended = request
            .parse_with_uninit_headers(head, &mut headers)
            .map_err(|error| diagnose(head, error, Refusal::RequestLineInvalid))?;
        if ended != httparse::Status::Complete(head.len()) {
            return Err(Refusal::RequestLineInvalid);
        }
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
            return Err(Refusal::RequestLineInvalid);
        };
        if request.headers.len() > limits.headers_max {
            return Err(Refusal::HeadersTooMany);
        }
        self.head.keep(head, request.headers);
        self.take(method, target, version == 0)
    }

    /// Decides what the head that was kept means.
    fn take(&mut self, method: &str, target: &str, old: bool) -> Result<(), Refusal> {
        self.old = old;
        self.method = Method::of(method);
        set(&mut self.method_name, method);
        if matches!(method, "CONNECT" | "TRACE") {
            return Err(Refusal::MethodNotAllowed);
        }
        self.locate(target)?;
        self.settle()
    }

    /// Finds path and host, and that they agree.
    fn locate(&mut self, target: &str) -> Result<(), Refusal> {
        let parts = target::split(target, self.method == Method::Options)?;
        set(&mut self.path, &target[parts.path]);
        self.path_bytes = memchr::memchr(b'?', self.path.as_bytes()).unwrap_or(self.path.len());
        let mut hosts = self.head.all_of_kind(Kind::Host);
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err(Refusal::HostRepeated);
        }
        let said = parts.authority.map(|range| &target[range]);
        // The next request nearly always is for the same host, which was looked at then.
        if said.is_none() && host.is_some_and(|host| !host.is_empty() && host == self.host.as_bytes()) {
            return Ok(());
        }
        let named = match (host, said) {
            (None, _) if !self.old => return Err(Refusal::HostMissing),
            (Some(host), _) => std::str::from_utf8(host).map_err(|_| Refusal::HostInvalid)?,
            (None, said) => said.unwrap_or_default(),
        };
        let authority = Authority::parse(named);
        match said {
            _ if host.is_some() && authority.is_none() => return Err(Refusal::HostInvalid),
            Some(said) if Authority::parse(said).is_none() => return Err(Refusal::TargetInvalid),
            Some(said) if !said.eq_ignore_ascii_case(named) => return Err(Refusal::HostDisagrees),
            _ => {}
        }
        self.host_bytes = authority.map_or(0, |authority| authority.host.len());
        set(&mut self.host, named);
        Ok(())
    }

    /// Decides what the header lines mean.
    fn settle(&mut self) -> Result<(), Refusal> {
        let scan = self.head.scan()?;
        self.framing = scan.clues.verdict(self.old)?.unwrap_or(Framing::None);
        self.persists = scan.persists(self.old);
        self.expects_continue = self.expectation()?;
        self.upgrade = scan.upgrade && !self.old && self.asks_websocket();
        if self.upgrade && (self.method != Method::Get || self.framing != Framing::None) {
            return Err(Refusal::UpgradeOdd);
        }
        Ok(())
    }

    /// An expectation in HTTP/1.0 is ignored (RFC 9110 § 10.1.1). Several lines are one list (§ 5.3).
    fn expectation(&self) -> Result<bool, Refusal> {
        let mut expected = false;
        for value in self.head.all_of_kind(Kind::Expect) {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::ExpectationUnknown);
            }
            expected = true;
        }
        Ok(expected && !self.old && self.framing != Framing::None)
    }

    /// Other protocols are ignored, as RFC 9110 § 7.8 allows: `h2c` above all, by which requests could pass unseen.
    fn asks_websocket(&self) -> bool {
        self.head.of_kind(Kind::Upgrade).is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
    }
}

/// Makes `text` say `to`, in the room that it has.
fn set(text: &mut String, to: &str) {
    text.clear();
    text.push_str(to);
}
