//! Roles that look after one process, which outlives them: what is the same about all of them.

mod crashes;

use std::time::Duration;

use tokio::time::sleep;

pub(crate) use self::crashes::Crashes;
use crate::platform::process::{Exit, Process};
use crate::service::Shutdown;

/// A role that looks after a process.
pub(crate) trait Tended {
    /// One look, and what follows from it. How long to wait for the next.
    async fn turn(&mut self) -> Duration;

    /// The process, while it runs.
    fn process(&self) -> Option<&Process>;

    /// Takes note that it ended by itself.
    fn note_end(&mut self, exit: Exit);

    /// Ends it, as asked.
    async fn stop(self);
}

/// Has a role look after its process until it is asked to end. A turn that is under way then is given up.
pub(crate) async fn tend(mut role: impl Tended, mut shutdown: Shutdown) {
    loop {
        let pause = tokio::select! {
            pause = role.turn() => pause,
            () = shutdown.requested() => break,
        };
        tokio::select! {
            () = sleep(pause) => {}
            exit = ended(role.process()) => role.note_end(exit),
            () = shutdown.requested() => break,
        }
    }
    role.stop().await;
}

/// Waits for the end of a process, if one runs.
pub(crate) async fn ended(process: Option<&Process>) -> Exit {
    match process {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}
