//! What is asked of files: parts lie within them, and a head says what follows it.

use std::path::Path;
use std::sync::LazyLock;
use std::time::SystemTime;

use crate::codec::{HeadLimits, Method, Request, Response, ResponseContext};
use crate::files::{Conditions, Content, Found, answer, ranges};

/// A Range header, behind two bytes that say how large the file is.
pub fn range(data: &[u8]) {
    let Some((size, header)) = data.split_first_chunk::<2>() else { return };
    for size in [u64::from(u16::from_be_bytes(*size)), u64::MAX] {
        let Some(parts) = ranges(header, size) else { continue };
        let mut before: Vec<(u64, u64)> = Vec::new();
        for part in &parts {
            let end = part.start.checked_add(part.length);
            assert!(part.length > 0 && end.is_some_and(|end| end <= size), "{part:?} of {size}");
            let apart = |(start, end): &(u64, u64)| part.start >= *end || part.start + part.length <= *start;
            assert!(parts.len() == 1 || before.iter().all(apart), "{parts:?} overlap");
            before.push((part.start, part.start + part.length));
        }
        let again: Vec<String> =
            parts.iter().map(|part| format!("{}-{}", part.start, part.start + (part.length - 1))).collect();
        if !again.is_empty() {
            assert_eq!(ranges(format!("bytes={}", again.join(", ")).as_bytes(), size), Some(parts));
        }
    }
}

/// Header lines of a request for a file; `$E` stands for its entity tag.
pub fn conditions(data: &[u8]) {
    static FILE: LazyLock<Option<Found>> =
        LazyLock::new(|| Found::open(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))).ok());
    let Some(found) = &*FILE else { panic!("the file is there while this is built") };
    let mut head = b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec();
    head.extend_from_slice(&replaced(data, found.etag().as_bytes()));
    head.extend_from_slice(b"\r\n\r\n");
    let mut request = Request::default();
    if !matches!(request.read(&head, &HeadLimits::default()), Ok(Some(_))) {
        return;
    }
    let conditions = Conditions::of(&request, SystemTime::now());
    for method in [Method::Get, Method::Head] {
        answered(found, method, &conditions);
    }
}

fn answered(found: &Found, method: Method, conditions: &Conditions<'_>) {
    let mut head = Vec::new();
    let content = answer(found, method, conditions, &mut head);
    head.extend_from_slice(b"\r\n");
    let mut response = Response::default();
    let context = ResponseContext { head: method == Method::Head, upgrade: false };
    let read = response.read(&head, &HeadLimits::default(), context);
    assert_eq!(read, Ok(Some(head.len())), "{}", head.escape_ascii());
    let length = match &content {
        Content::Nothing => 0,
        Content::Part(part) => part.length,
        Content::Parts(parts, end) => {
            parts.iter().map(|(head, part)| head.len() as u64 + part.length).sum::<u64>() + end.len() as u64
        }
    };
    let said = response.head.header("content-length").and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    match response.status {
        200 | 206 if method == Method::Get => assert_eq!(said, Some(length)),
        200 | 206 => assert!(said.is_some() && content == Content::Nothing),
        304 => assert!(said.is_none() && content == Content::Nothing),
        412 | 416 => assert!(said == Some(0) && content == Content::Nothing),
        other => panic!("{other} for a file that is there"),
    }
}

fn replaced(data: &[u8], etag: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = data;
    while let Some(place) = memchr::memmem::find(rest, b"$E") {
        out.extend_from_slice(&rest[..place]);
        out.extend_from_slice(etag);
        rest = &rest[place + 2..];
    }
    out.extend_from_slice(rest);
    out
}
