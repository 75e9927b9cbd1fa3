//! Lists of header values, read as they are written in the wild (RFC 9110 § 5.6.1).

/// The members of a comma-separated list, trimmed, empty ones left out. A comma within quotes belongs to its member; a
/// quote that is never closed reaches to the end.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let all = rest?;
        let (member, after) = match comma(all) {
            Some(at) => (&all[..at], Some(&all[at + 1..])),
            None => (all, None),
        };
        rest = after;
        Some(member.trim_ascii())
    })
    .filter(|member| !member.is_empty())
}

/// Where the first comma outside quotes stands.
fn comma(value: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    value.iter().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return true,
            _ => {}
        }
        false
    })
}

/// `name=value` as its parts, the name trimmed; the value without its quotes. Escapes are left as they are: no number and
/// no header name has any.
pub(super) fn pair(member: &[u8]) -> (&[u8], Option<&[u8]>) {
    match member.iter().position(|byte| *byte == b'=') {
        None => (member, None),
        Some(at) => (member[..at].trim_ascii_end(), Some(unquoted(&member[at + 1..]))),
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value)
}

/// RFC 9111 § 1.2.2: what is larger than 2^31 is as large as that, 68 years.
const SECONDS_MAX: u64 = 1 << 31;

/// Delta-seconds; `None` for anything but digits.
pub(super) fn seconds(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let more = |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(value.iter().fold(0, more).min(SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Vec<String> {
        members(value.as_bytes()).map(|member| String::from_utf8_lossy(member).into_owned()).collect()
    }

    #[test]
    fn commas_separate_unless_quoted() {
        assert_eq!(read("a, b ,c"), ["a", "b", "c"]);
        assert_eq!(read(", ,a,,"), ["a"]);
        assert_eq!(read(r#"no-cache="a, b", max-age=1"#), [r#"no-cache="a, b""#, "max-age=1"]);
        assert_eq!(read(r#"x="a\",b", y"#), [r#"x="a\",b""#, "y"]);
        assert_eq!(read(r#"x="never closed, y"#), [r#"x="never closed, y"#]);
        assert!(read("").is_empty());
    }

    #[test]
    fn pairs() {
        assert_eq!(pair(b"no-store"), (&b"no-store"[..], None));
        assert_eq!(pair(b"max-age=1"), (&b"max-age"[..], Some(&b"1"[..])));
        assert_eq!(pair(b"max-age=\"1\""), (&b"max-age"[..], Some(&b"1"[..])));
        assert_eq!(pair(b"max-age ='1'"), (&b"max-age"[..], Some(&b"'1'"[..])));
        assert_eq!(pair(b"a=\""), (&b"a"[..], Some(&b"\""[..])));
    }

    #[test]
    fn numbers() {
        assert_eq!(seconds(b"003600"), Some(3600));
        assert_eq!(seconds(b"99999999999999999999999"), Some(SECONDS_MAX));
        for odd in ["", "-1", "+1", "1.0", "1a", "a1", " 1", "'1'"] {
            assert_eq!(seconds(odd.as_bytes()), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn members_are_parts_of_the_value_in_order(value in r#"[a-z =",\\]{0,40}"#) {
            let mut from = 0;
            for member in members(value.as_bytes()) {
                let at = member.as_ptr() as usize - value.as_ptr() as usize;
                prop_assert!(at >= from && at + member.len() <= value.len());
                from = at + member.len();
            }
        }
    }
}
