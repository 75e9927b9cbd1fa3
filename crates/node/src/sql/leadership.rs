//! Who leads, as the store has it.

use std::sync::Arc;
use std::time::Duration;

use mainstay_site::wire::database::{LEADER, Leader, decode};
use tokio::time::sleep;

use super::choice::{Leadership, Source};
use super::servers::Servers;
use crate::store::{Entry, Event, Store};

/// Until a store that does not answer is asked again: connections wait for it.
pub const RETRY: Duration = Duration::from_millis(200);

/// Follows the leader's key for ever.
pub async fn follow(store: Store, servers: Arc<Servers>) {
    let (entries, at) = loop {
        match store.list(LEADER).await {
            Ok(listed) => break listed,
            Err(why) => {
                tracing::warn!(%why, "who leads is not known");
                sleep(RETRY).await;
            }
        }
    };
    relist(&servers, &entries);
    let mut watch = store.watch(LEADER, at);
    loop {
        let known = servers.leadership();
        match watch.next().await {
            Event::Put { key, entry } if key == LEADER => servers.follow(read(&servers, &entry)),
            Event::Delete { key, .. } if key == LEADER => {
                servers.follow(Leadership { leader: None, source: Source::Store, ..known });
            }
            Event::Relisted { entries, .. } => relist(&servers, &entries),
            Event::Lost { because } => {
                tracing::warn!(because, "the store that knows who leads does not answer");
                servers.follow(Leadership { source: Source::StoreLost, ..known });
            }
            Event::Resumed => servers.follow(Leadership { source: Source::Store, ..known }),
            Event::Put { .. } | Event::Delete { .. } => {}
        }
    }
}

fn relist(servers: &Servers, entries: &[(String, Entry)]) {
    let known = servers.leadership();
    let nobody = Leadership { leader: None, source: Source::Store, ..known };
    let leader = entries.iter().find(|(key, _)| key == LEADER);
    servers.follow(leader.map_or(nobody, |(_, entry)| read(servers, entry)));
}

/// A leader that this plan does not know leads all the same: nobody else may be written to.
fn read(servers: &Servers, entry: &Entry) -> Leadership {
    let leader = decode::<Leader>(LEADER, &entry.value);
    let place = leader.as_ref().ok().and_then(|leader| servers.place(leader.server.0.as_str()));
    if place.is_none() {
        tracing::warn!(?leader, "this plan does not know the leader");
    }
    Leadership { leader: place, epoch: entry.created.0, source: Source::Store }
}
