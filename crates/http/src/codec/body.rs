//! Following a body through the bytes that carry it.

use super::chunked::Piece;
use super::{Chunked, Framing, Refusal};

/// How much of a body is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Done,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Everything until the connection closes.
    Close,
}

impl Body {
    /// The body that `framing` announces.
    pub fn new(framing: Framing) -> Body {
        match framing {
            Framing::None | Framing::Length(0) => Body::Done,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Chunked::default()),
            Framing::Close => Body::Close,
        }
    }

    /// Whether all of it is through. A body that ends with the connection never is.
    pub fn is_done(&self) -> bool {
        *self == Body::Done
    }

    /// How many bytes at the start of `input` belong to the body, as they stand on the wire.
    pub fn advance(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        self.decode(input, |_| ())
    }

    /// As [`Body::advance`], and hands the body itself, without framing, to `data`.
    pub fn decode(&mut self, input: &[u8], data: impl FnMut(&[u8])) -> Result<usize, Refusal> {
        self.decode_with(input, data, |_| ())
    }

    /// As [`Body::decode`], and hands the lines of the trailer section to `trailer`.
    pub fn decode_with(
        &mut self,
        input: &[u8],
        mut data: impl FnMut(&[u8]),
        trailer: impl FnMut(&[u8]),
    ) -> Result<usize, Refusal> {
        match self {
            Body::Done => Ok(0),
            Body::Close => {
                data(input);
                Ok(input.len())
            }
            Body::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                data(&input[..taken]);
                *left -= taken as u64;
                if *left == 0 {
                    *self = Body::Done;
                }
                Ok(taken)
            }
            Body::Chunked(chunked) => {
                let taken = decode_chunks(chunked, input, data, trailer)?;
                if chunked.is_done() {
                    *self = Body::Done;
                }
                Ok(taken)
            }
        }
    }
}

fn decode_chunks(
    chunked: &mut Chunked,
    input: &[u8],
    mut data: impl FnMut(&[u8]),
    mut trailer: impl FnMut(&[u8]),
) -> Result<usize, Refusal> {
    let mut place = 0;
    while place < input.len() && !chunked.is_done() {
        place += match chunked.step(&input[place..])? {
            Piece::Framing(length) => length,
            Piece::Trailer(length) => {
                trailer(&input[place..place + length]);
                length
            }
            Piece::Data(length) => {
                data(&input[place..place + length]);
                length
            }
        };
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `input` in the given pieces: the body, how much was taken, or the refusal.
    fn run(input: &[u8], splits: &[usize]) -> Result<(Vec<u8>, usize, bool), Refusal> {
        let (mut body, mut out, mut taken) = (Body::new(Framing::Chunked), Vec::new(), 0);
        let mut from = 0;
        for to in splits.iter().copied().chain([input.len()]) {
            let piece = &input[from..to];
            taken += body.decode(piece, |data| out.extend_from_slice(data))?;
            from = to;
        }
        Ok((out, taken, body.is_done()))
    }

    #[test]
    fn chunks_extensions_and_trailers() {
        let wire = b"5\r\nhello\r\nA;x=\"1\"\r\n0123456789\r\n0\r\nT: v\r\n\r\nNEXT";
        assert_eq!(run(wire, &[]), Ok((b"hello0123456789".to_vec(), wire.len() - 4, true)));
    }

    #[test]
    fn bad_chunks_by_name() {
        use Refusal::*;
        let cases: &[(&[u8], Refusal)] = &[
            (b"\r\n", ChunkSizeInvalid),
            (b" 5\r\nhello\r\n", ChunkSizeInvalid),
            (b"5 \r\nhello\r\n", ChunkSizeInvalid),
            (b"+5\r\nhello\r\n", ChunkSizeInvalid),
            (b"0x5\r\nhello\r\n", ChunkSizeInvalid),
            (b"-5\r\n", ChunkSizeInvalid),
            (b"5\nhello\r\n", ChunkSizeInvalid),
            (b"5\r\r\nhello\r\n", ChunkSizeInvalid),
            (b";a\r\n", ChunkSizeInvalid),
            (b"10000000000000000\r\n", ChunkSizeTooLarge),
            (b"5;a\nhello\r\n", ChunkExtensionInvalid),
            (b"5;a\0\r\nhello\r\n", ChunkExtensionInvalid),
            (b"5\r\nhelloX\r\n", ChunkUnterminated),
            (b"5\r\nhello\n0\r\n\r\n", ChunkUnterminated),
            (b"5\r\nhello\rX", ChunkUnterminated),
            (b"0\r\n\n", TrailerInvalid),
            (b"0\r\nA b: c\r\n\r\n", TrailerInvalid),
            (b"0\r\n: c\r\n\r\n", TrailerInvalid),
            (b"0\r\nA: b\n\r\n", TrailerInvalid),
            (b"0\r\nA: b\0\r\n\r\n", TrailerInvalid),
            (b"0\r\n folded\r\n\r\n", TrailerInvalid),
            (b"0\r\nContent-Length: 5\r\n\r\n", TrailerForbidden),
            (b"0\r\nTransfer-Encoding: chunked\r\n\r\n", TrailerForbidden),
            (b"0\r\nTrailer: a\r\n\r\n", TrailerForbidden),
            (b"0\r\nAuthorization: a\r\n\r\n", TrailerForbidden),
            (b"0\r\nIf-Unmodified-Since: a\r\n\r\n", TrailerForbidden),
            (b"0\r\nCache-Control: no-store\r\n\r\n", TrailerForbidden),
        ];
        for (wire, refusal) in cases {
            assert_eq!(run(wire, &[]), Err(*refusal), "{}", wire.escape_ascii());
        }
        let long = [b"1;".as_slice(), &[b'a'; 300], b"\r\nx\r\n0\r\n\r\n"].concat();
        assert_eq!(run(&long, &[]), Err(ChunkExtensionTooLong));
        let long = [b"0\r\nA: ".as_slice(), &[b'a'; 9000], b"\r\n\r\n"].concat();
        assert_eq!(run(&long, &[]), Err(TrailerTooLong));
    }

    /// Bytes that often are chunked framing, and often nearly are.
    fn nearly_chunked() -> impl Strategy<Value = Vec<u8>> {
        let token = prop::sample::select(vec![
            "0", "1", "5", "a", "F", ";", "x=y", "\r\n", "\r", "\n", "hello", "T: v", ":", " ", "\0",
        ]);
        prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn splitting_changes_nothing(wire in nearly_chunked(), at in any::<prop::sample::Index>()) {
            let cut = if wire.is_empty() { 0 } else { at.index(wire.len()) };
            let whole = run(&wire, &[]);
            let halves = run(&wire, &[cut]);
            let bytes: Vec<usize> = (1..wire.len().max(1)).collect();
            let bytewise = run(&wire, &bytes);
            prop_assert_eq!(&whole, &halves);
            prop_assert_eq!(&whole, &bytewise);
        }

        #[test]
        fn what_was_encoded_is_decoded(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8)) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let length = wire.len();
            prop_assert_eq!(run(&wire, &[]), Ok((chunks.concat(), length, true)));
        }

        #[test]
        fn a_length_takes_exactly_its_bytes(length in 0u64..64, wire in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut body = Body::new(Framing::Length(length));
            let taken = body.advance(&wire).unwrap();
            prop_assert_eq!(taken as u64, length.min(wire.len() as u64));
            prop_assert_eq!(body.is_done(), wire.len() as u64 >= length);
        }
    }
}
