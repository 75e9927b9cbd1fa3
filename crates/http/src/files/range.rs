//! Byte ranges (RFC 9110 § 14).

/// What a Range header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Everything: no ranges of bytes, malformed ones, or more of them than anybody needs (RFC 9110 § 14.2 allows it, and
    /// they have been used to exhaust servers).
    Whole,
    /// One part.
    Part(Part),
    /// Several, in the order asked for.
    Parts(Vec<Part>),
    /// Nothing that there is: 416.
    Outside,
}

/// A part of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Offset of the first byte.
    pub start: u64,
    /// Bytes, at least one.
    pub length: u64,
}

/// PDF readers and download tools ask for a few.
const PARTS_MAX: usize = 16;

/// Reads `header` for a content of `size` bytes.
pub(crate) fn read(header: &[u8], size: u64) -> Asked {
    set(header).and_then(|set| asked(set, size)).unwrap_or(Asked::Whole)
}

/// Parts outside are left out (RFC 9110 § 14.1.1: a set is satisfiable if one of it is). Those that overlap or together
/// are no less than everything cost more than they save.
fn asked(set: &[u8], size: u64) -> Option<Asked> {
    let members = set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    let (mut parts, mut count): (Vec<Part>, usize) = (Vec::new(), 0);
    for member in members {
        count += 1;
        if count > PARTS_MAX {
            return None;
        }
        parts.extend(part(member, size)?);
    }
    let mut sorted = parts.clone();
    sorted.sort_unstable_by_key(|part| part.start);
    let overlap = sorted.windows(2).any(|two| two[0].start + two[0].length > two[1].start);
    match parts[..] {
        [] => (count > 0).then_some(Asked::Outside),
        [one] => Some(Asked::Part(one)),
        _ => (!overlap).then_some(Asked::Parts(parts)),
    }
}

/// What follows `bytes=`.
fn set(header: &[u8]) -> Option<&[u8]> {
    let (unit, set) = header.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then(|| set.trim_ascii())
}

/// `None` if it is malformed, nothing if it lies outside.
fn part(range: &[u8], size: u64) -> Option<Option<Part>> {
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

fn suffix(length: u64, size: u64) -> Option<Part> {
    let length = length.min(size);
    (length > 0).then(|| Part { start: size - length, length })
}

/// `last` is included.
fn between(first: u64, last: u64, size: u64) -> Option<Part> {
    (first < size).then(|| Part { start: first, length: last.min(size - 1) - first + 1 })
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
            assert_eq!(asked(header, size), Asked::Part(Part { start, length }), "{header}");
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
            "bytes=0-1,1-4",
            "bytes=0-1,x",
            "bytes=,",
            "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,-1,-1,-1,-1,-1,-1,-1",
            "bytes 0-1",
            "bytes=1 - 2",
        ] {
            assert_eq!(asked(header, 10), Asked::Whole, "{header}");
        }
    }

    #[test]
    fn several() {
        let parts =
            |list: &[(u64, u64)]| list.iter().map(|(start, length)| Part { start: *start, length: *length }).collect();
        assert_eq!(asked("bytes=0-1, 4-5", 10), Asked::Parts(parts(&[(0, 2), (4, 2)])));
        assert_eq!(asked("bytes=-2,0-0", 10), Asked::Parts(parts(&[(8, 2), (0, 1)])));
        assert_eq!(asked("bytes=0-0,,20-30", 10), Asked::Part(Part { start: 0, length: 1 }));
        assert_eq!(asked("bytes=20-30,40-50", 10), Asked::Outside);
    }

    proptest! {
        #[test]
        fn parts_lie_within_and_apart(header in "bytes=[0-9]{0,21}-[0-9]{0,21}(,[0-9]{0,2}-[0-9]{0,2}){0,3}", size: u64) {
            let parts = match asked(&header, size) {
                Asked::Part(part) => vec![part],
                Asked::Parts(parts) => parts,
                Asked::Whole | Asked::Outside => vec![],
            };
            let whole: u128 = parts.iter().map(|part| u128::from(part.length)).sum();
            prop_assert!(whole <= u128::from(size));
            for Part { start, length } in parts {
                prop_assert!(length > 0 && start.checked_add(length).is_some_and(|end| end <= size));
            }
        }
    }
}
