//! Content codings (RFC 9110 § 8.4.1): what a client takes, what is worth it.

pub(crate) mod pages;

use std::io::Write;

use flate2::{Compression, GzBuilder};

/// A coding in which a file may lie beside itself: `app.js.br`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstandard,
    /// RFC 1952.
    Gzip,
}

impl Encoding {
    /// The smallest answers first.
    pub const ALL: [Encoding; 3] = [Encoding::Brotli, Encoding::Zstandard, Encoding::Gzip];

    /// What it is called in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Brotli => "br",
            Encoding::Zstandard => "zstd",
            Encoding::Gzip => "gzip",
        }
    }

    /// What is added to the name of a file.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Encoding::Brotli => ".br",
            Encoding::Zstandard => ".zst",
            Encoding::Gzip => ".gz",
        }
    }
}

/// The codings that a client takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted([bool; 3]);

impl Accepted {
    /// Reads `Accept-Encoding` (RFC 9110 § 12.5.3). Weights other than zero do not order: a file that was made smaller is
    /// always the better one.
    pub fn read(header: Option<&[u8]>) -> Accepted {
        let Some(header) = header else { return Accepted::default() };
        let (mut said, mut rest) = ([None; 3], false);
        for member in header.split(|byte| *byte == b',') {
            let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let refused = parts.any(is_zero);
            match Encoding::ALL.iter().position(|it| name.eq_ignore_ascii_case(it.name().as_bytes())) {
                Some(place) => said[place] = Some(!refused),
                None if name == b"*" => rest = !refused,
                None => {}
            }
        }
        Accepted(said.map(|said| said.unwrap_or(rest)))
    }

    /// Whether `encoding` is among them.
    pub fn takes(self, encoding: Encoding) -> bool {
        self.0[encoding as usize]
    }
}

/// `q=0`, `q=0.000`
fn is_zero(parameter: &[u8]) -> bool {
    let weight = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="));
    weight.is_some_and(|weight| weight.starts_with(b"0") && weight.iter().all(|byte| matches!(byte, b'0' | b'.')))
}

/// Below this nothing is gained: the answer is one packet either way.
const WORTH_BYTES_MIN: u64 = 1024;
/// Above this a file is not compressed on the fly: it would take longer than 50 ms of a core, and the result is kept in memory.
const WORTH_BYTES_MAX: u64 = 1 << 20;

/// Whether a content of this type has many answers: text of any kind, and what is text inside.
pub(crate) fn is_compressible(media: &str) -> bool {
    let essence = media.split(';').next().unwrap_or_default();
    essence.starts_with("text/")
        || essence.ends_with("+xml")
        || essence.ends_with("+json")
        || matches!(
            essence,
            "application/javascript"
                | "application/json"
                | "application/xml"
                | "application/x-javascript"
                | "application/x-ndjson"
                | "application/wasm"
                | "image/bmp"
                | "image/vnd.microsoft.icon"
                | "font/ttf"
                | "font/otf"
                | "application/vnd.ms-fontobject"
        )
}

/// Whether compressing so many bytes at once is worth it.
pub(crate) fn is_worth(length: u64) -> bool {
    (WORTH_BYTES_MIN..=WORTH_BYTES_MAX).contains(&length)
}

/// How hard is tried for a file, once: the usual one.
const FILE_LEVEL: Compression = Compression::new(6);

/// `content` by gzip; `None` if that saves less than a tenth.
pub(crate) fn gzip(content: &[u8]) -> Option<Vec<u8>> {
    smaller(content, GzBuilder::new(), FILE_LEVEL)
}

fn smaller(content: &[u8], head: GzBuilder, level: Compression) -> Option<Vec<u8>> {
    let mut encoder = head.write(Vec::with_capacity(content.len() / 3), level);
    encoder.write_all(content).ok()?;
    let smaller = encoder.finish().ok()?;
    (smaller.len() < content.len() / 10 * 9).then_some(smaller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_say() {
        for (header, expected) in [
            ("gzip, deflate, br, zstd", [true, true, true]),
            ("gzip;q=1.0, br;q=0", [false, false, true]),
            ("br;q=0.5", [true, false, false]),
            ("*", [true, true, true]),
            ("*;q=0, GZIP", [false, false, true]),
            ("gzip ; q=0.000", [false, false, false]),
            ("identity", [false, false, false]),
            ("", [false, false, false]),
            ("x-gzip,,;q=0", [false, false, false]),
        ] {
            assert_eq!(Accepted::read(Some(header.as_bytes())), Accepted(expected), "{header}");
        }
        assert_eq!(Accepted::read(None), Accepted::default());
    }

    #[test]
    fn only_what_becomes_smaller() {
        use std::io::Read;
        let text = b"so much depends upon ".repeat(100);
        let smaller = gzip(&text).unwrap();
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&*smaller).read_to_end(&mut back).unwrap();
        assert_eq!(back, text);
        assert!(gzip(&smaller).is_none(), "what is compressed already");
    }
}
