//! Clearing away everything that a record names, whether its `up` ended well or was killed.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::time::Duration;

use mainstay_site::names::Domain;

use crate::process::{self, ProcessId};
use crate::record::Record;
use crate::{VARIABLE, namespace};

/// What was found and cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Servers that were still on and ended as asked.
    pub stopped: usize,
    /// Servers that did not, and processes without a server; killed.
    pub killed: usize,
}

/// Stops every server of `record` in order, within `patience` (zero: power cut at once), then removes its processes
/// and namespaces. State directories are left alone. What is already gone is not an error.
///
/// # Errors
/// If a namespace cannot be removed.
pub fn sweep(record: &Record, patience: Duration) -> anyhow::Result<Swept> {
    let on: Vec<ProcessId> = record.servers.iter().filter_map(|server| server.process).filter(|p| p.alive()).collect();
    let cut = process::end(&on, patience);
    let strays: Vec<ProcessId> = strays(record).into_iter().collect();
    process::end(&strays, Duration::ZERO);
    if let Some(wires) = &record.wires {
        wires.remove()?;
    }
    Ok(Swept { stopped: on.len() - cut, killed: cut + strays.len() })
}

/// Processes of the lab that no recorded process 1 took with it: started just before `up` was killed, or left by a
/// killed process 1 in loopback mode.
fn strays(record: &Record) -> std::collections::HashSet<ProcessId> {
    let Some(wires) = &record.wires else {
        let mark = mark(&record.site);
        return process::find(|pid| pid != record.up.pid && carries(pid, &mark));
    };
    let ends = wires.ends.iter().filter(|end| end.server.is_some());
    let inside: Vec<u64> =
        ends.filter_map(|end| Some(fs::metadata(namespace::path(&end.namespace)).ok()?.st_ino())).collect();
    process::find(|pid| {
        fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|network| inside.contains(&network.st_ino()))
    })
}

/// Whether the process was started with the lab's mark in its environment (proc_pid_environ(5)).
fn carries(pid: i32, mark: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == mark))
}

fn mark(site: &Domain) -> Vec<u8> {
    format!("{VARIABLE}={site}").into_bytes()
}
