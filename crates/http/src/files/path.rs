//! From the path of a request to the path of a file. What no browser sends is refused, never repaired: browsers remove
//! dot segments before they send (WHATWG URL § 4.4), `%2e%2e` among them.

/// A path below a root: no empty segment, no dot segment, nothing hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Below {
    /// Decoded, without slashes at its ends; empty for the root itself.
    pub path: String,
    /// It ended in a slash, or is the root: a folder is meant.
    pub folder: bool,
}

/// Why a path cannot name a file for visitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// A malformed escape, a NUL, a backslash, or no UTF-8 (overlong forms among them).
    Malformed,
    /// A dot segment or a hidden file.
    Hidden,
    /// Well-formed, but no file is called so: an empty segment, or a segment with an encoded slash.
    Nameless,
}

impl Below {
    /// Reads `raw`, percent-encoded, without query; a slash at its start says nothing.
    pub fn read(raw: &str) -> Result<Below, Unusable> {
        let raw = raw.strip_prefix('/').unwrap_or(raw);
        if raw.is_empty() {
            return Ok(Below { path: String::new(), folder: true });
        }
        let folder = raw.ends_with('/');
        let raw = raw.strip_suffix('/').unwrap_or(raw);
        let path = decode(raw)?;
        path.split('/').try_for_each(segment)?;
        // An encoded slash is part of a name (RFC 3986 § 2.2), and no file name holds one.
        if path.split('/').count() == raw.split('/').count() {
            Ok(Below { path, folder })
        } else {
            Err(Unusable::Nameless)
        }
    }

    /// The last segment; empty for the root.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// `/.well-known/` is for visitors (RFC 8615).
fn segment(name: &str) -> Result<(), Unusable> {
    match name {
        "" => Err(Unusable::Nameless),
        ".well-known" => Ok(()),
        _ if name.starts_with('.') => Err(Unusable::Hidden),
        _ => Ok(()),
    }
}

/// Percent-decoding (RFC 3986 § 2.1), once.
fn decode(raw: &str) -> Result<String, Unusable> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { escape(bytes.next(), bytes.next()).ok_or(Unusable::Malformed)? } else { byte });
    }
    let text = String::from_utf8(decoded).map_err(|_| Unusable::Malformed)?;
    if text.contains(['\0', '\\']) { Err(Unusable::Malformed) } else { Ok(text) }
}

fn escape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high?)? * 16 + digit(low?)?).ok()
}

/// Percent-encodes what a path segment may not hold as it stands (RFC 3986 § 3.3).
pub(super) fn encode(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &str) -> Result<(String, bool), Unusable> {
        Below::read(raw).map(|below| (below.path, below.folder))
    }

    #[test]
    fn what_names_a_file() {
        for (raw, path, folder) in [
            ("", "", true),
            ("/", "", true),
            ("a", "a", false),
            ("/a", "a", false),
            ("a/", "a", true),
            ("a/b.css", "a/b.css", false),
            ("a%20b", "a b", false),
            ("%C3%A9", "é", false),
            ("a..b", "a..b", false),
            ("a.", "a.", false),
            ("%2561", "%61", false),
            (".well-known/security.txt", ".well-known/security.txt", false),
        ] {
            assert_eq!(read(raw), Ok((path.to_owned(), folder)), "{raw:?}");
        }
    }

    #[test]
    fn what_names_none() {
        use Unusable::*;
        for (raw, why) in [
            ("..", Hidden),
            ("../a", Hidden),
            ("a/../b", Hidden),
            ("a/..", Hidden),
            (".", Hidden),
            ("./a", Hidden),
            ("...", Hidden),
            ("%2e%2e/a", Hidden),
            ("%2E./a", Hidden),
            (".%2e/a", Hidden),
            ("..%2fa", Hidden),
            ("%2e%2e%2fa", Hidden),
            (".env", Hidden),
            ("a/.git/config", Hidden),
            ("%2egit", Hidden),
            ("a%2fb", Nameless),
            ("%2fetc/passwd", Nameless),
            ("a/%2f", Nameless),
            ("//", Nameless),
            ("//etc/passwd", Nameless),
            ("a//b", Nameless),
            ("a//", Nameless),
            ("%2f", Nameless),
            ("%00", Malformed),
            ("a%00.css", Malformed),
            ("a\\b", Malformed),
            ("..%5ca", Malformed),
            ("%", Malformed),
            ("%2", Malformed),
            ("%zz", Malformed),
            ("%+1", Malformed),
            ("%c0%ae%c0%ae/a", Malformed),
            ("%e0%80%ae", Malformed),
            ("%c0%af", Malformed),
            ("%ff", Malformed),
        ] {
            assert_eq!(read(raw), Err(why), "{raw:?}");
        }
    }

    proptest! {
        /// Whatever comes in, what comes out stays below the root by its text alone.
        #[test]
        fn nothing_leaves(raw in r"([a./\\%]|%2[ef]|%25|%5c|\.\.){0,12}") {
            if let Ok(below) = Below::read(&raw) {
                let parts: Vec<_> = std::path::Path::new(&below.path).components().collect();
                prop_assert!(parts.iter().all(|part| matches!(part, std::path::Component::Normal(_))), "{:?}", below);
                prop_assert!(!below.path.starts_with('/') && !below.path.contains("//"));
            }
        }

        #[test]
        fn what_was_encoded_is_decoded(name in "[^\0\\\\/.][^\0\\\\/]{0,8}") {
            prop_assert_eq!(read(&encode(&name)), Ok((name, false)));
        }
    }
}
