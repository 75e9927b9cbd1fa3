//! Heads that are whole and have nothing odd about them, as nearly all are, read in one pass.
//!
//! Its only verdict is yes: what it does not take, `end` and httparse look at, who can tell what is wrong with it. What it takes, they
//! take too, and read the same in it (`fuzz::heads`).

use super::framing::is_token;
use super::head::Line;
use super::target::allowed;
use super::{HeadLimits, Kind};

/// The first line of a request.
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    /// HTTP/1.0.
    pub(super) old: bool,
    /// Of the line, with its CRLF.
    pub(super) bytes: usize,
}

/// The first line of a response.
pub(super) struct StatusLine {
    pub(super) status: u16,
    /// HTTP/1.0.
    pub(super) old: bool,
    /// Of the line, with its CRLF.
    pub(super) bytes: usize,
}

/// Of the bytes of names, and of targets.
const NAME: u8 = 1;
const TARGET: u8 = 2;
const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < classes.len() {
        let (name, target) = (is_token(byte as u8) as u8 * NAME, allowed(byte as u8) as u8 * TARGET);
        classes[byte] = name | target;
        byte += 1;
    }
    classes
}

/// What of `buffer` may be a head.
pub(super) fn window<'b>(buffer: &'b [u8], limits: &HeadLimits) -> &'b [u8] {
    &buffer[..buffer.len().min(usize::from(limits.size_bytes_max))]
}

pub(super) fn request_line<'b>(window: &'b [u8], limits: &HeadLimits) -> Option<RequestLine<'b>> {
    let (method, rest) = window.split_at(run(window, NAME));
    let rest = rest.strip_prefix(b" ")?;
    let (target, rest) = rest.split_at(run(rest, TARGET));
    let &[minor @ (b'0' | b'1'), b'\r', b'\n', ..] = rest.strip_prefix(b" HTTP/1.")? else { return None };
    if method.is_empty() || target.is_empty() {
        return None;
    }
    let bytes = method.len() + target.len() + " ".len() + " HTTP/1.1\r\n".len();
    let (method, target) = (std::str::from_utf8(method).ok()?, std::str::from_utf8(target).ok()?);
    is_short(bytes, limits).then_some(RequestLine { method, target, old: minor == b'0', bytes })
}

pub(super) fn status_line(window: &[u8], limits: &HeadLimits) -> Option<StatusLine> {
    let &[minor @ (b'0' | b'1'), b' ', hundreds, tens, ones, b' ', ..] = window.strip_prefix(b"HTTP/1.")? else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(10);
    let status = digit(hundreds)? * 100 + digit(tens)? * 10 + digit(ones)?;
    let reason = "HTTP/1.1 200 ".len();
    let end = reason + text(&window[reason..]);
    let bytes = end + 2;
    let ends = window[end..].starts_with(b"\r\n") && is_short(bytes, limits);
    ends.then_some(StatusLine { status: status as u16, old: minor == b'0', bytes })
}

/// Whether a first line of so many bytes is within the limit, which counts its CR.
fn is_short(bytes: usize, limits: &HeadLimits) -> bool {
    bytes - 1 <= usize::from(limits.line_bytes_max)
}

/// Adds the header lines from `start` on to `lines`; where the head ends, and the kinds that occur in it.
pub(super) fn lines(window: &[u8], start: usize, limits: &HeadLimits, lines: &mut Vec<Line>) -> Option<(usize, u64)> {
    let (mut at, mut kinds) = (start, 0);
    loop {
        let name = &window[at..at + name(&window[at..])];
        let name_end = at + name.len();
        if name.is_empty() {
            return window[at..].starts_with(b"\r\n").then_some((at + 2, kinds));
        }
        if window.get(name_end) != Some(&b':') || lines.len() == limits.headers_max {
            return None;
        }
        let mut value_start = name_end + 1;
        while window.get(value_start).is_some_and(is_space) {
            value_start += 1;
        }
        let end = value_start + text(&window[value_start..]);
        if !window[end..].starts_with(b"\r\n") {
            return None;
        }
        let mut value_end = end;
        while value_end > value_start && is_space(&window[value_end - 1]) {
            value_end -= 1;
        }
        let kind = Kind::of(name);
        kinds |= kind.bit();
        // A head is smaller than 64 KiB.
        let [start, name_end, value_start, value_end] =
            [at, name_end, value_start, value_end].map(|place| place as u16);
        lines.push(Line { start, name_end, value_start, value_end, kind, dropped: false });
        at = end + 2;
    }
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// How many bytes at the start may be in a header's name (RFC 9110 § 5.6.2): letters and `-`, of which nearly all names are, eight at
/// a time, what else may be one by one.
fn name(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&eight) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(eight);
        // No sum carries over into the next byte: both of its parts are below 0x80.
        let low = word & !HIGH;
        let lower = low | (0x20 * ONES);
        let letter = (lower + (0x80 - u64::from(b'a')) * ONES) & !(lower + (0x7f - u64::from(b'z')) * ONES);
        let dash = !((low ^ (u64::from(b'-') * ONES)) + 0x7f * ONES);
        let odd = (!(letter | dash) | word) & HIGH;
        if odd != 0 {
            at += odd.trailing_zeros() as usize / 8;
            break;
        }
        at += 8;
    }
    at + run(&bytes[at..], NAME)
}

