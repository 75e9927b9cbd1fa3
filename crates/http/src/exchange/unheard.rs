//! An answer that nobody waits for any more: its visitor has gone, or it took too long.
//!
//! The application goes on with it all the same, and could not begin another request meanwhile: so its place is kept
//! until it is done. Background jobs that a page starts with a request of its own (WordPress's cron) are such.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::fastcgi::{Answer, Cut, State};
use crate::pool::Lease;
use crate::stream::Stream;
use crate::worker::Worker;

/// For an application that was found stuck to be ended by whoever runs it.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Reads the rest of `answer`. After `within` its backend is stuck.
pub(super) async fn unheard(worker: Rc<Worker>, lease: Lease, backend: Stream, mut answer: Answer, within: Duration) {
    if rest(&mut answer, &worker, &backend, within).await.is_err() {
        let (name, id, seconds) = (&answer.backend, &answer.id, within.as_secs());
        tracing::warn!(backend = name, id, "still at a request that was given up {seconds} s ago: it is stuck");
        lease.stuck();
        let _ = rest(&mut answer, &worker, &backend, END_WITHIN).await;
    }
    if answer.state == State::Over {
        answer.leave(backend, &lease);
    }
}

/// Fails if it does not end in time.
async fn rest(answer: &mut Answer, worker: &Worker, backend: &Stream, within: Duration) -> Result<(), ()> {
    let until = Instant::now() + within;
    while answer.state == State::Going {
        let left = until.saturating_duration_since(Instant::now());
        answer.stdout.clear();
        if left.is_zero() || matches!(answer.more(backend, &worker.scratch, left).await, Err(Cut::Late)) {
            return Err(());
        }
    }
    Ok(())
}
