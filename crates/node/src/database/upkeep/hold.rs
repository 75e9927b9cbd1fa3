//! Has visitors' requests held while the primary's place is handed over ([`mainstay_site::wire::hold`]).

use std::time::{Duration, Instant};

use mainstay_site::names::ServerName;
use mainstay_site::wire::database::{CLUSTER, Cluster, LEADER, Leader, ORDERS, decode};
use mainstay_site::wire::hold::{HOLD, quiet_key};
use tokio::time::sleep;

use crate::store::{Compare, Error, Lease, Revision, Store, Swap, Write};

/// The hold ends with its lease if nobody ends it before: as long as a request waits at most.
const LEASE: Duration = Duration::from_secs(10);
/// For requests under way to end; after that the switchover goes on, and who is still at it sees its connection cut.
const QUIET_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// A hold in force. Dropped, it ends with its lease.
pub struct Hold {
    lease: Lease,
    since: Instant,
}

/// Begins to hold and waits until every application server is quiet, or long enough. `None` if others hold already.
///
/// # Errors
/// The store does not answer.
pub async fn begin(store: &Store, servers: &[ServerName]) -> Result<Option<Hold>, Error> {
    let (since, lease) = (Instant::now(), store.grant(LEASE).await?);
    let write = Write::Put { key: HOLD.into(), value: Vec::new(), lease: Some(lease.id()) };
    let Swap::Done(revision) = store.transact(&[Compare::Absent(HOLD.into())], &[write]).await? else {
        return Ok(None);
    };
    let loud = wait(store, servers, revision, since).await;
    if !loud.is_empty() {
        tracing::warn!(?loud, "went on without waiting for these servers to be quiet");
    }
    Ok(Some(Hold { lease, since }))
}

/// Who is not quiet in time.
async fn wait(store: &Store, servers: &[ServerName], revision: Revision, since: Instant) -> Vec<ServerName> {
    let mut loud = servers.to_vec();
    while !loud.is_empty() && since.elapsed() < QUIET_WITHIN {
        let mut still = Vec::new();
        for server in loud {
            let said = store.get(&quiet_key(&server)).await.ok().flatten();
            if said.is_none_or(|said| said.value != revision.to_string().into_bytes()) {
                still.push(server);
            }
        }
        loud = still;
        if !loud.is_empty() {
            sleep(LOOK).await;
        }
    }
    loud
}

impl Hold {
    /// Ends it once the order is gone from the store and a recorded primary leads, or when it has lasted long enough.
    pub async fn end_when_led(self, store: &Store) {
        while self.since.elapsed() < LEASE && !is_led(store).await.unwrap_or(false) {
            sleep(LOOK).await;
        }
        self.end().await;
    }

    /// Ends it.
    pub async fn end(self) {
        if let Err(why) = self.lease.revoke().await {
            tracing::warn!(%why, "requests are held until the lease ends");
        }
    }
}

async fn is_led(store: &Store) -> Result<bool, Error> {
    if store.get(ORDERS).await?.is_some() {
        return Ok(false);
    }
    let (leader, cluster) = (store.get(LEADER).await?, store.get(CLUSTER).await?);
    let epoch = leader.as_ref().map(|entry| entry.created.0);
    let leader = leader.and_then(|entry| decode::<Leader>(LEADER, &entry.value).ok());
    let cluster = cluster.and_then(|entry| decode::<Cluster>(CLUSTER, &entry.value).ok());
    Ok(leader.zip(cluster).is_some_and(|(leader, cluster)| {
        !cluster.designated && cluster.primary == leader.server && Some(cluster.epoch.0) == epoch
    }))
}
