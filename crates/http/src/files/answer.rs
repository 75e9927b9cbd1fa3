//! The head of an answer from a file.

use std::io::Write;

use super::conditions::Verdict;
use super::range::Asked;
use super::{Conditions, Found, cache, range};
use crate::codec::Method;

/// Which bytes of the file follow the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// None.
    Nothing,
    /// From `start`, `length` bytes; zero for an empty file.
    Range {
        /// Offset of the first byte.
        start: u64,
        /// Bytes. The head has promised them: if the file gives fewer, the connection must be closed.
        length: u64,
    },
}

/// Appends the status line and the headers of the answer to `head`, without Date, Connection and the empty line, which
/// are the connection's; gives back what follows.
///
/// 200, 206, 304, 405, 412 or 416, after RFC 9110 § 13.2.2 and § 14.2. Cache-Control: names that carry a fingerprint
/// of the content are kept forever, all others are asked for each time (`no-cache`), which costs a 304.
pub fn answer(found: &Found, method: Method, conditions: &Conditions<'_>, head: &mut Vec<u8>) -> Content {
    if !matches!(method, Method::Get | Method::Head) {
        head.extend_from_slice(b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 0\r\n");
        return Content::Nothing;
    }
    let etag = found.etag();
    match conditions.verdict(found, &etag) {
        Verdict::Failed => {
            head.extend_from_slice(b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n");
            Content::Nothing
        }
        Verdict::NotModified => {
            head.extend_from_slice(b"HTTP/1.1 304 Not Modified\r\n");
            validators(found, &etag, conditions, head);
            Content::Nothing
        }
        Verdict::Pass => content(found, method, &etag, conditions, head),
    }
}

fn content(found: &Found, method: Method, etag: &str, conditions: &Conditions<'_>, head: &mut Vec<u8>) -> Content {
    // RFC 9110 § 14.2: Range means something with GET alone.
    let asked = match conditions.range {
        Some(header) if method == Method::Get && conditions.range_applies(found, etag) => {
            range::read(header, found.length)
        }
        _ => Asked::Whole,
    };
    let (start, length) = match asked {
        Asked::Whole => {
            head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
            (0, found.length)
        }
        Asked::Part { start, length } => {
            head.extend_from_slice(b"HTTP/1.1 206 Partial Content\r\n");
            put(head, format_args!("Content-Range: bytes {start}-{}/{}\r\n", start + length - 1, found.length));
            (start, length)
        }
        Asked::Outside => {
            head.extend_from_slice(b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n");
            put(head, format_args!("Content-Range: bytes */{}\r\n", found.length));
            return Content::Nothing;
        }
    };
    // The types are ours, from the extension: nobody shall guess another from what visitors have uploaded.
    put(head, format_args!("Content-Type: {}\r\nX-Content-Type-Options: nosniff\r\n", found.media));
    put(head, format_args!("Content-Length: {length}\r\nAccept-Ranges: bytes\r\n"));
    validators(found, etag, conditions, head);
    if method == Method::Head { Content::Nothing } else { Content::Range { start, length } }
}

/// What a 304 says too (RFC 9110 § 15.4.5).
fn validators(found: &Found, etag: &str, conditions: &Conditions<'_>, head: &mut Vec<u8>) {
    let keep = if found.lasts { cache::FOREVER } else { cache::ASK };
    put(head, format_args!("ETag: {etag}\r\nCache-Control: {keep}\r\n"));
    if let Some(modified) = conditions.modified(found) {
        put(head, format_args!("Last-Modified: {}\r\n", httpdate::HttpDate::from(modified)));
    }
}

/// Writing into memory does not fail.
fn put(head: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let written = head.write_fmt(text);
    debug_assert!(written.is_ok());
}
