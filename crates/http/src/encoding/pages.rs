//! Answers that an application makes, compressed on their way.
//!
//! Secrets in a page beside what an attacker can put into it leak by its length (BREACH, <https://www.breachattack.com>, 2013), if he
//! can have a visitor's browser ask for it with the visitor's cookies, which most browsers do not do any more from another site's
//! page. And each answer is longer by a random length, as Django has it (`GZipMiddleware`, after "Heal the Breach", IEEE Access 10,
//! 2022), so that he needs very many. Who wants to risk nothing says `Cache-Control: no-transform` (RFC 9111 § 5.2.2.6).

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::{is_compressible, smaller};
use crate::codec::append;

/// How hard is tried, each time: a page of 100 KB takes 0.6 ms; with 1 it takes 0.3 and is larger by half. As Caddy.
const LEVEL: Compression = Compression::new(5);
/// The longest random length.
const PADDING_BYTES_MAX: u64 = 100;
/// Answers that are compressed piece by piece on a thread at a time, of which each takes 270 KB; more than that go out as they are.
const PIECEMEAL_MAX: u32 = 64;
/// See [`super::is_worth`]; there is no upper bound, since pieces come one after the other.
const WORTH_BYTES_MIN: u64 = 1024;

/// Whether an answer with this status and these headers differs with the codings that its client takes.
pub(crate) fn varies<'h>(status: u16, headers: impl Iterator<Item = (&'h [u8], &'h [u8])>) -> bool {
    // Interim ones, those without a body, and parts of one.
    if status < 200 || matches!(status, 204 | 206 | 304) {
        return false;
    }
    let mut is_text = false;
    for (name, value) in headers {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            12 if is("content-type") => is_text = is_page(value),
            13 if is("cache-control") && names(value, b"no-transform") => return false,
            14 if is("content-length") && value.len() < 4 => return false,
            14 if is("content-length") && number(value).is_none_or(|length| length < WORTH_BYTES_MIN) => return false,
            // It is coded or cut already, or says more of its bytes than is known here (RFC 9530, RFC 9110 § 6.5).
            16 if is("content-encoding") => return false,
            13 if is("content-range") => return false,
            6 if is("digest") => return false,
            7 if is("trailer") => return false,
            11 if is("content-md5") || is("repr-digest") => return false,
            14 if is("content-digest") => return false,
            _ => {}
        }
    }
    is_text
}

/// Not events, which readers take one by one, and some only in clear (WHATWG HTML § 9.2).
fn is_page(media: &[u8]) -> bool {
    let media = std::str::from_utf8(media).unwrap_or_default().to_ascii_lowercase();
    is_compressible(&media) && !media.starts_with("text/event-stream")
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Whether a list has such a member.
fn names(list: &[u8], wanted: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|member| member.trim_ascii().eq_ignore_ascii_case(wanted))
}

/// Name and value of each header line of a complete head.
pub(crate) fn headers(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(head).skip(1).filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// Its lines, with their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', head).map(move |feed| &head[std::mem::replace(&mut start, feed + 1)..=feed])
}

/// Adds the line by which caches know that the answer varies, unless it is there.
fn vary(head: &mut Vec<u8>) {
    let names_it = |(name, value): (&[u8], &[u8])| {
        name.eq_ignore_ascii_case(b"vary") && (names(value, b"accept-encoding") || names(value, b"*"))
    };
    if !headers(head).any(names_it) {
        head.truncate(head.len() - END.len());
        head.extend_from_slice(b"Vary: Accept-Encoding\r\n\r\n");
    }
}

/// How an answer that varies goes out.
pub(crate) enum Coding {
    /// As it was made.
    Identity,
    /// By gzip: all of it, made already.
    Whole(Vec<u8>),
    /// By gzip, as it comes.
    Piecemeal(Box<Squeezer>),
    /// As for GET, without it: the answer is to HEAD.
    Head,
}

