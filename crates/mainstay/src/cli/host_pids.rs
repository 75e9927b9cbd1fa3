//! A server names its processes as it sees them; whoever reads this machine's tables kills and traces by the host's
//! numbers.

use mainstay_lab::{HostPids, Record};
use mainstay_node::page::Sight;

/// Puts the host's numbers in the place of the servers' own; of a process that has ended meanwhile, none.
pub fn put(seen: &mut [Sight], record: &Record) {
    let host = HostPids::of(record);
    for Sight { server, status, .. } in seen {
        let Some(status) = status else { continue };
        // The supervisor has just answered: it can only have ended since, and then its number means nothing any more.
        status.pid = host.of_process(server, status.pid).unwrap_or_default();
        for service in &mut status.services {
            let parts = service.report.iter_mut().flat_map(|report| &mut report.parts).map(|part| &mut part.pid);
            for pid in parts.chain([&mut service.pid]) {
                *pid = pid.and_then(|inside| host.of_process(server, inside));
            }
        }
    }
}
