//! How a member without data comes to be one.

use std::time::Duration;

use mainstay_machines::Time;
use mainstay_site::plan;

use super::Error;
use super::arguments::{Entry, url};
use super::places::Places;
use crate::store::{self, Etcd, Write, etcd::Listed};

/// How long others are looked for before a new store is begun: those that have data answer within three seconds when all
/// servers are switched on together, of which one may have lost its disk.
pub const LOOK_AROUND: Duration = Duration::from_secs(4);

/// The key that says that a member has been one: without its data it is another one.
pub fn joined_key(id: u64) -> String {
    format!("store/joined/{id:x}")
}

/// What to do, if that is known yet. `others` is the store without this member, `None` if there are none; `since` is when
/// they were first asked.
pub async fn decide(
    places: &Places,
    config: &plan::Store,
    others: Option<&Etcd>,
    since: Time,
    now: Time,
) -> Result<Option<Entry>, Error> {
    let Some(others) = others else { return Ok(Some(Entry::Found)) };
    match others.roster().await {
        Ok(listed) => enter(places, others, listed).await.map(Some),
        Err(because) if places.was_member() => {
            Err(Error::Alone { because, marker: places.marker.display().to_string() })
        }
        // There is a store: its members are to be found, however long that takes.
        Err(_) if !config.former.is_empty() => Ok(None),
        Err(_) if !places.is_first() && now.since(since) < LOOK_AROUND => Ok(None),
        Err(_) => Ok(Some(Entry::Found)),
    }
}

/// Comes into a store that is there, as somebody new if this server was a member before.
async fn enter(places: &Places, others: &Etcd, listed: Vec<Listed>) -> Result<Entry, Error> {
    let own = url(places.own.peer);
    if let Some(before) = listed.iter().find(|one| one.peers.contains(&own)) {
        if !places.was_member() && others.find(&joined_key(before.id)).await?.is_none() {
            return Ok(Entry::Join(listed));
        }
        tracing::warn!(
            "the data of this member is gone: it is put out and let in anew, since it does not know what it voted for"
        );
        others.put_out(before.id).await?;
        others.forget(&joined_key(before.id)).await?;
        // The next look finds it put out, and whoever led before has told the others.
    }
    others.let_in(&own).await?;
    std::fs::remove_file(&places.marker)
        .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    Ok(Entry::Join(others.roster().await?))
}

impl Etcd {
    async fn find(&self, key: &str) -> Result<Option<store::Entry>, store::Error> {
        store::Coordination::get(self, key).await
    }

    async fn forget(&self, key: &str) -> Result<(), store::Error> {
        store::Coordination::transact(self, &[], &[Write::Delete(key.into())]).await.map(drop)
    }
}
