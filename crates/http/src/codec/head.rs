//! A head that owns its bytes: it survives waiting, and is used again for the next message.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::framing::{Clues, is_token};
use super::{HEADERS_CEILING, HeadLimits, Kind, Refusal, quick};

/// Where a header line lies. Heads are smaller than 64 KiB, so 16 bits do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) start: u16,
    pub(super) name_end: u16,
    pub(super) value_start: u16,
    pub(super) value_end: u16,
    pub kind: Kind,
    /// Not forwarded, whatever the hop.
    pub dropped: bool,
}

/// The bytes of a head and where its lines lie.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: Vec<Line>,
    /// Where the header lines begin, behind the first line.
    pub(super) fields: u16,
    /// The kinds that occur, a bit each: most are asked for in vain.
    kinds: u64,
}

/// What the header lines say of the connection and the body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    pub clues: Clues,
    pub close: bool,
    pub keep_alive: bool,
    /// `Connection` names `upgrade`.
    pub upgrade: bool,
    /// `Connection` names further headers.
    pub options: bool,
}

/// Headers that one `Connection` may name. Real clients name none or one.
const CONNECTION_OPTIONS_MAX: usize = 16;

pub(super) type Table<'a> = [MaybeUninit<httparse::Header<'a>>; HEADERS_CEILING];

pub(super) const fn table<'a>() -> Table<'a> {
    [const { MaybeUninit::uninit() }; HEADERS_CEILING]
}

impl Head {
    /// Every header line: what it is, its name, its value without surrounding whitespace.
    pub fn headers(&self) -> impl Iterator<Item = (Kind, &str, &[u8])> {
        self.lines.iter().map(|line| (line.kind, self.name(line), self.value(line)))
    }

    /// Every header line: what it is, and its value.
    pub fn values(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        self.lines.iter().map(|line| (line.kind, self.value(line)))
    }

    /// As [`Head::headers`], without those that concern this hop alone.
    pub fn passed(&self) -> impl Iterator<Item = (Kind, &str, &[u8])> {
        self.lines.iter().filter(|line| !line.dropped).map(|line| (line.kind, self.name(line), self.value(line)))
    }

    /// The value of the only header called `name`; `None` if it is absent or there are several.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.headers().filter(|(_, is, _)| is.eq_ignore_ascii_case(name));
        let (_, _, value) = found.next()?;
        found.next().is_none().then_some(value)
    }

    /// The value of the first header of `kind`.
    pub fn of_kind(&self, kind: Kind) -> Option<&[u8]> {
        if !self.has(kind) {
            return None;
        }
        self.lines.iter().find(|line| line.kind == kind).map(|line| self.value(line))
    }

    /// The values of all headers of `kind`, in their order.
    pub fn all_of_kind(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        let lines = if self.has(kind) { &self.lines[..] } else { &[] };
        lines.iter().filter(move |line| line.kind == kind).map(|line| self.value(line))
    }

    /// The value of the only header of `kind`; `None` if it is absent or there are several.
    pub fn only_of_kind(&self, kind: Kind) -> Option<&[u8]> {
        let mut found = self.all_of_kind(kind);
        let value = found.next()?;
        found.next().is_none().then_some(value)
    }

    /// Whether any header is of `kind`.
    pub fn has(&self, kind: Kind) -> bool {
        self.kinds & kind.bit() != 0
    }

    /// The bytes at `range`, as text.
    pub(super) fn text(&self, range: &Range<u16>) -> &str {
        std::str::from_utf8(&self.bytes[usize::from(range.start)..usize::from(range.end)]).unwrap_or_default()
    }

    pub(super) fn name(&self, line: &Line) -> &str {
        self.text(&(line.start..line.name_end))
    }

    pub(super) fn value(&self, line: &Line) -> &[u8] {
        &self.bytes[usize::from(line.value_start)..usize::from(line.value_end)]
    }

    /// Keeps the head at the start of `window` whose first line has `fields` bytes, if it is whole and nothing about it is odd; where
    /// it ends.
    pub(super) fn keep_quickly(&mut self, window: &[u8], fields: usize, limits: &HeadLimits) -> Option<usize> {
        self.lines.clear();
        let (end, kinds) = quick::lines(window, fields, limits, &mut self.lines)?;
        self.bytes.clear();
        self.bytes.extend_from_slice(&window[..end]);
        (self.fields, self.kinds) = (fields as u16, kinds);
        Some(end)
    }

    /// Keeps the head that was parsed from `bytes`. Offsets are relative to `bytes`.
    pub(super) fn keep(&mut self, bytes: &[u8], headers: &[httparse::Header<'_>]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.lines.clear();
        self.fields = headers.first().map_or(bytes.len() as u16 - 2, |header| offset(bytes, header.name.as_bytes()));
        self.kinds = 0;
        self.lines.extend(headers.iter().map(|header| {
            let kind = Kind::of(header.name.as_bytes());
            self.kinds |= kind.bit();
            let start = offset(bytes, header.name.as_bytes());
            let value_start = offset(bytes, header.value);
            Line {
                start,
                name_end: start + header.name.len() as u16,
                value_start,
                value_end: value_start + header.value.len() as u16,
                kind,
                dropped: false,
            }
        }));
    }

    /// Reads what the lines say of connection and framing, and marks those of this hop as dropped.
    pub(super) fn scan(&mut self) -> Result<Scan, Refusal> {
        let mut scan = Scan::default();
        for place in 0..self.lines.len() {
            let line = self.lines[place];
            match line.kind {
                Kind::Length => scan.clues.length(self.value(&line))?,
                Kind::Encoding => scan.clues.encoding(self.value(&line))?,
                Kind::Connection => scan.connection(self.value(&line)),
                _ => {}
            }
            self.lines[place].dropped = line.kind.is_of_this_hop();
        }
        if scan.options {
            self.drop_named()?;
        }
        Ok(scan)
    }

    /// Drops every header that a `Connection` line names (RFC 9110 § 7.6.1).
    fn drop_named(&mut self) -> Result<(), Refusal> {
        let mut named: Vec<Range<u16>> = Vec::new();
        for line in self.lines.iter().filter(|line| line.kind == Kind::Connection) {
            named.extend(list(self.value(line)).map(|option| {
                let start = offset(&self.bytes, option);
                start..start + option.len() as u16
            }));
        }
        if named.len() > CONNECTION_OPTIONS_MAX {
            return Err(Refusal::ConnectionOptionsTooMany);
        }
        for place in 0..self.lines.len() {
            let line = &self.lines[place];
            let hit = || named.iter().any(|option| self.text(option).eq_ignore_ascii_case(self.name(line)));
            if line.kind.may_be_named_by_connection() && hit() {
                self.lines[place].dropped = true;
            }
        }
        Ok(())
    }

    /// Copies the header lines that `keep` allows into `out`, neighbours in one piece.
    pub(super) fn copy_lines(&self, out: &mut Vec<u8>, keep: impl Fn(&Line) -> bool) {
        let end_of = |place: usize| match self.lines.get(place + 1) {
            Some(next) => usize::from(next.start),
            None => self.bytes.len() - 2,
        };
        let mut run: Option<Range<usize>> = None;
        for (place, line) in self.lines.iter().enumerate() {
            if keep(line) {
                let start = run.take().map_or(usize::from(line.start), |run| run.start);
                run = Some(start..end_of(place));
            } else if let Some(run) = run.take() {
                out.extend_from_slice(&self.bytes[run]);
            }
        }
        if let Some(run) = run {
            out.extend_from_slice(&self.bytes[run]);
        }
    }
}

