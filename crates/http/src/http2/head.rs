//! Heads of HTTP/2 as those of HTTP/1.1, and back.
//!
//! What comes by HTTP/2 is written as HTTP/1.1 and then read by the same strict codec as everything else: nothing can be
//! said in one that would not be refused in the other (RFC 9113 § 10.3).

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, TE};
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::codec::{Head, Kind, Refusal, Request, Response};
use crate::page::reason;

/// Writes a request that came by HTTP/2. `body`: something follows the head.
pub(super) fn write_request(parts: &http::request::Parts, body: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = parts.headers.get(HOST).map(HeaderValue::as_bytes);
    if matches!((authority, host), (Some(one), Some(other)) if !one.eq_ignore_ascii_case(other)) {
        return Err(Refusal::HostDisagrees);
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    put(out, &[parts.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"]);
    if let Some(host) = authority.filter(|_| host.is_none()) {
        put(out, &[b"Host: ", host, b"\r\n"]);
    }
    for (name, value) in parts.headers.iter().filter(|(name, _)| **name != COOKIE && **name != TE) {
        put(out, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    cookies(&parts.headers, out);
    if body && !parts.headers.contains_key(CONTENT_LENGTH) {
        put(out, &[b"transfer-encoding: chunked\r\n"]);
    }
    put(out, &[b"\r\n"]);
    Ok(())
}

/// Crumbs make one line again (RFC 9113 § 8.2.3).
fn cookies(headers: &HeaderMap, out: &mut Vec<u8>) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if let Some(first) = crumbs.next() {
        put(out, &[b"cookie: ", first.as_bytes()]);
        crumbs.for_each(|crumb| put(out, &[b"; ", crumb.as_bytes()]));
        put(out, &[b"\r\n"]);
    }
}

/// Writes an answer that came by HTTP/2. `body`: something follows the head; `head_only`: to HEAD. Whether what follows
/// comes in chunks.
pub(super) fn write_response(parts: &http::response::Parts, body: bool, head_only: bool, out: &mut Vec<u8>) -> bool {
    let status = parts.status.as_u16();
    put(out, &[b"HTTP/1.1 ", parts.status.as_str().as_bytes(), b" ", reason(status).as_bytes(), b"\r\n"]);
    for (name, value) in &parts.headers {
        put(out, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    let length = parts.headers.contains_key(CONTENT_LENGTH);
    let bodiless = head_only || status < 200 || matches!(status, 204 | 304);
    let chunked = body && !length && !bodiless;
    if chunked {
        put(out, &[b"transfer-encoding: chunked\r\n"]);
    } else if !length && !bodiless {
        put(out, &[b"content-length: 0\r\n"]);
    }
    put(out, &[b"\r\n"]);
    chunked
}

/// Writes a chunk.
pub(super) fn write_chunk(data: &Bytes, out: &mut Vec<u8>) {
    put(out, &[format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"]);
}

/// Writes the last chunk and the trailers.
pub(super) fn write_end(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    put(out, &[b"0\r\n"]);
    for (name, value) in trailers.into_iter().flatten() {
        put(out, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    put(out, &[b"\r\n"]);
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// An answer of the engine for HTTP/2; `None` if a value cannot be said there.
pub(super) fn response(response: &Response) -> Option<http::Response<()>> {
    let mut answer = http::Response::new(());
    *answer.status_mut() = StatusCode::from_u16(response.status).ok()?;
    *answer.headers_mut() = headers(&response.head)?;
    Some(answer)
}

/// A request of the engine for a backend by HTTP/2.
pub(super) fn request(request: &Request) -> Option<http::Request<()>> {
    let mut asked = http::Request::new(());
    *asked.method_mut() = Method::from_bytes(request.method_name().as_bytes()).ok()?;
    let (authority, target) = (request.authority(), request.target());
    *asked.uri_mut() = Uri::builder().scheme("http").authority(authority).path_and_query(target).build().ok()?;
    let mut headers = headers(&request.head)?;
    headers.remove(HOST);
    // gRPC refuses who does not say so; whoever we pass an answer to gets its trailers.
    headers.insert(TE, HeaderValue::from_static("trailers"));
    *asked.headers_mut() = headers;
    Some(asked)
}

/// Without those of a single connection (RFC 9113 § 8.2.2).
fn headers(head: &Head) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(16);
    for (kind, name, value) in head.headers() {
        if !kind.is_of_this_hop() && kind != Kind::Encoding {
            headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
    }
    Some(headers)
}

/// The trailers in `lines`, which the chunked codec has checked.
pub(super) fn trailers(lines: &[u8]) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value)) {
            trailers.append(name, value);
        }
    }
    trailers
}
