//! Words and lists of words.

use crate::model::Server;

/// More names than this are no longer read.
const SHOWN: usize = 4;

/// `lb1`, `lb1 and lb2`, `web1, web2, web3 and 297 others`
pub(super) fn list<T: AsRef<str>>(words: &[T]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.as_slice() {
        [] => "nobody".into(),
        [one] => (*one).into(),
        [most @ .., last] if words.len() <= SHOWN => format!("{} and {last}", most.join(", ")),
        _ => format!("{} and {} others", words[..SHOWN - 1].join(", "), words.len() - SHOWN + 1),
    }
}

pub(super) fn names<'s>(servers: impl IntoIterator<Item = &'s Server>) -> String {
    list(&servers.into_iter().map(|server| server.name.as_str()).collect::<Vec<_>>())
}

/// `answers` for one, `answer` for several.
pub(super) fn verb(count: usize, stem: &str) -> String {
    match (count, stem) {
        (1, "have") => "has".into(),
        (1, "are") => "is".into(),
        (1, _) if stem.ends_with("ss") || stem.ends_with("ch") => format!("{stem}es"),
        (1, _) => format!("{stem}s"),
        _ => stem.into(),
    }
}

/// Milliseconds as a person says them.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        1000 => "second".into(),
        _ if ms.is_multiple_of(1000) => format!("{} seconds", ms / 1000),
        _ => format!("{ms} ms"),
    }
}
