//! What is told of the cluster, and orders to it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_site::names::ServerName;
use mainstay_site::plan::DatabaseRole;
use mainstay_site::wire::database::{
    CLUSTER, Cluster, LEADER, Leader, Member, Mode, ORDERS, Order, PREFIX, Wish, decode, encode, member_of,
};
use mainstay_site::wire::upkeep::{Agreed, Local, View};
use mysql_async::Row;
use mysql_async::prelude::FromValue;
use tokio::time::timeout;

use super::error::Error;
use super::folder::{Folder, spoken};
use super::session::Session;
use super::{Scene, hold};
use crate::database::cluster::{REFUSED, REPLICAS};
use crate::store::{Compare, Entry, Error as StoreError, Store, Swap, Write};

/// A server that takes longer is said not to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// An order that nobody has begun to carry out by then is gone: it would surprise everybody when its server comes back hours
/// later. A handover has a second, a promotion begins when the lease of the one before has ended, 3 s if nothing else is
/// declared.
const ORDER_STANDS: Duration = Duration::from_secs(15);

/// How the cluster is.
pub async fn view(scene: &Scene) -> View {
    let report = scene.reporter.told();
    let declared_primary = match &scene.config.role {
        DatabaseRole::Primary => scene.launch.server.clone(),
        DatabaseRole::Replica { of, .. } => of.clone(),
    };
    let told = |fact: &str| report.facts.iter().find(|(what, _)| what == fact).map(|(_, said)| said.clone());
    let replicas = told(REPLICAS).unwrap_or_default();
    let store = match &scene.store {
        Some(store) => Some(agreed(store).await),
        None => None,
    };
    View {
        server: scene.launch.server.clone(),
        state: report.state,
        because: report.because.clone(),
        local: timeout(PATIENCE, local(scene)).await.ok().and_then(Result::ok),
        declared_primary,
        store,
        backup: last_backup(scene),
        replicas: replicas.split_terminator(", ").map(ServerName::from).collect(),
        refused: told(REFUSED),
    }
}

fn last_backup(scene: &Scene) -> Option<String> {
    let declared = scene.config.backup.as_ref()?;
    let fulls = Folder::new(declared.to.clone().into()).fulls().ok()?;
    Some(fulls.last().map_or("none yet".into(), |full| {
        format!("{} UTC, {}", spoken(full.about.taken_s), full.about.tested.as_deref().unwrap_or("not tested"))
    }))
}

async fn local(scene: &Scene) -> Result<Local, Error> {
    let mut session = Session::own(scene.launch.server.as_str(), &scene.places.socket, scene.password()).await?;
    let seen: Option<(u8, String)> = session.first("SELECT @@global.read_only, @@global.gtid_current_pos").await?;
    let replication: Option<Row> = session.first("SHOW SLAVE STATUS").await?;
    session.close().await;
    let (read_only, gtid) = seen.unwrap_or_default();
    let text = |name: &str| replication.as_ref().and_then(|row| column::<String>(row, name));
    let error = ["Last_SQL_Error", "Last_IO_Error"].into_iter().filter_map(text).find(|error| !error.is_empty());
    Ok(Local {
        read_only: read_only != 0,
        gtid,
        source: text("Master_Host").filter(|source| !source.is_empty()),
        lag_s: replication.as_ref().and_then(|row| column(row, "Seconds_Behind_Master")),
        replication_error: error,
    })
}

fn column<T: FromValue>(row: &Row, name: &str) -> Option<T> {
    let at = row.columns_ref().iter().position(|column| column.name_str() == name)?;
    row.get_opt::<Option<T>, _>(at)?.ok()?
}

async fn agreed(store: &Store) -> Agreed {
    let nothing = Agreed { unreachable: None, leader: None, cluster: None, members: BTreeMap::new(), order: None };
    match store.list(PREFIX).await {
        Ok((entries, _)) => read(nothing, &entries),
        Err(StoreError::Unreachable(why)) => Agreed { unreachable: Some(why), ..nothing },
        Err(why) => Agreed { unreachable: Some(why.to_string()), ..nothing },
    }
}

