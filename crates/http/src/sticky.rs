//! Sticky sessions: a visitor stays with a backend, which a signed cookie names.
//!
//! Every server that has the site's key reads the cookie of every other, so that there is no table to share: a floating
//! address may move, a role may be restarted. The cookie says nothing of the visitor, all visitors of a backend have the
//! same one; it is signed lest somebody gather all visitors that follow a link at one backend. What it names is not told: a
//! hash of the name and a keyed one.

use std::fmt::Write;

use mainstay_machines::balance::source;
use sha2::{Digest, Sha256};

use crate::codec::{Head, Kind};

/// HMAC-SHA-256 cut to its first half, as RFC 2104 § 5 allows: nobody guesses 128 bits by asking.
const TAG_BYTES: usize = 16;
/// SHA-256 works in pieces of so many bytes (FIPS 180-4 § 1).
const BLOCK_BYTES: usize = 64;
/// What is signed begins with it, so that the key can never sign anything else that means something.
const PURPOSE: &[u8] = b"mainstay sticky 1\0";

/// Whose cookie it is and how it is signed.
#[derive(Clone)]
pub struct Sticky {
    cookie: String,
    key: Vec<u8>,
}

impl std::fmt::Debug for Sticky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sticky({}, …)", self.cookie)
    }
}

impl Sticky {
    /// A cookie called `cookie` (a token of RFC 6265 § 4.1.1), signed by `key`.
    pub fn new(cookie: &str, key: &[u8]) -> Sticky {
        Sticky { cookie: cookie.into(), key: key.into() }
    }

    /// What the cookie holds for visitors of `backend`.
    fn token(&self, backend: &str) -> String {
        let tag = hmac(&self.key, &[PURPOSE, self.cookie.as_bytes(), b"\0", backend.as_bytes()]);
        let mut token = format!("{:016x}", source::identity(backend));
        tag[..TAG_BYTES].iter().for_each(|byte| {
            // Writing to a String cannot fail.
            let _ = write!(token, "{byte:02x}");
        });
        token
    }
}

/// The cookies of a pool's backends, worked out once: a request costs a look-up.
pub(crate) struct Cookies {
    name: String,
    tokens: Vec<String>,
}

impl Cookies {
    pub(crate) fn new(sticky: &Sticky, backends: &[String]) -> Cookies {
        Cookies { name: sticky.cookie.clone(), tokens: backends.iter().map(|name| sticky.token(name)).collect() }
    }

    /// The backend that a request's cookies name; the first that is ours.
    pub(crate) fn backend(&self, head: &Head) -> Option<usize> {
        let mut pairs = head.all_of_kind(Kind::Cookie).flat_map(|value| value.split(|byte| *byte == b';'));
        pairs.find_map(|pair| {
            let value = pair.trim_ascii().strip_prefix(self.name.as_bytes())?.strip_prefix(b"=")?;
            self.tokens.iter().position(|token| is_same(token.as_bytes(), value))
        })
    }

    /// Puts the line that sets the cookie for `backend` behind the lines of a head that is complete but for its end.
    pub(crate) fn set(&self, backend: usize, secure: bool, head: &mut Vec<u8>) {
        let Some(token) = self.tokens.get(backend) else { return };
        for part in ["Set-Cookie: ", &self.name, "=", token, "; Path=/; HttpOnly; SameSite=Lax"] {
            head.extend_from_slice(part.as_bytes());
        }
        head.extend_from_slice(if secure { b"; Secure\r\n" } else { b"\r\n" });
    }
}

/// Compares in a time that does not tell how much of it is right. Lengths and the hash of the name are no secret.
fn is_same(token: &[u8], value: &[u8]) -> bool {
    const NAME: usize = 16;
    if token.len() != value.len() || token[..NAME] != value[..NAME] {
        return false;
    }
    let differences = token.iter().zip(value).fold(0, |so_far, (one, other)| so_far | (one ^ other));
    std::hint::black_box(differences) == 0
}

/// HMAC-SHA-256 (RFC 2104 § 2) of `parts` one after the other.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let begun = |pad: u8| Sha256::new().chain_update(block.map(|byte| byte ^ pad));
    let inner = parts.iter().fold(begun(0x36), |hash, part| hash.chain_update(part)).finalize();
    begun(0x5c).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{HeadLimits, Request};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 4231 § 4.2, 4.3 and 4.7.
    #[test]
    fn the_published_cases() {
        let one = hmac(&[0x0b; 20], &[b"Hi ", b"There"]);
        assert_eq!(hex(&one), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        let two = hmac(b"Jefe", &[b"what do ya want for nothing?"]);
        assert_eq!(hex(&two), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let six = hmac(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(hex(&six), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    fn cookies(key: &[u8]) -> Cookies {
        Cookies::new(&Sticky::new("stay", key), &["web1".to_owned(), "web2".to_owned()])
    }

    fn backend(cookies: &Cookies, lines: &str) -> Option<usize> {
        let mut request = Request::default();
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        request.read(head.as_bytes(), &HeadLimits::default()).unwrap();
        cookies.backend(&request.head)
    }

    #[test]
    fn who_has_the_key_reads_it_and_nobody_writes_it_without() {
        let (mut set, mut expected) = (Vec::new(), Vec::new());
        cookies(b"key").set(1, true, &mut set);
        let token = Sticky::new("stay", b"key").token("web2");
        expected.extend_from_slice(b"Set-Cookie: stay=");
        expected.extend_from_slice(token.as_bytes());
        expected.extend_from_slice(b"; Path=/; HttpOnly; SameSite=Lax; Secure\r\n");
        assert_eq!(String::from_utf8_lossy(&set), String::from_utf8_lossy(&expected));
        let other = cookies(b"key");
        assert_eq!(backend(&other, &format!("Cookie: stay={token}\r\n")), Some(1));
        assert_eq!(backend(&other, &format!("Cookie: a=b;stay={token} ; c\r\n")), Some(1));
        assert_eq!(backend(&other, &format!("Cookie: a=b\r\ncookie: stay={token}\r\n")), Some(1));
        assert_eq!(backend(&cookies(b"another"), &format!("Cookie: stay={token}\r\n")), None);
        for wrong in [&token[..47], &format!("{token}0"), "", &token.replace(&token[40..], "00000000")] {
            assert_eq!(backend(&other, &format!("Cookie: stay={wrong}\r\n")), None, "{wrong}");
        }
        assert_eq!(backend(&other, &format!("Cookie: stays={token}\r\nX-Cookie: stay={token}\r\n")), None);
    }

    #[test]
    fn the_same_backend_elsewhere_in_the_list_keeps_its_visitors() {
        let sticky = Sticky::new("stay", b"key");
        let turned = Cookies::new(&sticky, &["web2".to_owned(), "web3".to_owned()]);
        assert_eq!(backend(&turned, &format!("Cookie: stay={}\r\n", sticky.token("web2"))), Some(0));
        assert_eq!(backend(&turned, &format!("Cookie: stay={}\r\n", sticky.token("web1"))), None);
    }
}
