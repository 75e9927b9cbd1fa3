//! What a server sees of a rollout without asking the store each time.
//!
//! A watch may be silently behind: its member may be cut off from the others, and nobody tells. So whoever leads asks before
//! each decision, and everybody asks now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_site::wire::rollout::PREFIX;
use tokio::time::Instant;

use crate::store::{Entry, Error, Event, Store, Watch};

/// How old what the watch tells may be taken to be. It bounds what a silent watch costs: a turn that is seen late.
const ASK: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Sight {
    entries: BTreeMap<String, Entry>,
    watch: Watch,
    asked: Instant,
    lost: bool,
}

impl Sight {
    /// Asks, and watches from there on.
    pub(super) async fn new(store: &Store) -> Result<Sight, Error> {
        let asked = Instant::now();
        let (entries, revision) = store.list(PREFIX).await?;
        let watch = store.watch(PREFIX, revision);
        Ok(Sight { entries: entries.into_iter().collect(), watch, asked, lost: false })
    }

    /// How things are: as of now if `fresh`, else as the watch has told.
    pub(super) async fn look(&mut self, store: &Store, fresh: bool) -> Result<&BTreeMap<String, Entry>, Error> {
        while let Some(event) = self.watch.take() {
            self.note(event);
        }
        if fresh || self.lost || self.asked.elapsed() > ASK {
            let asked = Instant::now();
            self.entries = store.list(PREFIX).await?.0.into_iter().collect();
            self.asked = asked;
        }
        Ok(&self.entries)
    }

    /// Something has happened. May be dropped while it waits: nothing is lost.
    pub(super) async fn changed(&mut self) {
        let event = self.watch.next().await;
        self.note(event);
    }

    fn note(&mut self, event: Event) {
        match event {
            // Asked for meanwhile, it may be newer here than what is told of it.
            Event::Put { key, entry } => {
                let known = self.entries.get(&key).map(|known| known.changed);
                if known.is_none_or(|known| known <= entry.changed) {
                    self.entries.insert(key, entry);
                }
            }
            Event::Delete { key, at } => {
                if self.entries.get(&key).is_some_and(|known| known.changed <= at) {
                    self.entries.remove(&key);
                }
            }
            Event::Relisted { entries, .. } => self.entries = entries.into_iter().collect(),
            Event::Lost { .. } => self.lost = true,
            Event::Resumed => self.lost = false,
        }
    }
}
