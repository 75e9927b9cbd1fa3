//! The processes of a server, by what they were started with.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::{ProcessId, namespace, process};

/// The processes in the network namespace `namespace` whose command line has `words` after one another. The first word may
/// be the end of a path.
pub fn processes(namespace: &str, words: &[&str]) -> Vec<ProcessId> {
    let wanted = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let same = |(place, (said, word)): (usize, (&&[u8], &&str))| match place {
            0 => said.ends_with(word.as_bytes()),
            _ => *said == word.as_bytes(),
        };
        line.windows(words.len()).any(|said| said.iter().zip(words).enumerate().all(same))
    };
    inside(namespace, wanted)
}

/// Every process in the network namespace `namespace`.
pub fn all_processes(namespace: &str) -> Vec<ProcessId> {
    inside(namespace, |_| true)
}

fn inside(namespace: &str, wanted: impl Fn(i32) -> bool) -> Vec<ProcessId> {
    let Ok(network) = fs::metadata(namespace::path(namespace)) else { return Vec::new() };
    let inside = |pid: i32| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|it| it.ino() == network.ino());
    process::find(|pid| wanted(pid) && inside(pid)).into_iter().collect()
}