impl Coding {
    /// Makes `head`, which is complete, say so.
    pub(crate) fn tell(&self, head: &mut Vec<u8>) {
        vary(head);
        if matches!(self, Coding::Identity) {
            return;
        }
        let before = std::mem::replace(head, Vec::with_capacity(head.len() + 64));
        for line in lines(&before[..before.len() - END.len()]) {
            let (name, value) = line.split_at(memchr::memchr(b':', line).unwrap_or(0));
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            // Of the bytes as they were.
            if is("content-length") || is("transfer-encoding") || is("accept-ranges") {
                continue;
            }
            match value.strip_prefix(b":").map(<[u8]>::trim_ascii_start) {
                // Other bytes that mean the same (RFC 9110 § 8.8.1).
                Some(strong) if is("etag") && strong.starts_with(b"\"") => append(head, [name, b": W/", strong]),
                _ => head.extend_from_slice(line),
            }
        }
        head.extend_from_slice(b"Content-Encoding: gzip\r\n");
        match self {
            Coding::Whole(body) => append(head, [b"Content-Length: ", body.len().to_string().as_bytes(), END]),
            Coding::Piecemeal(_) => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Coding::Identity | Coding::Head => {}
        }
        head.extend_from_slice(END);
    }
}

const END: &[u8] = b"\r\n";

/// The whole of an answer by gzip; `None` if that saves less than a tenth. `draw`: a random number.
pub(crate) fn whole(body: &[u8], draw: u64) -> Option<Vec<u8>> {
    if (body.len() as u64) < WORTH_BYTES_MIN { None } else { smaller(body, padded(draw), LEVEL) }
}

/// A head of gzip with a name of random length, which nobody reads (RFC 1952 § 2.3.1).
fn padded(draw: u64) -> GzBuilder {
    GzBuilder::new().filename(vec![b'x'; (draw % (PADDING_BYTES_MAX + 1)) as usize])
}

/// Those of a thread.
#[derive(Default)]
pub(crate) struct Squeezers(Rc<Cell<u32>>);

/// Compresses an answer piece by piece. Nothing is held back: whoever prints a line and thinks means it to be read.
pub(crate) struct Squeezer {
    encoder: GzEncoder<Vec<u8>>,
    under_way: Rc<Cell<u32>>,
}

impl Squeezers {
    /// One more, if there may be. `draw`: a random number.
    pub(crate) fn begin(&self, draw: u64) -> Option<Box<Squeezer>> {
        let under_way = self.0.clone();
        if under_way.get() >= PIECEMEAL_MAX {
            return None;
        }
        under_way.set(under_way.get() + 1);
        Some(Box::new(Squeezer { encoder: padded(draw).write(Vec::new(), LEVEL), under_way }))
    }
}

impl Squeezer {
    /// Appends a piece as a chunk (RFC 9112 § 7.1).
    pub(crate) fn put(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if piece.is_empty() {
            return;
        }
        // Into memory, which takes everything.
        let _ = self.encoder.write_all(piece).and_then(|()| self.encoder.flush());
        self.chunk(out);
    }

    /// Appends the end.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        let _ = self.encoder.try_finish();
        self.chunk(out);
        out.extend_from_slice(b"0\r\n\r\n");
    }

    fn chunk(&mut self, out: &mut Vec<u8>) {
        let made = self.encoder.get_mut();
        if !made.is_empty() {
            append(out, [format!("{:x}\r\n", made.len()).as_bytes(), made, END]);
            made.clear();
        }
    }
}

