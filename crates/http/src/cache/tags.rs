//! Tags by which answers are purged together: `Cache-Tag` (Akamai, Cloudflare) and `Surrogate-Key` (Fastly, Varnish), which
//! say the same with commas or with spaces.

/// The tags of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tags(Vec<Box<[u8]>>);

/// More than this many on one answer are not looked at: purging compares each.
const TAGS_MAX: usize = 128;

/// Whether the header called `name`, lower case, has tags.
pub(super) fn is_header(name: &str) -> bool {
    matches!(name, "cache-tag" | "surrogate-key")
}

impl Tags {
    pub(super) fn read(&mut self, value: &[u8]) {
        let tags = value.split(|byte| matches!(byte, b',' | b' ' | b'\t')).filter(|tag| !tag.is_empty());
        self.0.extend(tags.map(Box::from).take(TAGS_MAX.saturating_sub(self.0.len())));
    }

    /// Case counts.
    pub(super) fn have(&self, tag: &str) -> bool {
        self.0.iter().any(|is| **is == *tag.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_spaces() {
        let mut tags = Tags::default();
        tags.read(b"post-1, front  page");
        tags.read(b"x");
        for tag in ["post-1", "front", "page", "x"] {
            assert!(tags.have(tag), "{tag}");
        }
        assert!(!tags.have("post") && !tags.have("Post-1") && !tags.have(""));
    }

    #[test]
    fn their_number_is_bounded() {
        let mut tags = Tags::default();
        (0..1000).for_each(|number| tags.read(number.to_string().as_bytes()));
        assert!(tags.have("127") && !tags.have("128"));
    }
}
