//! What a source file refers to.

use std::path::Path;

use crate::root;

/// Every Rust file below a folder of the repository: its path there, and its text without lines of comment.
pub fn files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has no source");
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            found.push((name, code.collect::<Vec<_>>().join("\n")));
        }
    }
}

/// Every path in `text` that begins with `start` (`crate::`), without it: `use crate::{a, b::{self, C}}` has `a`,
/// `b::self` and `b::C`.
pub fn paths(text: &str, start: &str) -> Vec<String> {
    let ends_name = |before: &str| before.ends_with(|last: char| last.is_alphanumeric() || "_:".contains(last));
    let places = text.match_indices(start).filter(|(at, _)| !ends_name(&text[..*at]));
    places.flat_map(|(at, _)| tree(&text[at + start.len()..]).0).collect()
}

/// The paths of the tree at the beginning of `text`, and how long it is.
fn tree(text: &str) -> (Vec<String>, usize) {
    let name = text.find(|one: char| !one.is_alphanumeric() && one != '_' && one != '*').unwrap_or(text.len());
    let (head, rest) = text.split_at(name);
    if let Some(further) = rest.strip_prefix("::") {
        let (below, length) = tree(further);
        return (below.iter().map(|path| format!("{head}::{path}")).collect(), name + 2 + length);
    }
    match rest.strip_prefix('{') {
        Some(inside) if head.is_empty() => group(inside),
        _ => (vec![head.to_owned()], name),
    }
}

/// The paths of `a, b::c}`, and how long it is with the brace before it.
fn group(inside: &str) -> (Vec<String>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    loop {
        at += inside[at..].find(|one: char| !one.is_whitespace() && one != ',').unwrap_or(inside.len() - at);
        if inside[at..].starts_with('}') || at == inside.len() {
            return (found, at + 2);
        }
        let (below, length) = tree(&inside[at..]);
        found.extend(below);
        // What is no name (`r#`, `as`) is stepped over.
        at += length.max(inside[at..].chars().next().map_or(0, char::len_utf8));
    }
}

#[test]
fn use_trees_are_taken_apart() {
    let text =
        "use crate::{a, b::{self, c::D},\n e};\nuse crate::f::*; fn g() { crate::h::i(not_crate::j, super::crate::k) }";
    assert_eq!(paths(text, "crate::"), ["a", "b::self", "b::c::D", "e", "f::*", "h::i"]);
}
