//! Response heads.

use super::forward::SWITCH;
use super::head::{diagnose, table};
use super::{Framing, Head, HeadLimits, Kind, Refusal, append, end, quick};

/// What must be known of the request to read its response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseContext {
    /// The request was HEAD: there is no body, whatever the headers say.
    pub head: bool,
    /// The request asked to go on by WebSocket.
    pub upgrade: bool,
}

/// What becomes of the chunks of a body on its way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunks {
    /// They pass, or there are none.
    AsTheyAre,
    /// The client is of HTTP/1.0 and cannot read them.
    Removed,
    /// The backend ends the body by closing; the client's connection goes on, and can tell a body that broke off.
    Added,
}

impl Chunks {
    /// For a body framed like this, to a client of HTTP/1.0 if it is `old`.
    pub fn between(framing: Framing, old: bool) -> Chunks {
        match (framing, old) {
            (Framing::Chunked, true) => Chunks::Removed,
            (Framing::Close, false) => Chunks::Added,
            _ => Chunks::AsTheyAre,
        }
    }

    /// Whether the client can see where the body of `response` ends.
    pub fn delimit(self, response: &Response) -> bool {
        match self {
            Chunks::AsTheyAre => response.framing != Framing::Close,
            Chunks::Removed => false,
            Chunks::Added => true,
        }
    }
}

/// A response head, used again for the next response.
#[derive(Debug, Default)]
pub struct Response {
    /// Its lines.
    pub head: Head,
    /// 100 to 599.
    pub status: u16,
    /// How its body is delimited on the wire.
    pub framing: Framing,
    /// The backend will use the connection again.
    pub persists: bool,
}

impl Response {
    /// Reads the head at the start of `buffer`; the number of bytes it took, or `None` if more must come.
    pub fn read(
        &mut self,
        buffer: &[u8],
        limits: &HeadLimits,
        context: ResponseContext,
    ) -> Result<Option<usize>, Refusal> {
        let window = quick::window(buffer, limits);
        if let Some(line) = quick::status_line(window, limits)
            && let Some(end) = self.head.keep_quickly(window, line.bytes, limits)
        {
            self.take(line.status, line.old, context)?;
            return Ok(Some(end));
        }
        self.read_odd(buffer, limits, context)
    }

    /// The same, of what may be anything.
    pub(crate) fn read_odd(
        &mut self,
        buffer: &[u8],
        limits: &HeadLimits,
        context: ResponseContext,
    ) -> Result<Option<usize>, Refusal> {
        let Some((start, end)) = end::find(buffer, limits)? else { return Ok(None) };
        self.parse(&buffer[start..end], limits, context)?;
        Ok(Some(end))
    }

    fn parse(&mut self, bytes: &[u8], limits: &HeadLimits, context: ResponseContext) -> Result<(), Refusal> {
        let mut headers = table();
        let mut response = httparse::Response::new(&mut []);
        let ended = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, bytes, &mut headers)
            .map_err(|error| diagnose(bytes, error, Refusal::StatusLineInvalid))?;
        if ended != httparse::Status::Complete(bytes.len()) {
            return Err(Refusal::StatusLineInvalid);
        }
        let (Some(status), Some(version)) = (response.code, response.version) else {
            return Err(Refusal::StatusLineInvalid);
        };
        if response.headers.len() > limits.headers_max {
            return Err(Refusal::HeadersTooMany);
        }
        self.head.keep(bytes, response.headers);
        self.take(status, version == 0, context)
    }

    /// Decides what the head that was kept means.
    fn take(&mut self, status: u16, old: bool, context: ResponseContext) -> Result<(), Refusal> {
        if !(100..600).contains(&status) {
            return Err(Refusal::StatusLineInvalid);
        }
        self.status = status;
        self.settle(old, context)
    }

    /// RFC 9112 § 6.3, in its order.
    fn settle(&mut self, old: bool, context: ResponseContext) -> Result<(), Refusal> {
        let scan = self.head.scan()?;
        let said = scan.clues.verdict(old)?;
        let websocket = |value: &[u8]| value.eq_ignore_ascii_case(b"websocket");
        if self.switches() && !(context.upgrade && self.head.of_kind(Kind::Upgrade).is_some_and(websocket)) {
            return Err(Refusal::SwitchedUnasked);
        }
        let bodiless = context.head || self.status < 200 || self.status == 204 || self.status == 304;
        self.framing = if bodiless { Framing::None } else { said.unwrap_or(Framing::Close) };
        self.persists = scan.persists(old) && self.framing != Framing::Close;
        Ok(())
    }

    /// What follows the version in its first line: ` 200 OK`, with its CRLF.
    pub(crate) fn line(&self) -> &[u8] {
        &self.head.bytes[8..usize::from(self.head.fields)]
    }

    /// Whether it is `100 Continue` or its like, which the real response follows.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && !self.switches()
    }

    /// Whether the connection is another protocol's from here on.
    pub fn switches(&self) -> bool {
        self.status == 101
    }

    /// Writes the head for the client behind `out`. `connection`: the value of our own Connection line.
    pub fn forward(&self, out: &mut Vec<u8>, chunks: Chunks, connection: Option<&str>) {
        append(out, [b"HTTP/1.1", self.line()]);
        self.head.copy_lines(out, |line| !(line.dropped || chunks == Chunks::Removed && line.kind == Kind::Encoding));
        if chunks == Chunks::Added {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if self.switches() {
            out.extend_from_slice(SWITCH);
        } else if let Some(connection) = connection {
            append(out, [b"Connection: ", connection.as_bytes(), b"\r\n"]);
        }
        out.extend_from_slice(b"\r\n");
    }
}
