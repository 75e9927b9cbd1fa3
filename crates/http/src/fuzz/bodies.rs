//! Bodies: how they are split on the way changes nothing, and what is written reads the same.

use super::cuts;
use crate::codec::{Body, Framing, HeadLimits, Refusal};
use crate::fastcgi::{CgiHead, Decoder, Event};

/// Bytes that are to be chunks.
pub fn chunked(data: &[u8]) {
    let whole = decode(&[data]);
    for cut in cuts(data.len()) {
        let (one, two) = data.split_at(cut);
        assert_eq!(decode(&[one, two]), whole, "split at {cut}: {}", data.escape_ascii());
    }
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(decode(&bytes), whole, "byte by byte: {}", data.escape_ascii());
    let Ok((body, taken, done)) = whole else { return };
    assert!(taken == data.len() || done);
    let mut again = Vec::new();
    for chunk in body.chunks(7) {
        again.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        again.extend_from_slice(chunk);
        again.extend_from_slice(b"\r\n");
    }
    again.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(decode(&[&again]), Ok((body, again.len(), true)));
}

/// The body, how many bytes it took, and whether it is whole.
fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), Refusal> {
    let (mut body, mut data, mut taken) = (Body::new(Framing::Chunked), Vec::new(), 0);
    for piece in pieces {
        let mut plain = body.clone();
        let decoded = body.decode(piece, |bytes| data.extend_from_slice(bytes));
        assert_eq!(plain.advance(piece), decoded, "following and decoding differ");
        taken += decoded?;
    }
    Ok((data, taken, body.is_done()))
}

/// Bytes that are to be the answer of a FastCGI application.
pub fn fastcgi(data: &[u8]) {
    let whole = records(&[data]);
    for cut in cuts(data.len()) {
        let (one, two) = data.split_at(cut);
        assert_eq!(records(&[one, two]), whole, "split at {cut}: {}", data.escape_ascii());
    }
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(records(&bytes), whole, "byte by byte: {}", data.escape_ascii());
    cgi(&whole.stdout);
}

/// What was heard of an application.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    ends: Vec<String>,
    taken: usize,
    fault: Option<String>,
}

fn records(pieces: &[&[u8]]) -> Heard {
    let (mut decoder, mut heard) = (Decoder::default(), Heard::default());
    for piece in pieces {
        let Heard { stdout, stderr, ends, .. } = &mut heard;
        let fed = decoder.feed(piece, |event| match event {
            Event::Stdout(range) => stdout.extend_from_slice(&piece[range]),
            Event::Stderr(range) => stderr.extend_from_slice(&piece[range]),
            end => ends.push(format!("{end:?}")),
        });
        match fed {
            Ok(taken) => heard.taken += taken,
            Err(fault) => {
                // How much was taken before a fault depends on the pieces, and nobody asks.
                (heard.fault, heard.taken) = (Some(format!("{fault:?}")), 0);
                return heard;
            }
        }
    }
    assert!(heard.ends.len() <= 1 && decoder.is_done() == (heard.ends.len() == 1));
    heard
}

/// The headers of a CGI program: what they are made into is plain, and the same however they came.
fn cgi(stdout: &[u8]) {
    let limits = HeadLimits::default();
    let read = |input: &[u8]| {
        let mut out = Vec::new();
        CgiHead::read(input, &limits, &mut out).map(|head| head.map(|head| (head, out)))
    };
    let whole = read(stdout);
    for cut in cuts(stdout.len()) {
        let part = read(&stdout[..cut]);
        assert!(part == Ok(None) || part == whole, "{part:?} of {cut} bytes: {}", stdout.escape_ascii());
    }
    let Ok(Some((head, mut out))) = whole else { return };
    assert!(head.taken <= stdout.len() && (200..600).contains(&head.status));
    out.extend_from_slice(b"\r\n");
    let mut response = crate::codec::Response::default();
    let context = crate::codec::ResponseContext { head: false, upgrade: false };
    let large = HeadLimits { size_bytes_max: u16::MAX, line_bytes_max: u16::MAX, headers_max: 128 };
    assert_eq!(response.read(&out, &large, context), Ok(Some(out.len())), "{}", out.escape_ascii());
    assert_eq!(response.status, head.status);
}
