//! The head of an answer from a file.

use std::io::Write;

use super::conditions::Verdict;
use super::range::{Asked, Part};
use super::{Conditions, Found, cache, range};
use crate::codec::Method;

/// Which bytes of the file follow the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// None.
    Nothing,
    /// One part. The head has promised its bytes: if the file gives fewer, the connection must be closed.
    Part(Part),
    /// Several, each behind a head of its own, and what ends them (RFC 9110 § 14.6).
    Parts(Vec<(String, Part)>, String),
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
    let (media, length, content) = match asked {
        Asked::Whole => {
            head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
            let whole = Part { start: 0, length: found.length };
            (found.media, found.length, if found.length > 0 { Content::Part(whole) } else { Content::Nothing })
        }
        Asked::Part(part) => {
            head.extend_from_slice(b"HTTP/1.1 206 Partial Content\r\n");
            put(head, format_args!("Content-Range: {}\r\n", content_range(part, found)));
            (found.media, part.length, Content::Part(part))
        }
        Asked::Parts(parts) => {
            head.extend_from_slice(b"HTTP/1.1 206 Partial Content\r\n");
            let (length, content) = several(&parts, found);
            (MULTIPART, length, content)
        }
        Asked::Outside => {
            head.extend_from_slice(b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n");
            put(head, format_args!("Content-Range: bytes */{}\r\n", found.length));
            return Content::Nothing;
        }
    };
    // The types are ours, from the extension: nobody shall guess another from what visitors have uploaded.
    put(head, format_args!("Content-Type: {media}\r\nX-Content-Type-Options: nosniff\r\n"));
    put(head, format_args!("Content-Length: {length}\r\nAccept-Ranges: bytes\r\n"));
    if let Some(encoding) = found.encoding {
        put(head, format_args!("Content-Encoding: {}\r\n", encoding.name()));
    }
    validators(found, etag, conditions, head);
    if method == Method::Head { Content::Nothing } else { content }
}

/// A boundary that no file of ours is likely to hold; it is one of sixteen hexadecimal digits that were drawn once.
const MULTIPART: &str = "multipart/byteranges; boundary=7d1c4e9ab25f8036";

/// The parts with their heads, and how many bytes they are together.
fn several(parts: &[Part], found: &Found) -> (u64, Content) {
    let with_head = |part: &Part| {
        let (media, range) = (found.media, content_range(*part, found));
        (format!("\r\n--7d1c4e9ab25f8036\r\nContent-Type: {media}\r\nContent-Range: {range}\r\n\r\n"), *part)
    };
    let parts: Vec<(String, Part)> = parts.iter().map(with_head).collect();
    let end = "\r\n--7d1c4e9ab25f8036--\r\n".to_owned();
    let length = parts.iter().map(|(head, part)| head.len() as u64 + part.length).sum::<u64>() + end.len() as u64;
    (length, Content::Parts(parts, end))
}

fn content_range(Part { start, length }: Part, found: &Found) -> String {
    format!("bytes {start}-{}/{}", start + length - 1, found.length)
}

/// What a 304 says too (RFC 9110 § 15.4.5).
fn validators(found: &Found, etag: &str, conditions: &Conditions<'_>, head: &mut Vec<u8>) {
    let by_name = if found.lasts { cache::FOREVER } else { cache::ASK };
    let keep = found.kept.as_deref().unwrap_or(by_name);
    if found.varies() {
        put(head, format_args!("Vary: Accept-Encoding\r\n"));
    }
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
