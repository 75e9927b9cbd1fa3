//! `machines` and `site` decide and do nothing: neither they nor what they link reaches the operating system.

use crate::linked;
use crate::source::{files, paths};

/// What the pure crates may link. Whoever adds a crate has read that it computes and does no I/O.
const COMPUTES: [&str; 13] = [
    "itoa",
    "memchr",
    "serde",
    "serde_core",
    "serde_json",
    "serde_spanned",
    "strsim",
    "thiserror",
    "toml",
    "toml_datetime",
    "toml_parser",
    "winnow",
    "zmij",
];

/// The parts of `std` that have no clock, file, socket, process or thread.
const STD: [&str; 19] = [
    "array",
    "cell",
    "cmp",
    "collections",
    "error",
    "f64::consts",
    "fmt",
    "hash",
    "iter",
    "mem",
    "net::AddrParseError",
    "net::IpAddr",
    "net::Ipv4Addr",
    "net::Ipv6Addr",
    "net::SocketAddr",
    "num",
    "ops",
    "sync",
    "time::Duration",
];

/// Tests may go through many histories on all cores.
const TESTS: [&str; 1] = ["thread"];

#[test]
fn pure_crates_link_only_what_computes() {
    for pure in ["mainstay-machines", "mainstay-site"] {
        let linked = linked(pure);
        for third in &linked {
            let name = third.split(' ').next().unwrap_or_default();
            assert!(
                COMPUTES.contains(&name),
                "{pure} may do no I/O, and links `{third}`; if that one does none either, add it to COMPUTES"
            );
        }
        assert!(linked.iter().any(|third| third.starts_with("serde ")), "cargo tree told nothing of {pure}");
    }
}

#[test]
fn pure_crates_use_only_what_computes() {
    let is_of = |path: &String, part: &str| {
        path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    for (file, code) in ["crates/machines/src", "crates/site/src"].into_iter().flat_map(files) {
        let tests = if file.contains("/tests/") { &TESTS[..] } else { &[] };
        let allowed = |path: &String| STD.iter().chain(tests).any(|part| is_of(path, part));
        let wrong = paths(&code, "std::").into_iter().find(|path| !allowed(path));
        assert!(wrong.is_none(), "{file}: a pure crate uses std::{}; it is given what it must know", wrong.unwrap());
        assert!(!code.contains("unsafe"), "{file}: a pure crate has nothing that needs `unsafe`");
    }
}
