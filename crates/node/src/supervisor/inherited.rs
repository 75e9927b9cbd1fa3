//! What an earlier supervisor put away: sockets, log pipes, and hold of the processes.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use mainstay_site::names::ServiceName;
use rustix::process::Signal;
use tokio::time::timeout;

use super::desk::{PIPE_ENDS, pipe_kept_as};
use super::run::{PIDFD_KEPT_AS, RECORD_KEPT_AS, Run, forget};
use super::sockets;
use crate::platform::notify::Notify;
use crate::platform::process::Process;

/// How long a service that no plan names any more may take to end: as any other.
const STRANGER_DEADLINE: Duration = Duration::from_secs(12);

/// By name. Sockets are taken out first, in [`Inherited::split`].
#[derive(Default)]
pub(super) struct Inherited(BTreeMap<String, OwnedFd>);

impl Inherited {
    /// Separates the sockets from the rest.
    pub(super) fn split(handed: Vec<(String, OwnedFd)>) -> (Vec<(String, OwnedFd)>, Inherited) {
        let (sockets, rest) = handed.into_iter().partition(|(name, _)| name.starts_with(sockets::KEPT_AS));
        (sockets, Inherited(Vec::into_iter(rest).collect()))
    }

    /// The process of a service, if it still runs.
    pub(super) fn take_run(&mut self, service: &ServiceName, notify: &Notify) -> Option<Run> {
        let pidfd = self.0.remove(&format!("{PIDFD_KEPT_AS}{service}"))?;
        let record = self.0.remove(&format!("{RECORD_KEPT_AS}{service}"))?;
        let run = Run::adopt(pidfd, record);
        if let Err(error) = &run {
            tracing::warn!("{service} cannot be adopted: {error}");
        }
        let run = run.ok().flatten();
        if run.is_none() {
            tracing::warn!("{service} ended while no supervisor ran");
            forget(service, notify);
        }
        run
    }

    /// Both ends of a service's log pipe.
    pub(super) fn take_pipe(&mut self, service: &ServiceName) -> Option<(OwnedFd, OwnedFd)> {
        let [reader, writer] = PIPE_ENDS.map(|end| self.0.remove(&pipe_kept_as(service, end)));
        reader.zip(writer)
    }

    /// Ends the processes that the plan does not name, and takes everything left out of the store.
    pub(super) async fn end_strangers(self, notify: &Notify) {
        for (name, fd) in self.0 {
            notify.forget(&name);
            let process = name.starts_with(PIDFD_KEPT_AS).then(|| Process::adopt(fd).ok().flatten()).flatten();
            let Some(process) = process else { continue };
            tracing::warn!(pid = process.pid(), "ending {name}: the plan in force has no such service");
            for signal in [Signal::TERM, Signal::KILL] {
                let sent = process.signal(signal);
                if sent.is_err() || timeout(STRANGER_DEADLINE, process.ended()).await.is_ok() {
                    break;
                }
            }
        }
    }
}
