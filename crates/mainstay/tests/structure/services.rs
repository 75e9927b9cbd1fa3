//! Service modules of `node` meet in the plan and on the wire, never in each other's code.

use crate::read;
use crate::source::{files, paths};

/// The service modules: those that the dispatcher starts, and the status page, which other programs host.
fn services() -> Vec<String> {
    let mut all = paths(&read("crates/node/src/harness/dispatch.rs"), "crate::");
    all.retain(|path| !path.contains("::"));
    assert!(all.len() >= 6, "the dispatcher starts {all:?}");
    all.push("page".into());
    all
}

#[test]
fn no_service_imports_a_sibling() {
    let services = services();
    for own in &services {
        let module = format!("crates/node/src/{own}");
        let of_module = |(file, _): &(String, String)| {
            file.strip_prefix(&module).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
        };
        let sources: Vec<_> = files("crates/node/src").into_iter().filter(of_module).collect();
        assert!(!sources.is_empty(), "{module} is not there");
        for (file, code) in &sources {
            for path in [paths(code, "crate::"), paths(code, "super::")].concat() {
                let first = path.trim_start_matches("super::").split("::").next().unwrap_or_default();
                let sibling = services.iter().any(|other| other == first && other != own);
                assert!(!sibling, "{file} imports its sibling `{first}`; what both need is a module of its own");
            }
        }
    }
}
