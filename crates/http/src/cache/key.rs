//! Under which name an answer is stored: scheme, host and target.
//!
//! The scheme belongs to it, since an application may answer `http` with a redirect to `https`; so does the port.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use quick_cache::Equivalent;

/// A name that is looked for; borrowed, so that a hit allocates nothing.
#[derive(Clone, Debug)]
pub(crate) struct Asking<'a> {
    hash: u64,
    scheme: &'a str,
    /// Lower case.
    host: Cow<'a, str>,
    target: &'a str,
}

/// A name that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    hash: u64,
    /// `https foobar.com /path?query`: no part has a space
    text: Box<str>,
}

impl<'a> Asking<'a> {
    /// `hasher` is keyed at random: nobody outside can make names collide.
    pub(super) fn new(hasher: &RandomState, scheme: &'a str, host: &'a str, target: &'a str) -> Asking<'a> {
        let upper = host.bytes().any(|byte| byte.is_ascii_uppercase());
        let host = if upper { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) };
        let mut state = hasher.build_hasher();
        for part in [scheme, " ", &host, " ", target] {
            state.write(part.as_bytes());
        }
        Asking { hash: state.finish(), scheme, host, target }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn key(&self) -> Key {
        Key { hash: self.hash, text: [self.scheme, " ", &self.host, " ", self.target].concat().into() }
    }
}

impl Key {
    /// Path and query.
    pub(super) fn target(&self) -> &str {
        self.text.splitn(3, ' ').nth(2).unwrap_or_default()
    }

    pub(super) fn length(&self) -> usize {
        self.text.len()
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for Asking<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Key> for Asking<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let rest = key.text.strip_prefix(self.scheme).and_then(|rest| rest.strip_prefix(' '));
        let target = rest.and_then(|rest| rest.strip_prefix(&*self.host)).and_then(|rest| rest.strip_prefix(' '));
        self.hash == key.hash && target == Some(self.target)
    }
}

/// The hash of a name is made once; what is made of it here is the number itself.
#[derive(Clone, Default)]
pub(super) struct AsItIs(u64);

impl BuildHasher for AsItIs {
    type Hasher = AsItIs;

    fn build_hasher(&self) -> AsItIs {
        AsItIs(0)
    }
}

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        // Only `write_u64` is used above; any other input still has to count.
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_in_each_part_and_hosts_have_no_case() {
        let hasher = RandomState::new();
        let key = Asking::new(&hasher, "http", "Foobar.com:80", "/a?b").key();
        let is = |scheme, host, target| Asking::new(&hasher, scheme, host, target).equivalent(&key);
        assert!(is("http", "fooBAR.com:80", "/a?b"));
        for (scheme, host, target) in [
            ("https", "foobar.com:80", "/a?b"),
            ("http", "foobar.com", "/a?b"),
            ("http", "foobar.com:80", "/A?b"),
            ("http", "foobar.com:80", "/a"),
            ("http", "foobar.com:8", "0/a?b"),
        ] {
            assert!(!is(scheme, host, target), "{scheme} {host} {target}");
        }
    }
}