impl Drop for Squeezer {
    fn drop(&mut self) {
        self.under_way.set(self.under_way.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn back(coded: &[u8]) -> Vec<u8> {
        let mut back = Vec::new();
        GzDecoder::new(coded).read_to_end(&mut back).unwrap();
        back
    }

    #[test]
    fn which_answers_vary() {
        let html = ("Content-Type", "text/html; charset=utf-8");
        for (status, more, expected) in [
            (200, vec![html], true),
            (404, vec![html, ("Content-Length", "1024")], true),
            (200, vec![("content-type", "Application/JSON")], true),
            (200, vec![("Content-Type", "application/atom+xml")], true),
            (200, vec![], false),
            (200, vec![("Content-Type", "image/png")], false),
            (200, vec![("Content-Type", "application/grpc")], false),
            (200, vec![("Content-Type", "text/event-stream")], false),
            (200, vec![html, ("Content-Length", "1023")], false),
            (200, vec![html, ("Content-Length", "0")], false),
            (200, vec![html, ("Content-Encoding", "br")], false),
            (200, vec![html, ("Cache-Control", "public, No-Transform")], false),
            (200, vec![html, ("Cache-Control", "public")], true),
            (200, vec![html, ("Content-Range", "bytes 0-1/2")], false),
            (200, vec![html, ("Repr-Digest", "sha-256=:AA==:")], false),
            (200, vec![html, ("Trailer", "Server-Timing")], false),
            (101, vec![html], false),
            (204, vec![html], false),
            (206, vec![html], false),
            (304, vec![html], false),
        ] {
            let headers = more.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            assert_eq!(varies(status, headers), expected, "{status} {more:?}");
        }
    }

    fn told(coding: &Coding, lines: &str) -> String {
        let mut head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_bytes();
        coding.tell(&mut head);
        let text = String::from_utf8(head).unwrap();
        text.strip_prefix("HTTP/1.1 200 OK\r\n").unwrap().strip_suffix("\r\n").unwrap().to_owned()
    }

    #[test]
    fn heads_say_so() {
        let whole = Coding::Whole(vec![0; 7]);
        let lines = "A: b\r\nContent-Length: 9\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\nVary: Cookie\r\n";
        let vary = "Vary: Accept-Encoding\r\n";
        let coded = "Content-Encoding: gzip\r\n";
        assert_eq!(told(&Coding::Identity, lines), format!("{lines}{vary}"));
        let kept = format!("A: b\r\nETag: W/\"x\"\r\nVary: Cookie\r\n{vary}{coded}");
        assert_eq!(told(&whole, lines), format!("{kept}Content-Length: 7\r\n"));
        assert_eq!(told(&Coding::Head, lines), kept);
        let squeezer = Squeezers::default().begin(0).unwrap();
        assert_eq!(
            told(
                &Coding::Piecemeal(squeezer),
                "transfer-encoding: chunked\r\nETag: W/\"x\"\r\nvary: a,Accept-Encoding\r\n"
            ),
            format!("ETag: W/\"x\"\r\nvary: a,Accept-Encoding\r\n{coded}Transfer-Encoding: chunked\r\n")
        );
        assert_eq!(told(&Coding::Identity, "Vary: *\r\n"), "Vary: *\r\n");
    }

    #[test]
    fn its_length_is_random_and_its_content_is_not() {
        let page = b"so much depends upon ".repeat(100);
        let lengths: std::collections::BTreeSet<usize> = (0..101)
            .map(|draw| {
                let coded = whole(&page, draw).unwrap();
                assert_eq!(back(&coded), page);
                coded.len()
            })
            .collect();
        assert!(lengths.len() > 95, "{lengths:?}");
        assert!(whole(&page[..1023], 0).is_none());
    }

    #[test]
    fn not_too_many_at_a_time() {
        let squeezers = Squeezers::default();
        let mut all: Vec<_> = (0..PIECEMEAL_MAX).map(|draw| squeezers.begin(u64::from(draw)).unwrap()).collect();
        assert!(squeezers.begin(0).is_none());
        all.pop();
        assert!(squeezers.begin(0).is_some());
    }

    proptest! {
        /// However it comes, each piece can be read before the next is there.
        #[test]
        fn pieces(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20), draw: u64) {
            let mut squeezer = Squeezers::default().begin(draw).unwrap();
            let (mut coded, mut sent) = (Vec::new(), Vec::new());
            let unchunk = |chunk: &[u8], coded: &mut Vec<u8>| {
                if let Some(feed) = memchr::memchr(b'\n', chunk) {
                    let size = usize::from_str_radix(std::str::from_utf8(&chunk[..feed - 1]).unwrap(), 16).unwrap();
                    coded.extend_from_slice(&chunk[feed + 1..feed + 1 + size]);
                }
            };
            for piece in &pieces {
                let mut out = Vec::new();
                squeezer.put(piece, &mut out);
                unchunk(&out, &mut coded);
                sent.extend_from_slice(piece);
                let mut there = vec![0; sent.len()];
                GzDecoder::new(&*coded).read_exact(&mut there).unwrap();
                prop_assert_eq!(&there, &sent);
            }
            let mut out = Vec::new();
            squeezer.end(&mut out);
            prop_assert!(out.ends_with(b"0\r\n\r\n"));
            unchunk(&out, &mut coded);
            prop_assert_eq!(back(&coded), sent);
        }
    }
}
