//! Which of several answers a request selects (RFC 9111 § 4.1).

use super::list::members;
use crate::codec::Request;

/// What a header that an answer varies by was in the request that it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector {
    /// Lower case.
    name: Box<[u8]>,
    /// As [`normal`] gives it; `None` if it was not there.
    value: Option<Box<[u8]>>,
}

/// What `names` are in `request`.
pub(super) fn selectors(names: &[Vec<u8>], request: &Request) -> Box<[Selector]> {
    let selector = |name: &Vec<u8>| Selector {
        name: name.clone().into(),
        value: is_there(request, name).then(|| normal(request, name).collect()),
    };
    names.iter().map(selector).collect()
}

/// Whether `request` selects the answer that has `selectors`.
pub(super) fn selects(selectors: &[Selector], request: &Request) -> bool {
    selectors.iter().all(|selector| match &selector.value {
        None => !is_there(request, &selector.name),
        Some(value) => is_there(request, &selector.name) && normal(request, &selector.name).eq(value.iter().copied()),
    })
}

fn values<'r>(request: &'r Request, name: &[u8]) -> impl Iterator<Item = &'r [u8]> {
    request.head.headers().filter(move |(_, is, _)| is.as_bytes().eq_ignore_ascii_case(name)).map(|(_, _, value)| value)
}

fn is_there(request: &Request, name: &[u8]) -> bool {
    values(request, name).next().is_some()
}

/// The bytes of a header in one form of those that mean the same: its lines as one list, without space around commas;
/// languages and codings in lower case (RFC 9110 § 8.4.1, § 8.5.1). Their order stays: to some servers it is a preference.
fn normal<'r>(request: &'r Request, name: &[u8]) -> impl Iterator<Item = u8> {
    let lower = name == b"accept-language" || name == b"accept-encoding";
    let separated = |member: &'r [u8]| member.iter().copied().chain([b',']);
    values(request, name)
        .flat_map(members)
        .flat_map(separated)
        .map(move |byte| if lower { byte.to_ascii_lowercase() } else { byte })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::HeadLimits;

    fn request(lines: &[&str]) -> Request {
        let mut request = Request::default();
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        assert!(request.read(head.as_bytes(), &HeadLimits::default()).unwrap().is_some());
        request
    }

    fn same(names: &[&str], first: &[&str], second: &[&str]) -> bool {
        let names: Vec<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        selects(&selectors(&names, &request(first)), &request(second))
    }

    #[test]
    fn selection() {
        assert!(same(&[], &["Foo: 1"], &["Foo: 2"]));
        assert!(same(&["foo"], &["Foo: 1", "Other: 2"], &["fOO: 1", "Other: 3"]));
        assert!(!same(&["foo"], &["Foo: 1"], &["Foo: 2"]));
        assert!(!same(&["foo"], &["Foo: 1"], &[]));
        assert!(!same(&["foo"], &[], &["Foo: 1"]));
        assert!(!same(&["foo"], &[], &["Foo:"]));
        assert!(same(&["foo"], &[], &[]));
        assert!(same(&["foo", "bar"], &["Foo: 1", "Bar: abc"], &["Bar: abc", "Foo: 1"]));
        assert!(!same(&["foo", "bar"], &["Foo: 1", "Bar: abc"], &["Foo: 1", "Bar: abcd"]));
    }

    #[test]
    fn what_means_the_same() {
        assert!(same(&["foo"], &["Foo: 1, 2"], &["Foo: 1", "Foo: 2"]));
        assert!(same(&["foo"], &["Foo: 1,2"], &["Foo:  1, 2 "]));
        assert!(!same(&["foo"], &["Foo: a"], &["Foo: A"]));
        assert!(!same(&["foo"], &["Foo: 1, 2"], &["Foo: 12"]));
        assert!(same(&["accept-language"], &["Accept-Language: en, de"], &["Accept-Language: eN ,   De"]));
        assert!(!same(&["accept-language"], &["Accept-Language: en, de"], &["Accept-Language: de, en"]));
    }
}
