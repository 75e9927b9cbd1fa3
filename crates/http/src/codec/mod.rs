//! HTTP/1.1 without I/O (RFC 9110, RFC 9112): heads are found, checked and rewritten, bodies are followed byte by byte.
//!
//! What is ambiguous is refused ([`Refusal`]), never repaired and forwarded. A head is looked at only when it is
//! complete, so that how the bytes were split on the way cannot change the verdict.

mod authority;
mod body;
mod chunked;
mod end;
mod forward;
mod framing;
mod head;
mod kind;
mod quick;
mod refusal;
mod request;
mod response;
mod target;

pub use authority::{Authority, host_is_valid};
pub use body::Body;
pub use chunked::Chunked;
pub use forward::Forwarding;
pub use framing::Framing;
pub(crate) use framing::is_token;
pub use head::Head;
pub use kind::Kind;
pub use refusal::Refusal;
pub use request::{Method, Request};
pub use response::{Chunks, Response, ResponseContext};

/// How much a head may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head. 16 KiB: twice what Apache takes for one line, the same as HAProxy's buffer; browsers
    /// with many cookies stay below 8 KiB.
    pub size_bytes_max: u16,
    /// Bytes of the request line. 8 KiB: RFC 9112 § 3 asks for at least 8,000.
    pub line_bytes_max: u16,
    /// Header lines: 100, as HAProxy's `tune.http.maxhdr` of 101 and Apache's `LimitRequestFields` of 100.
    pub headers_max: usize,
}

/// The most header lines that any configuration may allow: the parser's table stands on the stack.
pub const HEADERS_CEILING: usize = 128;

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits { size_bytes_max: 16 * 1024, line_bytes_max: 8 * 1024 + 256, headers_max: 100 }
    }
}

/// Appends all `parts`. Where they are written down, as most are, this is a few instructions each instead of a call.
#[inline(always)]
pub(crate) fn append<const PARTS: usize>(out: &mut Vec<u8>, parts: [&[u8]; PARTS]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}
