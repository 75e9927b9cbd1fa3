//! Byte ranges (RFC 9110 § 14).

/// What a Range header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: no single range of bytes, or one that is malformed. Several are answered in full, which RFC 9110
    /// § 14.2 allows: they cost more than they save, and have been used to exhaust servers.
    Whole,
    /// From `start`, `length` bytes, at least one.
    Part {
        /// Offset of the first byte.
        start: u64,
        /// Bytes.
        length: u64,
    },
    /// Nothing that there is: 416.
    Outside,
}

/// Reads `header` for a content of `size` bytes.
pub(super) fn read(header: &[u8], size: u64) -> Asked {
    set(header).and_then(|range| part(range, size)).unwrap_or(Asked::Whole)
}

/// What follows `bytes=`. Several ranges hold a comma, which is no digit of one.
fn set(header: &[u8]) -> Option<&[u8]> {
    let (unit, set) = header.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then(|| set.trim_ascii())
}

fn part(range: &[u8], size: u64) -> Option<Asked> {
    let dash = range.iter().position(|byte| *byte == b'-')?;
    match (&range[..dash], &range[dash + 1..]) {
        (b"", b"") => None,
        (b"", last) => Some(suffix(number(last)?, size)),
        (first, b"") => Some(between(number(first)?, u64::MAX, size)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| between(first, last, size))
        }
    }
}

fn suffix(length: u64, size: u64) -> Asked {
    match length.min(size) {
        0 => Asked::Outside,
        length => Asked::Part { start: size - length, length },
    }
}

/// `last` is included.
fn between(first: u64, last: u64, size: u64) -> Asked {
    if first >= size {
        return Asked::Outside;
    }
    Asked::Part { start: first, length: last.min(size - 1) - first + 1 }
}

/// Digits; what is too large for any file is as large as can be.
fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let more = |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, more))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(header: &str, size: u64) -> Asked {
        read(header.as_bytes(), size)
    }

    #[test]
    fn parts() {
        for (header, size, start, length) in [
            ("bytes=0-0", 10, 0, 1),
            ("bytes=0-9", 10, 0, 10),
            ("bytes=0-", 10, 0, 10),
            ("bytes=9-", 10, 9, 1),
            ("bytes=2-4", 10, 2, 3),
            ("bytes=2-99", 10, 2, 8),
            ("bytes=2-99999999999999999999999", 10, 2, 8),
            ("bytes=-1", 10, 9, 1),
            ("bytes=-99", 10, 0, 10),
            ("bytes=-99999999999999999999999", 10, 0, 10),
            ("Bytes= 2-4 ", 10, 2, 3),
        ] {
            assert_eq!(asked(header, size), Asked::Part { start, length }, "{header}");
        }
    }

    #[test]
    fn nothing_that_there_is() {
        for (header, size) in
            [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)]
        {
            assert_eq!(asked(header, size), Asked::Outside, "{header}");
        }
    }

    #[test]
    fn what_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=4-2",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=-1-2",
            "bytes=0x0-1",
            "items=0-1",
            "bytes=0-1,3-4",
            "bytes=0-0,",
            "bytes 0-1",
            "bytes=1 - 2",
        ] {
            assert_eq!(asked(header, 10), Asked::Whole, "{header}");
        }
    }

    proptest! {
        #[test]
        fn parts_lie_within(header in "bytes=[0-9]{0,21}-[0-9]{0,21}", size: u64) {
            if let Asked::Part { start, length } = asked(&header, size) {
                prop_assert!(length > 0 && start.checked_add(length).is_some_and(|end| end <= size));
            }
        }
    }
}
