//! Process numbers as the host has them. A server names its processes by their numbers in its own PID namespace, under
//! which whoever sits at the host finds other processes, or none.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use mainstay_site::names::ServerName;

use crate::record::{Mode, Record};

/// The numbers of every process of a lab, at one moment.
pub struct HostPids {
    /// `None` without namespaces: a process then has one number.
    servers: Option<HashMap<ServerName, HashMap<u32, u32>>>,
}

impl HostPids {
    /// Looks through the host's processes once.
    pub fn of(record: &Record) -> HostPids {
        if record.mode == Mode::Loopback {
            return HostPids { servers: None };
        }
        let running =
            record.servers.iter().filter_map(|server| Some((server, server.process.filter(|it| it.alive())?)));
        let spaces: HashMap<PathBuf, &ServerName> = running
            .filter_map(|(server, process)| Some((space(process.pid.try_into().ok()?)?, &server.name)))
            .collect();
        let mut servers: HashMap<ServerName, HashMap<u32, u32>> = HashMap::new();
        let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            let server = space(pid).and_then(|space| spaces.get(&space));
            if let Some((server, inside)) = server.and_then(|server| Some((*server, inside(pid)?))) {
                servers.entry(server.clone()).or_default().insert(inside, pid);
            }
        }
        HostPids { servers: Some(servers) }
    }

    /// The host's number of the process that is `pid` on `server`; `None` if it has ended.
    pub fn of_process(&self, server: &ServerName, pid: u32) -> Option<u32> {
        match &self.servers {
            None => Some(pid),
            Some(servers) => servers.get(server)?.get(&pid).copied(),
        }
    }
}

/// The PID namespace of a process.
fn space(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// The number of a process in its own PID namespace: the last of `NSpid` (proc_pid_status(5)).
fn inside(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_ascii_whitespace().next_back()?.parse().ok()
}
