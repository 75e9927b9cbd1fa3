//! What leads visitors to HTTPS and keeps them there: plain HTTP is sent on, and HSTS (RFC 6797).

use crate::codec::{Authority, Method};
use crate::exchange::{Outcome, Trip};
use crate::wire::Wire;

/// Two doors of the site, as visitors know them: in a lab or behind a forwarding router these are not the ports that are
/// listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doors {
    /// Where visitors come in clear.
    pub http: u16,
    /// Where the same visitors come by HTTPS.
    pub https: u16,
}

/// Authorities look here for what proves whose the name is, in clear (RFC 8555 § 8.3): there may be no certificate yet.
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// How long a browser keeps a redirect: by itself it would for ever, and an owner who takes HTTPS back would be out of reach.
const KEPT: &str = "Cache-Control: max-age=3600\r\n";

impl Trip<'_> {
    /// Where a request that came in clear is sent; `None` if it is answered here. That is so where its Host names a port that
    /// is none of our doors: somebody has led it here in a way of his own, and where his HTTPS is cannot be known.
    pub(crate) fn elsewhere(&self) -> Option<String> {
        if self.config.doors.is_empty() || self.proto != "http" {
            return None;
        }
        let (request, target) = (self.request, self.request.target());
        let authority = Authority::parse(request.authority())?;
        let came = authority.port.unwrap_or(80);
        let doors = self.config.doors.iter().find(|doors| doors.http == came)?;
        if target == "*" || target.starts_with(CHALLENGES) {
            return None;
        }
        let port = if doors.https == 443 { String::new() } else { format!(":{}", doors.https) };
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(format!("https://{}{port}{slash}{target}", authority.host))
    }

    /// Sends the visitor to `location`. What is not only read keeps its method and its body by 308 (RFC 9110 § 15.4.9), which
    /// the oldest clients do not know; they only read.
    pub(crate) async fn sent_on(&self, location: &str, wire: &mut Wire) -> Outcome {
        let (status, line) = match self.request.method {
            Method::Get | Method::Head => (301, "301 Moved Permanently"),
            _ => (308, "308 Permanent Redirect"),
        };
        let head = format!("HTTP/1.1 {line}\r\nLocation: {location}\r\n{KEPT}Content-Length: 0\r\n");
        self.told(status, head.into_bytes(), wire).await
    }

    /// Adds HSTS to the answer whose head begins `out`, unless the application has said it in its own way: a browser heeds
    /// the first line only (RFC 6797 § 8.1). In clear it means nothing and must not be said (§ 7.2).
    pub(crate) fn secured(&self, out: &mut Vec<u8>) {
        let Some(line) = self.config.hsts.as_deref().filter(|_| self.proto == "https") else { return };
        if !says_hsts(out) {
            let start = memchr::memchr(b'\n', out).map_or(out.len(), |end| end + 1);
            out.splice(start..start, line.bytes());
        }
    }
}

/// The line that says so for `seconds`.
pub fn hsts(seconds: u32) -> String {
    format!("Strict-Transport-Security: max-age={seconds}\r\n")
}

fn says_hsts(out: &[u8]) -> bool {
    const NAME: &[u8] = b"strict-transport-security:";
    let head = out.split(|byte| *byte == b'\n').take_while(|line| !matches!(*line, b"\r" | b""));
    head.skip(1).any(|line| line.get(..NAME.len()).is_some_and(|start| start.eq_ignore_ascii_case(NAME)))
}

#[cfg(test)]
mod tests {
    use super::says_hsts;

    #[test]
    fn what_an_application_says_itself_is_found_in_the_head_alone() {
        assert!(says_hsts(b"HTTP/1.1 200 OK\r\nA: b\r\nstrict-transport-SECURITY: max-age=0\r\n\r\n"));
        assert!(!says_hsts(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nStrict-Transport-Security: max-age=0\r\n"));
        assert!(!says_hsts(b"HTTP/1.1 200 OK\r\nX-Strict-Transport-Security: max-age=0\r\n\r\n"));
    }
}
