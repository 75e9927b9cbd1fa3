//! How long a body is (RFC 9112 § 6.3).

use super::Refusal;

/// How a message's body is delimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Until the connection closes; responses only.
    Close,
}

/// What the headers said of framing, gathered while they are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clues {
    length: Option<u64>,
    chunked: bool,
}

/// Digits of the longest length taken: 10^18 bytes is beyond any disk, and far from overflow.
const LENGTH_DIGITS_MAX: usize = 18;

impl Clues {
    /// Takes note of a `Content-Length`.
    pub fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let number = decimal(value).ok_or(Refusal::LengthInvalid)?;
        match self.length.replace(number) {
            None => Ok(()),
            Some(_) => Err(Refusal::LengthRepeated),
        }
    }

    /// Takes note of a `Transfer-Encoding`.
    pub fn encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.chunked, true) {
            return Err(Refusal::EncodingRepeated);
        }
        if value.eq_ignore_ascii_case(b"chunked") { Ok(()) } else { Err(odd_encoding(value)) }
    }

    /// The verdict over both; `None` if neither was there. `old`: the message is HTTP/1.0.
    pub fn verdict(&self, old: bool) -> Result<Option<Framing>, Refusal> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Refusal::LengthWithEncoding),
            (None, true) if old => Err(Refusal::EncodingInOldVersion),
            (None, true) => Ok(Some(Framing::Chunked)),
            (Some(0), false) => Ok(Some(Framing::None)),
            (Some(length), false) => Ok(Some(Framing::Length(length))),
            (None, false) => Ok(None),
        }
    }
}

/// A decimal number of bounded length: digits alone, no sign, no list.
fn decimal(value: &[u8]) -> Option<u64> {
    let fits = (1..=LENGTH_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    fits.then(|| value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// What is wrong with an encoding that is not plainly `chunked`.
fn odd_encoding(value: &[u8]) -> Refusal {
    let codings = || value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let chunked = codings().filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count();
    let token = |coding: &[u8]| !coding.is_empty() && coding.iter().all(|byte| is_token(*byte));
    match chunked {
        2.. => Refusal::EncodingRepeated,
        _ if !codings().all(token) => Refusal::EncodingOdd,
        1 if !codings().next_back().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked")) => Refusal::EncodingOdd,
        _ => Refusal::EncodingUnknown,
    }
}

/// `tchar` of RFC 9110 § 5.6.2.
pub const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.')
        || matches!(byte, b'^' | b'_' | b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lengths: &[&str], encodings: &[&str], old: bool) -> Result<Option<Framing>, Refusal> {
        let mut clues = Clues::default();
        lengths.iter().try_for_each(|value| clues.length(value.as_bytes()))?;
        encodings.iter().try_for_each(|value| clues.encoding(value.as_bytes()))?;
        clues.verdict(old)
    }

    #[test]
    fn what_is_plain_is_taken() {
        assert_eq!(verdict(&[], &[], false), Ok(None));
        assert_eq!(verdict(&["0"], &[], false), Ok(Some(Framing::None)));
        assert_eq!(verdict(&["007"], &[], false), Ok(Some(Framing::Length(7))));
        assert_eq!(verdict(&[], &["Chunked"], false), Ok(Some(Framing::Chunked)));
    }

    #[test]
    fn what_is_ambiguous_is_refused_by_name() {
        use Refusal::*;
        let cases: &[(&[&str], &[&str], Refusal)] = &[
            (&[""], &[], LengthInvalid),
            (&["+1"], &[], LengthInvalid),
            (&["-1"], &[], LengthInvalid),
            (&["0x1"], &[], LengthInvalid),
            (&["1, 1"], &[], LengthInvalid),
            (&["9999999999999999999"], &[], LengthInvalid),
            (&["1", "1"], &[], LengthRepeated),
            (&["1", "2"], &[], LengthRepeated),
            (&["1"], &["chunked"], LengthWithEncoding),
            (&["0"], &["chunked"], LengthWithEncoding),
            (&[], &["chunked", "chunked"], EncodingRepeated),
            (&[], &["chunked, chunked"], EncodingRepeated),
            (&[], &[""], EncodingOdd),
            (&[], &["chunked;q=1"], EncodingOdd),
            (&[], &["chunked, gzip"], EncodingOdd),
            (&[], &["\"chunked\""], EncodingOdd),
            (&[], &["gzip, chunked"], EncodingUnknown),
            (&[], &["identity"], EncodingUnknown),
            (&[], &["xchunked"], EncodingUnknown),
        ];
        for (lengths, encodings, refusal) in cases {
            assert_eq!(verdict(lengths, encodings, false), Err(*refusal), "{lengths:?} {encodings:?}");
        }
        assert_eq!(verdict(&[], &["chunked"], true), Err(EncodingInOldVersion));
    }
}
