//! Connections to backends that wait for their next request; each thread has its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::{Duration, Instant};

use crate::pool::Lease;
use crate::stream::{Address, Stream};

/// Idle connections kept per backend and thread: more than a core keeps busy at a time are of no use.
const KEPT_MAX: usize = 64;
/// An idle connection older than this is not used again: granian and nginx close theirs after 60 s and more, and asking
/// one that is just being closed costs a retry.
const AGE_MAX: Duration = Duration::from_secs(30);

/// The idle connections of a thread, by where they lead.
#[derive(Default)]
pub(crate) struct Idle(RefCell<HashMap<Arc<Address>, Vec<Kept>>>);

/// A connection and since when it waits.
type Kept = (Stream, Instant);

impl Idle {
    /// A connection that may be used again, the youngest first. `once`: the request must not be sent twice.
    pub(crate) fn take(&self, lease: &Lease, once: bool) -> Option<Stream> {
        let mut all = self.0.borrow_mut();
        let kept = all.get_mut(&lease.address)?;
        while let Some((stream, since)) = kept.pop() {
            let quiet = if once { stream.is_quiet() } else { stream.seems_quiet() };
            if quiet && since.elapsed() < AGE_MAX {
                return Some(stream);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, lease: &Lease, stream: Stream) {
        if !stream.is_reusable() {
            return;
        }
        let mut all = self.0.borrow_mut();
        let kept = all.entry(lease.address.clone()).or_default();
        if kept.len() == KEPT_MAX {
            kept.remove(0);
        }
        kept.push((stream, Instant::now()));
    }

    /// Closes what has waited too long.
    pub(crate) fn sweep(&self) {
        self.0.borrow_mut().retain(|_, kept| {
            kept.retain(|(_, since)| since.elapsed() < AGE_MAX);
            !kept.is_empty()
        });
    }
}