impl Scan {
    fn connection(&mut self, value: &[u8]) {
        for option in list(value) {
            match option {
                _ if option.eq_ignore_ascii_case(b"close") => self.close = true,
                _ if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                _ => self.options = true,
            }
        }
    }

    /// Whether the sender will use the connection again (RFC 9112 § 9.3).
    pub fn persists(&self, old: bool) -> bool {
        !self.close && (!old || self.keep_alive)
    }
}

/// The members of a comma-separated list.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Where `part` lies within `whole`, which it is a slice of.
fn offset(whole: &[u8], part: &[u8]) -> u16 {
    (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize) as u16
}

/// Names what the parser did not like, from the complete `head`. Only after a failure, so it may be slow.
pub(super) fn diagnose(head: &[u8], error: httparse::Error, first_line: Refusal) -> Refusal {
    use httparse::Error as E;
    match error {
        E::TooManyHeaders => Refusal::HeadersTooMany,
        _ if head.contains(&0) => Refusal::Nul,
        E::HeaderName | E::HeaderValue | E::NewLine => bad_line(head).unwrap_or(first_line),
        E::Version => bad_version(head).unwrap_or(first_line),
        E::Token | E::Status => first_line,
    }
}

/// The first header line that is none.
fn bad_line(head: &[u8]) -> Option<Refusal> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| line_refusal(line.strip_suffix(b"\r").unwrap_or(line)))
}

fn line_refusal(line: &[u8]) -> Option<Refusal> {
    if line.is_empty() {
        return None;
    }
    if line[0] == b' ' || line[0] == b'\t' {
        return Some(Refusal::HeaderFolded);
    }
    if line.contains(&b'\r') {
        return Some(Refusal::BareCarriageReturn);
    }
    let Some(colon) = memchr::memchr(b':', line) else { return Some(Refusal::HeaderNameInvalid) };
    let name = &line[..colon];
    match name.iter().position(|byte| !is_token(*byte)) {
        Some(place) if name[place..].iter().all(|byte| matches!(byte, b' ' | b'\t')) => Some(Refusal::SpaceBeforeColon),
        Some(_) => Some(Refusal::HeaderNameInvalid),
        None if name.is_empty() => Some(Refusal::HeaderNameInvalid),
        None if line[colon..].iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') => {
            Some(Refusal::HeaderValueInvalid)
        }
        None => None,
    }
}

/// `HTTP/2.0` and its like, which are versions but not ours, where a version belongs: last of three words in a request,
/// first in a response.
fn bad_version(head: &[u8]) -> Option<Refusal> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let version = match words[..] {
        [first, ..] if first.starts_with(b"HTTP/") => first,
        [_, _, last] => last,
        _ => return None,
    };
    let &[major, b'.', minor] = version.strip_prefix(b"HTTP/")? else { return None };
    let ours = major == b'1' && matches!(minor, b'0' | b'1');
    (major.is_ascii_digit() && minor.is_ascii_digit() && !ours).then_some(Refusal::VersionUnsupported)
}
