//! Where a head ends, decided before anything in it is looked at.

use memchr::memchr_iter;

use super::{HeadLimits, Refusal};

/// Finds the end of the head that begins at the start of `buffer`.
///
/// Returns `(start, end)`: `start` skips empty lines before it (RFC 9112 § 2.2), `end` lies behind the empty line that
/// closes it. `None`: not complete yet. Every LF must follow a CR, which makes copying lines verbatim safe.
pub fn find(buffer: &[u8], limits: &HeadLimits) -> Result<Option<(usize, usize)>, Refusal> {
    let limit = usize::from(limits.size_bytes_max);
    let window = &buffer[..buffer.len().min(limit)];
    let mut start = 0;
    let mut line = 0;
    for feed in memchr_iter(b'\n', window) {
        if line == start {
            first_line(&window[start..feed], limits)?;
        }
        if feed == 0 || window[feed - 1] != b'\r' {
            return Err(Refusal::BareLineFeed);
        }
        match feed - 1 == line {
            true if line == start => start = feed + 1,
            true => return Ok(Some((start, feed + 1))),
            false => {}
        }
        line = feed + 1;
    }
    unfinished(window, start, line, limits)
}

/// The verdict over a head whose end is not there: wait, or give up because it already is too large.
fn unfinished(
    window: &[u8],
    start: usize,
    line: usize,
    limits: &HeadLimits,
) -> Result<Option<(usize, usize)>, Refusal> {
    if line == start {
        first_line(&window[start..], limits)?;
    }
    if window.len() == usize::from(limits.size_bytes_max) {
        return Err(Refusal::HeadTooLarge);
    }
    Ok(None)
}

/// What the first line is refused for before anything else, so far as it is there: the same whether the rest came with
/// it or comes later.
fn first_line(line: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
    match line.first() {
        Some(byte) if !byte.is_ascii_graphic() && *byte != b'\r' => Err(Refusal::NotHttp),
        _ if line.len() > usize::from(limits.line_bytes_max) => Err(Refusal::TargetTooLong),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(size: u16, line: u16) -> HeadLimits {
        HeadLimits { size_bytes_max: size, line_bytes_max: line, headers_max: 100 }
    }

    #[test]
    fn finds_the_end_and_skips_empty_lines_before() {
        let usual = HeadLimits::default();
        assert_eq!(find(b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest", &usual), Ok(Some((0, 24))));
        assert_eq!(find(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", &usual), Ok(Some((4, 22))));
        assert_eq!(find(b"GET / HTTP/1.1\r\n\r", &usual), Ok(None));
        assert_eq!(find(b"", &usual), Ok(None));
    }

    #[test]
    fn refuses_what_cannot_become_a_head() {
        let usual = HeadLimits::default();
        assert_eq!(find(b"GET / HTTP/1.1\nA: b", &usual), Err(Refusal::BareLineFeed));
        assert_eq!(find(b"\n", &usual), Err(Refusal::BareLineFeed));
        for rest in [b"".as_slice(), b"\0", b"\n", b"\r\n\r\n", &[b'a'; 9000]] {
            let tls = [b"\x16\x03\x01", rest].concat();
            assert_eq!(find(&tls, &usual), Err(Refusal::NotHttp), "the verdict cannot depend on what follows");
        }
        assert_eq!(find(b"GET /aaaaaaaaaaaaa\n", &limits(64, 16)), Err(Refusal::TargetTooLong));
        assert_eq!(find(b"GET /aaaaaaaaaaaaa", &limits(64, 16)), Err(Refusal::TargetTooLong));
        assert_eq!(find(b"GET / HTTP/1.1\r\nA: bbbbbbbbbbbbbbbb", &limits(32, 32)), Err(Refusal::HeadTooLarge));
    }
}
