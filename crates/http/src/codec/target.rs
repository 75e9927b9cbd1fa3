//! The request target (RFC 9112 § 3.2): which form it has, and where its parts lie.

use std::ops::Range;

use super::Refusal;

/// Where the parts of a target lie within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Of the absolute form.
    pub authority: Option<Range<usize>>,
    /// Path and query; empty for `*` and for an absolute form without path.
    pub path: Range<usize>,
}

/// Splits `target`. `options`: the method is OPTIONS, which alone may say `*`.
pub fn split(target: &str, options: bool) -> Result<Parts, Refusal> {
    if !target.bytes().all(allowed) {
        return Err(Refusal::TargetInvalid);
    }
    match target.as_bytes().first() {
        Some(b'/') => Ok(Parts { authority: None, path: 0..target.len() }),
        Some(b'*') if options && target.len() == 1 => Ok(Parts { authority: None, path: 0..1 }),
        _ => absolute(target),
    }
}

/// Printable ASCII but `#` (a fragment is never sent, RFC 9110 § 7.1) and the characters that some servers rewrite.
pub(super) const fn allowed(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'<' | b'>' | b'"' | b'\\' | b'^' | b'`')
}

fn absolute(target: &str) -> Result<Parts, Refusal> {
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .ok_or(Refusal::TargetInvalid)?;
    let start = scheme.len();
    let length = target[start..].find(['/', '?']).unwrap_or(target.len() - start);
    Ok(Parts { authority: Some(start..start + length), path: start + length..target.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(split("/a?b", false), Ok(Parts { authority: None, path: 0..4 }));
        assert_eq!(split("*", true), Ok(Parts { authority: None, path: 0..1 }));
        assert_eq!(split("http://a:1/b", false), Ok(Parts { authority: Some(7..10), path: 10..12 }));
        assert_eq!(split("HTTP://a?b", false), Ok(Parts { authority: Some(7..8), path: 8..10 }));
        for target in ["*", "a", "", "ftp://a/", "/a#b", "/a\\b", "/é", "a:80"] {
            assert_eq!(split(target, false), Err(Refusal::TargetInvalid), "{target}");
        }
    }
}
