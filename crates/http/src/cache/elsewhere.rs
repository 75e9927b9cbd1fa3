//! Which other address of the same origin a header names: what a write has changed there is taken out too (RFC 9111 § 4.4).

/// The target that `reference` names, seen from `target` at `host`; `None` if it is another origin's, or no address.
pub(super) fn resolved(target: &str, host: &str, reference: &[u8]) -> Option<String> {
    let reference = std::str::from_utf8(reference).ok()?;
    let reference = reference.split('#').next().filter(|reference| !reference.is_empty())?;
    if let Some(rest) = after_scheme(reference) {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        return authority.eq_ignore_ascii_case(host).then(|| rooted(path));
    }
    let path = target.split('?').next().unwrap_or("/");
    match reference.as_bytes()[0] {
        b'/' => Some(reference.to_owned()),
        b'?' => Some(format!("{path}{reference}")),
        _ if reference.split(['/', '?']).next().is_some_and(|first| first.contains(':')) => None,
        _ => {
            let folder = &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
            Some(format!("{folder}{}", reference.strip_prefix("./").unwrap_or(reference)))
        }
    }
}

/// What follows the scheme of an absolute reference, or the slashes of one that has none.
fn after_scheme(reference: &str) -> Option<&str> {
    ["http://", "https://", "//"].into_iter().find_map(|scheme| {
        let start = reference.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then(|| &reference[scheme.len()..])
    })
}

fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for (reference, target) in [
            ("/b", Some("/b")),
            ("/b?c#d", Some("/b?c")),
            ("b", Some("/posts/b")),
            ("./b", Some("/posts/b")),
            ("?page=2", Some("/posts/1?page=2")),
            ("http://foobar.com:80/b", Some("/b")),
            ("HTTPS://FOOBAR.COM:80/b?c", Some("/b?c")),
            ("//foobar.com:80", Some("/")),
            ("//foobar.com:80?a", Some("/?a")),
            ("http://foobar.com/b", None),
            ("http://elsewhere.com:80/b", None),
            ("http://foobar.com:80@elsewhere.com/", None),
            ("mailto:a@foobar.com", None),
            ("", None),
            ("#top", None),
        ] {
            let resolved = resolved("/posts/1?x", "foobar.com:80", reference.as_bytes());
            assert_eq!(resolved.as_deref(), target, "{reference}");
        }
        assert_eq!(resolved("/a", "h", &[0xff]), None);
    }
}
