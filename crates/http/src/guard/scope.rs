//! Which requests a rate is for. Applications decode paths before they look at them, so a rate must too: `//login` and
//! `/%6cogin` are `/login`.

use std::borrow::Cow;

/// The path as most applications understand it: decoded once, without empty and dot segments.
pub(super) fn plain(path: &str) -> Cow<'_, str> {
    let odd = path.contains('%') || path.contains("//") || path.contains("/.");
    if !odd {
        return Cow::Borrowed(path);
    }
    let decoded = decode(path.as_bytes());
    let decoded = String::from_utf8_lossy(&decoded);
    let mut segments = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let end = if decoded.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    Cow::Owned(format!("/{}{end}", segments.join("/")))
}

/// Percent-decoding (RFC 3986 § 2.1); what is no escape stays.
fn decode(path: &[u8]) -> Vec<u8> {
    let digit = |place: usize| path.get(place).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(path.len());
    let mut place = 0;
    while let Some(byte) = path.get(place) {
        match (byte, digit(place + 1), digit(place + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                place += 3;
            }
            _ => {
                decoded.push(*byte);
                place += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn one_page_has_one_path() {
        for path in
            ["/login", "//login", "/%6cogin", "/%6Cogin", "/./login", "/a/../login", "/a/%2e%2e/login", "/..//login"]
        {
            assert_eq!(plain(path), "/login", "{path}");
        }
        for (path, is) in
            [("/", "/"), ("//", "/"), ("/a//b/", "/a/b/"), ("/%", "/%"), ("/%zz", "/%zz"), ("/a.b", "/a.b")]
        {
            assert_eq!(plain(path), is, "{path}");
        }
    }
}
