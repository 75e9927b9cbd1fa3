//! How long a file may be kept by browsers and caches.

/// The digits that make a part of a name a fingerprint of the content: Django's hashed names have 12, webpack's 20.
/// Fewer (8 in some bundlers) could be a date.
const FINGERPRINT_DIGITS_MIN: usize = 12;

/// For names that carry a fingerprint: a year, the most that anyone honours, and never asked again (RFC 8246).
pub(super) const FOREVER: &str = "public, max-age=31536000, immutable";

/// For all others: kept, but asked for each time, which a 304 answers. A page and its style never come from two
/// releases.
pub(super) const ASK: &str = "no-cache";

/// Whether `name` carries a fingerprint: `app.55e7cbb9ba48.css`, `app-55e7cbb9ba48ff01.js`. Hexadecimal with a letter
/// and a digit, between dots or dashes, before the extension; a page is never taken for one.
pub(super) fn lasts(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    let page = extension.eq_ignore_ascii_case("html") || extension.eq_ignore_ascii_case("htm");
    !page && stem.split(['.', '-']).skip(1).any(is_fingerprint)
}

fn is_fingerprint(part: &str) -> bool {
    part.len() >= FINGERPRINT_DIGITS_MIN
        && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        && part.bytes().any(|byte| byte.is_ascii_digit())
        && part.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints() {
        for name in ["app.55e7cbb9ba48.css", "app-55e7cbb9ba48ff01.js", "a.b.55e7cbb9ba48.min.js"] {
            assert!(lasts(name), "{name}");
        }
        for name in [
            "app.css",
            "app.20261121.css",
            "app.20261121103000.css",
            "app.55e7cbb9ba48.html",
            "55e7cbb9ba48.css",
            "app.55e7cbb9ba48",
            "app.accedeaccede.css",
            "app.55e7cbb9ba4g.css",
        ] {
            assert!(!lasts(name), "{name}");
        }
    }
}
