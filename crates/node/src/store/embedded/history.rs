//! What happened lately, for those who watch. It is not in the file: after a start, and to who falls far behind, the state is
//! told as a whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Embedded;
use crate::clock::boot_time;
use crate::store::{Event, Revision};

/// Changes that are remembered: far more than a watcher is ever behind.
const CHANGES_MAX: usize = 1024;
/// Between two tries to read a file that cannot be read.
const RETRY: Duration = Duration::from_millis(500);

/// The last changes, oldest first.
pub(super) struct History {
    changes: VecDeque<(u64, Event)>,
    /// Up to this revision nothing is known.
    forgotten: u64,
}

impl History {
    pub(super) fn since(revision: u64) -> History {
        History { changes: VecDeque::new(), forgotten: revision }
    }

    pub(super) fn note(&mut self, revision: u64, events: Vec<Event>) {
        self.changes.extend(events.into_iter().map(|event| (revision, event)));
        while self.changes.len() > CHANGES_MAX {
            if let Some((gone, _)) = self.changes.pop_front() {
                self.forgotten = gone;
            }
        }
    }

    /// What happened below `prefix` after `after`; `None` if that is forgotten.
    fn after(&self, prefix: &str, after: Revision) -> Option<Vec<Event>> {
        let below = |event: &Event| match event {
            Event::Put { key, .. } | Event::Delete { key, .. } => key.starts_with(prefix),
            Event::Relisted { .. } | Event::Lost { .. } | Event::Resumed => false,
        };
        let known = self.changes.iter().filter(|(revision, event)| *revision > after.0 && below(event));
        (after.0 >= self.forgotten).then(|| known.map(|(_, event)| event.clone()).collect())
    }
}

/// Tells `events` what happens below `prefix` after `after`, until nobody listens.
pub(super) async fn follow(store: Arc<Embedded>, prefix: String, mut after: Revision, events: mpsc::Sender<Event>) {
    let mut last = store.last.subscribe();
    loop {
        let known = Revision(*last.borrow_and_update());
        let Ok(told) = news(&store, &prefix, &mut after, known) else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        for event in told {
            if events.send(event).await.is_err() {
                return;
            }
        }
        let end = store.next_end().since(boot_time());
        // Somebody must end the leases in time, and nobody else may be asking.
        let looked = tokio::time::timeout(end, last.changed()).await;
        if looked.is_err() && store.expire().is_err() {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// What is new after `after`, which becomes `known`.
fn news(store: &Embedded, prefix: &str, after: &mut Revision, known: Revision) -> Result<Vec<Event>, super::Error> {
    let told = store.memory().history.after(prefix, *after);
    match told {
        Some(events) => {
            // More may have happened since: it is in the answer too, and must not be told twice.
            let newest = events.iter().map(revision).max().unwrap_or_default();
            *after = (*after).max(known).max(newest);
            Ok(events)
        }
        None => {
            let (entries, at) = store.list(prefix)?;
            *after = at;
            Ok(vec![Event::Relisted { entries, at }])
        }
    }
}

fn revision(event: &Event) -> Revision {
    match event {
        Event::Put { entry, .. } => entry.changed,
        Event::Delete { at, .. } | Event::Relisted { at, .. } => *at,
        Event::Lost { .. } | Event::Resumed => Revision(0),
    }
}
