//! `host [ ":" port ]`, strictly (RFC 3986 § 3.2, RFC 9110 § 7.2).

/// A host and, where given, its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub host: &'a str,
    /// Digits; `None` if absent or empty.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads one; `None` if it is not well-formed, has user information, or has no host.
    pub fn parse(text: &'a str) -> Option<Authority<'a>> {
        let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (host, rest) = text.split_at(end);
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) => Some(port(digits)?),
        };
        host_is_valid(host).then_some(Authority { host, port })
    }
}

fn port(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// The longest name that DNS carries (RFC 1035 § 2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// Whether `host` can be a host: unreserved characters of RFC 3986 (no percent-encoding: nobody needs it in a name,
/// and two decoders could differ), or an IPv6 address in brackets.
pub fn host_is_valid(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            (1..=HOST_BYTES_MAX).contains(&host.len())
                && host
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (text, host, port) in [
            ("foobar.com", "foobar.com", None),
            ("foobar.com:", "foobar.com", None),
            ("www.foobar.localhost:8080", "www.foobar.localhost", Some(8080)),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]:80", "[::1]", Some(80)),
        ] {
            assert_eq!(Authority::parse(text), Some(Authority { host, port }), "{text}");
        }
    }

    #[test]
    fn what_is_no_authority() {
        for text in [
            "", ":80", "a b", "a/b", "a@b", "a:b", "a:80:80", "a:99999", "a:+8", "[::1", "[::1]x", "[g]", "a,b",
            "a%2e", "é",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
        assert_eq!(Authority::parse(&"a".repeat(300)), None);
    }
}
