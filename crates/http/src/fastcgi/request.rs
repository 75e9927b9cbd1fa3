//! Writing a request (FastCGI 1.0 § 5, § 6.2): begin, parameters, then the body in pieces.

use super::Params;
use super::record::{BEGIN_REQUEST, CONTENT_BYTES_MAX, PARAMS, STDIN, head};

/// The role of an application that answers requests (§ 6.2).
const RESPONDER: u16 = 1;

/// The application leaves the connection open after its answer (§ 5.1).
const KEEP_CONN: u8 = 1;

/// Appends everything in front of the body: the beginning and `params`. `keep`: the connection will be used again.
pub fn begin(params: &Params, keep: bool, out: &mut Vec<u8>) {
    let [high, low] = RESPONDER.to_be_bytes();
    out.extend_from_slice(&head(BEGIN_REQUEST, 8));
    out.extend_from_slice(&[high, low, if keep { KEEP_CONN } else { 0 }, 0, 0, 0, 0, 0]);
    stream(PARAMS, params.as_bytes(), out);
    out.extend_from_slice(&head(PARAMS, 0));
}

/// Appends a piece of the body. An empty piece is nothing, not the end.
pub fn body(piece: &[u8], out: &mut Vec<u8>) {
    stream(STDIN, piece, out);
}

/// Appends the end of the body, also if there was none.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&head(STDIN, 0));
}

fn stream(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    for piece in bytes.chunks(CONTENT_BYTES_MAX) {
        // Chunks are shorter than 2^16.
        out.extend_from_slice(&head(kind, piece.len() as u16));
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::HEAD_BYTES;
    use super::*;

    #[test]
    fn a_request_byte_by_byte() {
        let (mut params, mut out) = (Params::default(), Vec::new());
        params.pair("A", b"b");
        begin(&params, true, &mut out);
        body(b"xyz", &mut out);
        body(b"", &mut out);
        end(&mut out);
        let expected: &[&[u8]] = &[
            &[1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0],
            &[1, 4, 0, 1, 0, 4, 0, 0, 1, 1, b'A', b'b'],
            &[1, 4, 0, 1, 0, 0, 0, 0],
            &[1, 5, 0, 1, 0, 3, 0, 0, b'x', b'y', b'z'],
            &[1, 5, 0, 1, 0, 0, 0, 0],
        ];
        assert_eq!(out, expected.concat());
        let mut once = Vec::new();
        begin(&Params::default(), false, &mut once);
        assert_eq!(once, [&[1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], expected[2]].concat());
    }

    #[test]
    fn long_bodies_are_several_records() {
        let mut out = Vec::new();
        body(&vec![7; CONTENT_BYTES_MAX + 1], &mut out);
        assert_eq!(out.len(), CONTENT_BYTES_MAX + 1 + 2 * HEAD_BYTES);
        assert_eq!(out[..8], [1, 5, 0, 1, 0xff, 0xf8, 0, 0]);
        assert_eq!(out[8 + CONTENT_BYTES_MAX..], [1, 5, 0, 1, 0, 1, 0, 0, 7]);
    }
}