/// What cannot be read is left out: it is another build's.
fn read(mut agreed: Agreed, entries: &[(String, Entry)]) -> Agreed {
    for (key, entry) in entries {
        let value = &entry.value;
        match key.as_str() {
            LEADER => agreed.leader = decode::<Leader>(key, value).ok().map(|leader| (leader, entry.created.0)),
            CLUSTER => agreed.cluster = decode::<Cluster>(key, value).ok(),
            ORDERS => agreed.order = decode::<Order>(key, value).ok(),
            _ => {
                let member = member_of(key).zip(decode::<Member>(key, value).ok());
                agreed.members.extend(member.map(|(server, member)| (server.0, member)));
            }
        }
    }
    agreed
}

/// Writes an order, if none waits.
///
/// # Errors
/// There is no coordination, nobody could carry it out, an order waits already, or the store does not answer.
pub async fn order(scene: &Scene, wish: Wish) -> Result<(), Error> {
    let alone = "the servers of this site agree on nothing: the primary is the first database server of the declaration. \
                 With failover = \"automatic\" and three servers they do";
    let store = scene.store.as_ref().ok_or_else(|| Error::Impossible(alone.into()))?;
    if let Some(why) = senseless(&wish, scene, store).await? {
        return Err(Error::Impossible(why));
    }
    let asked_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let planned = matches!(wish, Wish::Switchover { .. });
    let hold = if planned { hold::begin(store, &scene.config.applications).await? } else { None };
    let stands = ORDER_STANDS.max(Duration::from_millis(2 * scene.config.lease_ms));
    let written = write(store, &Order { wish, asked_ms }, stands).await;
    if let Some(hold) = hold {
        let (store, ordered) = (store.clone(), matches!(written, Ok(Swap::Done(_))));
        tokio::spawn(async move { if ordered { hold.end_when_led(&store).await } else { hold.end().await } });
    }
    match written? {
        Swap::Done(_) => Ok(()),
        Swap::Conflict => {
            Err(Error::Impossible("another order is being carried out; `mainstay db status` shows which".into()))
        }
    }
}

/// The lease is not kept alive: the order ends with it.
async fn write(store: &Store, order: &Order, stands: Duration) -> Result<Swap, StoreError> {
    let lease = store.grant(stands).await?;
    let write = Write::Put { key: ORDERS.into(), value: encode(order), lease: Some(lease.id()) };
    store.transact(&[Compare::Absent(ORDERS.into())], &[write]).await
}

/// Why nobody could carry it out; said before visitors are held for it.
async fn senseless(wish: &Wish, scene: &Scene, store: &Store) -> Result<Option<String>, StoreError> {
    let named = match wish {
        Wish::Switchover { to } | Wish::Failover { to, .. } => to.as_ref(),
        Wish::Rejoin { server } => Some(server),
    };
    let cluster = store.get(CLUSTER).await?.and_then(|entry| decode::<Cluster>(CLUSTER, &entry.value).ok());
    let nobody = |cluster: &Cluster| cluster.mode != Mode::Async && cluster.sync.is_empty();
    if matches!(wish, Wish::Switchover { .. }) && cluster.as_ref().is_some_and(nobody) {
        let why = "no replica acknowledges now, so none can take the primary's place without loss; `mainstay db status` shows why";
        return Ok(Some(why.into()));
    }
    let Some(named) = named else { return Ok(None) };
    let names: Vec<&str> = scene.config.members.iter().map(|member| member.server.as_str()).collect();
    if !names.contains(&named.0.as_str()) {
        return Ok(Some(format!("there is no database server called {named}; there are {}", names.join(", "))));
    }
    let leader = store.get(LEADER).await?.and_then(|entry| decode::<Leader>(LEADER, &entry.value).ok());
    let leads = leader.is_some_and(|leader| leader.server == *named);
    Ok(match wish {
        Wish::Switchover { .. } if leads => Some(format!("{named} is the primary already")),
        Wish::Rejoin { .. } if leads => {
            Some(format!("{named} is the primary, whose data the others copy; `mainstay db switchover` moves it first"))
        }
        _ => None,
    })
}