/// How many bytes at the start are of `class`.
fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|byte| CLASSES[usize::from(*byte)] & class == 0).unwrap_or(bytes.len())
}

/// How many bytes at the start may be in a header's value (RFC 9110 § 5.5): all but controls, of which HTAB may. Looks at eight at a
/// time (Mycroft's test for bytes below a bound, of which the lowest that it finds is one).
fn text(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        while let Some(&eight) = bytes[at..].first_chunk() {
            let word = u64::from_le_bytes(eight);
            let delete = word ^ (0x7f * ONES);
            let odd = (word.wrapping_sub(0x20 * ONES) & !word | delete.wrapping_sub(ONES) & !delete) & HIGH;
            if odd != 0 {
                at += odd.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        // At one that may be odd, or close to the end.
        match bytes.get(at) {
            Some(b'\t' | b' '..=b'~' | 0x80..) => at += 1,
            _ => return at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_controls() {
        for length in 0..40 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'\xff'; length];
                    bytes[place] = byte;
                    let odd = byte < b' ' && byte != b'\t' || byte == 0x7f;
                    assert_eq!(text(&bytes), if odd { place } else { length }, "{byte} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn names_end_at_what_is_no_token() {
        for length in 0..24 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = b"Accept-Encoding-zZaA_9-Q"[..length].to_owned();
                    bytes[place] = byte;
                    let end = if is_token(byte) { length } else { place };
                    assert_eq!(name(&bytes), end, "{byte} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn what_is_usual_is_taken_and_nothing_else() {
        let limits = HeadLimits { size_bytes_max: 100, line_bytes_max: 30, headers_max: 2 };
        let taken = |head: &str| {
            let window = window(head.as_bytes(), &limits);
            let line = request_line(window, &limits)?;
            let mut found = Vec::new();
            lines(window, line.bytes, &limits, &mut found).map(|(end, _)| (end, found.len()))
        };
        assert_eq!(taken("GET / HTTP/1.1\r\n\r\nrest"), Some((18, 0)));
        assert_eq!(taken("GET /a?b HTTP/1.0\r\nA:\r\nB: \tc d\t \r\n\r\n"), Some((36, 2)));
        let odd = [
            "",
            "GET",
            "GET /",
            "GET / HTTP/1.1",
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\nA: b",
            "GET / HTTP/1.1\r\nA: b\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\n",
            "GET  HTTP/1.1\r\n\r\n",
            " / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.2\r\n\r\n",
            "GET / HTTP/1.1\n\n",
            "GET /# HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nA : b\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n",
            "GET /aaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n\r\n",
        ];
        odd.iter().for_each(|head| assert_eq!(taken(head), None, "{head:?}"));
        assert_eq!(taken(&format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(80))), None, "too large");
        let status = |line: &str| status_line(line.as_bytes(), &limits).map(|line| (line.status, line.old, line.bytes));
        assert_eq!(status("HTTP/1.1 200 OK\r\n"), Some((200, false, 17)));
        assert_eq!(status("HTTP/1.0 404 \r\n"), Some((404, true, 15)));
        for odd in
            ["HTTP/1.1 200\r\n", "HTTP/1.1 20 OK\r\n", "HTTP/1.1 2x0 OK\r\n", "HTTP/1.1 200 OK\n", "ICY 200 OK\r\n"]
        {
            assert_eq!(status(odd), None, "{odd:?}");
        }
    }
}
