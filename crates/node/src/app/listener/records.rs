//! FastCGI's records (FastCGI Specification 1.0 § 3 and § 8), and the head of a CGI answer (RFC 3875 § 6).

use hyper::body::Bytes;
use hyper::http::response::Builder;
use hyper::{Response, StatusCode};

/// The only request on its connection.
const REQUEST: u16 = 1;
/// A record's contents have at most this length; a little less keeps them a multiple of eight.
pub(super) const CONTENT_MAX: usize = 0xfff8;
/// A head longer than this is a script gone wrong.
pub(super) const HEAD_MAX: usize = 64 * 1024;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Begins a request.
    Begin = 1,
    /// Ends it.
    End = 3,
    /// Its parameters.
    Parameters = 4,
    /// Its body.
    Input = 5,
    /// The answer.
    Output = 6,
    /// For the log.
    Errors = 7,
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// `None`: a kind that we do not use.
    pub kind: Option<Kind>,
    /// Length of the contents.
    pub length: usize,
    /// Length of what follows them.
    pub padding: usize,
}

impl Header {
    /// Reads a header; `None` if it is not FastCGI's.
    pub fn parse(bytes: [u8; 8]) -> Option<Header> {
        let [1, kind, _, _, high, low, padding, _] = bytes else { return None };
        let kind = match kind {
            3 => Some(Kind::End),
            6 => Some(Kind::Output),
            7 => Some(Kind::Errors),
            _ => None,
        };
        Some(Header { kind, length: usize::from(u16::from_be_bytes([high, low])), padding: padding.into() })
    }
}

/// Appends records of `kind` with `contents`; empty contents end a stream.
pub(super) fn put(out: &mut Vec<u8>, kind: Kind, contents: &[u8]) {
    let mut one = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).unwrap_or(u16::MAX).to_be_bytes();
        let id = REQUEST.to_be_bytes();
        out.extend([1, kind as u8, id[0], id[1], length[0], length[1], 0, 0]);
        out.extend(piece);
    };
    if contents.is_empty() {
        one(contents);
    }
    contents.chunks(CONTENT_MAX).for_each(&mut one);
}

/// The beginning of a request: role "responder", the connection closed after it; then its parameters.
pub(super) fn begin(parameters: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, Kind::Begin, &[0, 1, 0, 0, 0, 0, 0, 0]);
    let mut pairs = Vec::new();
    for (name, value) in parameters {
        put_length(&mut pairs, name.len());
        put_length(&mut pairs, value.len());
        pairs.extend(name.as_bytes());
        pairs.extend(value);
    }
    put(&mut out, Kind::Parameters, &pairs);
    put(&mut out, Kind::Parameters, &[]);
    out
}

/// One byte below 128, else four with the highest bit set.
fn put_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => out.extend((u32::try_from(length).unwrap_or(u32::MAX) | 0x8000_0000).to_be_bytes()),
    }
}

/// The head of a script's answer and what of the body came with it; `Ok(None)` while the head is not complete.
pub(super) fn head(bytes: &[u8]) -> Result<Option<(Builder, Bytes)>, String> {
    let Some((end, body)) = head_end(bytes) else {
        return if bytes.len() > HEAD_MAX { Err("the script's head has no end".into()) } else { Ok(None) };
    };
    let mut answer = Response::builder();
    let mut status = None;
    for line in bytes[..end].split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let at = line.iter().position(|byte| *byte == b':').ok_or("the script's head has a line without a colon")?;
        let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
        match name.to_ascii_lowercase().as_slice() {
            b"status" => status = value.get(..3).and_then(|code| StatusCode::from_bytes(code).ok()),
            b"location" => {
                status = status.or(Some(StatusCode::FOUND));
                answer = answer.header(name, value);
            }
            _ => answer = answer.header(name, value),
        }
    }
    Ok(Some((answer.status(status.unwrap_or(StatusCode::OK)), Bytes::copy_from_slice(&bytes[body..]))))
}

/// Where the head ends and where the body begins.
fn head_end(bytes: &[u8]) -> Option<(usize, usize)> {
    let at = |pattern: &[u8]| bytes.windows(pattern.len()).position(|window| window == pattern);
    let crlf = at(b"\r\n\r\n").map(|end| (end, end + 4));
    let lf = at(b"\n\n").map(|end| (end, end + 2));
    match (crlf, lf) {
        (Some(crlf), Some(lf)) => Some(crlf.min(lf)),
        (crlf, lf) => crlf.or(lf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_to_their_greatest_length() {
        let mut out = Vec::new();
        put(&mut out, Kind::Input, &vec![7; CONTENT_MAX + 1]);
        assert_eq!(out[..8], [1, 5, 0, 1, 0xff, 0xf8, 0, 0]);
        assert_eq!(out[8 + CONTENT_MAX..], [1, 5, 0, 1, 0, 1, 0, 0, 7]);
        out.clear();
        put(&mut out, Kind::Input, &[]);
        assert_eq!(out, [1, 5, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn long_values_have_long_lengths() {
        let out = begin(&[("A".into(), vec![b'x'; 200])]);
        assert_eq!(out[..16], [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(out[16..30], [1, 4, 0, 1, 0, 206, 0, 0, 1, 0x80, 0, 0, 200, b'A']);
        assert_eq!(out[out.len() - 8..], [1, 4, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_scripts_head_is_read() {
        let (answer, body) = head(b"Status: 404 Not Found\r\nContent-Type: text/html\r\n\r\nbody").unwrap().unwrap();
        let answer = answer.body(()).unwrap();
        assert_eq!((answer.status(), &body[..]), (StatusCode::NOT_FOUND, &b"body"[..]));
        assert_eq!(answer.headers()["content-type"], "text/html");
        let (answer, _) = head(b"Location: /there\n\n").unwrap().unwrap();
        assert_eq!(answer.body(()).unwrap().status(), StatusCode::FOUND);
        assert!(head(b"Content-Type: text/html\r\n").unwrap().is_none());
        assert!(head(b"no colon\r\n\r\n").is_err());
        assert!(head(&vec![b'x'; HEAD_MAX + 1]).is_err());
    }

    #[test]
    fn other_protocols_are_not_taken_for_fastcgi() {
        assert_eq!(Header::parse(*b"HTTP/1.1"), None);
        let header = Header { kind: Some(Kind::Output), length: 258, padding: 6 };
        assert_eq!(Header::parse([1, 6, 0, 1, 1, 2, 6, 0]), Some(header));
    }
}
