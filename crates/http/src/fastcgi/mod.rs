//! FastCGI 1.0, the responder's client, without I/O: a request is written, its answer read piece by piece and its CGI
//! headers (RFC 3875 § 6) made into a head of HTTP/1.1.
//!
//! One request at a time on a connection: begin, body, end; then records are fed to a [`Decoder`], the start of its
//! stdout to [`CgiHead::read`], until the end. Then the connection is free for the next.

mod headers;
mod params;
mod record;
mod request;
mod response;
mod script;
#[cfg(test)]
mod tests;

pub use headers::{BadHead, CgiHead};
pub use params::{Gateway, Params};
pub use request::{begin, body, end};
pub use response::{Decoder, Event, Fault, Protocol};
pub use script::{Script, Scripts, Target};
