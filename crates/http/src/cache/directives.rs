//! What an origin says of storing and using its answer (RFC 9111 § 5.2.2), read tolerantly where that is harmless.
//!
//! Freshness that cannot be read counts as none (§ 4.2.1); a directive that forbids counts whatever its argument is.

use super::list::{members, pair, seconds};

/// Cache-Control of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) no_store: bool,
    /// May not be used without asking the origin.
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    /// Seconds.
    pub(super) max_age: Option<u64>,
    /// Seconds, for shared caches.
    pub(super) s_maxage: Option<u64>,
    /// RFC 5861 § 3.
    pub(super) stale_while_revalidate: Option<u64>,
    /// RFC 5861 § 4.
    pub(super) stale_if_error: Option<u64>,
    /// Headers that `no-cache="…"` or `private="…"` name: stored without them (§ 5.2.2.4 and § 5.2.2.7), lower case.
    pub(super) left_out: Vec<Vec<u8>>,
}

impl Directives {
    /// Adds what one header line says.
    pub(super) fn read(&mut self, value: &[u8]) {
        for member in members(value) {
            let (name, argument) = pair(member);
            self.directive(&name.to_ascii_lowercase(), argument);
        }
    }

    fn directive(&mut self, name: &[u8], argument: Option<&[u8]>) {
        match name {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache |= !self.names(argument),
            b"private" => self.private |= !self.names(argument),
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"max-age" => shortest(&mut self.max_age, argument),
            b"s-maxage" => shortest(&mut self.s_maxage, argument),
            b"stale-while-revalidate" => shortest(&mut self.stale_while_revalidate, argument),
            b"stale-if-error" => shortest(&mut self.stale_if_error, argument),
            _ => {}
        }
    }

    /// Takes note of the headers that a directive is limited to; whether it is.
    fn names(&mut self, argument: Option<&[u8]>) -> bool {
        let before = self.left_out.len();
        self.left_out.extend(members(argument.unwrap_or_default()).map(<[u8]>::to_ascii_lowercase));
        self.left_out.len() > before
    }

    /// Adds what a line of `Surrogate-Control` says (W3C Note *Edge Architecture Specification*, 2001): to the caches in
    /// front of an origin, in place of Cache-Control. Whether it says anything to us.
    pub(super) fn read_surrogate(&mut self, value: &[u8]) -> bool {
        let mut heard = false;
        for member in members(value) {
            let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let (name, argument) = pair(parts.next().unwrap_or_default());
            if parts.next().is_some_and(|target| target != SURROGATE) {
                continue;
            }
            match &name.to_ascii_lowercase()[..] {
                b"no-store" => self.no_store = true,
                // `max-age=600+60` allows staleness too, which we do not use.
                b"max-age" => {
                    let fresh = argument.and_then(|argument| argument.split(|byte| *byte == b'+').next());
                    shortest(&mut self.s_maxage, fresh);
                }
                _ => continue,
            }
            heard = true;
        }
        heard
    }
}

/// What we are called in `Surrogate-Capability`, and by an origin that means us.
pub(super) const SURROGATE: &[u8] = b"mainstay";

/// Of several, the shortest; what is no number is none at all.
fn shortest(slot: &mut Option<u64>, argument: Option<&[u8]>) {
    let new = argument.and_then(seconds).unwrap_or(0);
    *slot = Some(slot.map_or(new, |old| old.min(new)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &[&str]) -> Directives {
        let mut directives = Directives::default();
        lines.iter().for_each(|line| directives.read(line.as_bytes()));
        directives
    }

    #[test]
    fn freshness() {
        for (lines, max_age) in [
            (&["max-age=3600"][..], 3600),
            (&["MaX-aGe=3600"], 3600),
            (&["foobar, max-age=3600"], 3600),
            (&["max-age=\"3600\""], 3600),
            (&["max-age=003600"], 3600),
            (&["max-age=99999999999"], 1 << 31),
            (&["max-age='3600'"], 0),
            (&["max-age=-3600"], 0),
            (&["max-age=3600.0"], 0),
            (&["max-age=3600a"], 0),
            (&["max-age= 3600"], 0),
            (&["max-age"], 0),
            (&["extension=\"max-age=3600\", max-age=1"], 1),
            (&["max-age=1, extension=\"max-age=3600\""], 1),
            (&["max-age=1800, max-age=1"], 1),
            (&["max-age=1", "max-age=1800"], 1),
        ] {
            assert_eq!(read(lines).max_age, Some(max_age), "{lines:?}");
        }
        assert_eq!(read(&["foo"]).max_age, None);
        assert_eq!(read(&["max-age=9", "s-maxage=1"]).s_maxage, Some(1));
    }

    #[test]
    fn what_forbids_does_so_whatever_its_argument() {
        assert!(read(&["No-StOrE"]).no_store && read(&["no-store=1"]).no_store);
        assert!(read(&["max-age=1, private"]).private && read(&["private=\"\""]).private);
        assert!(read(&["no-cache"]).no_cache && read(&["no-cache=,"]).no_cache);
    }

    #[test]
    fn a_directive_may_be_limited_to_headers() {
        let limited = read(&["no-cache=\"Set-Cookie, a\", private=b"]);
        assert!(!limited.no_cache && !limited.private);
        assert_eq!(limited.left_out, [b"set-cookie".to_vec(), b"a".to_vec(), b"b".to_vec()]);
        assert!(read(&["no-cache=\"a\"", "no-cache"]).no_cache, "without names it says more");
    }

    #[test]
    fn surrogate_control() {
        let read = |value: &str| {
            let mut directives = Directives::default();
            directives.read_surrogate(value.as_bytes()).then_some((directives.no_store, directives.s_maxage))
        };
        assert_eq!(read("max-age=60"), Some((false, Some(60))));
        assert_eq!(read("foobar, MaX-AgE=60+600"), Some((false, Some(60))));
        assert_eq!(read("max-age=60;mainstay"), Some((false, Some(60))));
        assert_eq!(read("no-store;other, content=\"ESI/1.0\""), None);
        assert_eq!(read("no-store"), Some((true, None)));
        assert_eq!(read("max-age=x"), Some((false, Some(0))));
    }

    proptest! {
        #[test]
        fn no_input_panics(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut directives = Directives::default();
            directives.read(&value);
            directives.read_surrogate(&value);
        }

        #[test]
        fn more_words_never_allow_more(before in r#"[a-z=", ]{0,20}"#, after in r#"[a-z=", ]{0,20}"#) {
            // Outside quotes, whatever stands around it.
            prop_assume!(before.matches('"').count() % 2 == 0);
            let value = format!("{before}, no-store, max-age=5, {after}");
            let directives = read(&[&value]);
            prop_assert!(directives.no_store && directives.max_age.is_some_and(|seconds| seconds <= 5));
        }
    }
}
