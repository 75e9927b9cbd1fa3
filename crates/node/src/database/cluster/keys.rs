//! The machine's keys and transactions in the store's terms, and back.

use mainstay_machines::election::{
    Change, Cluster, Compare, Entry, Key, Mirror, Revision, Server, Swap, Transaction, Value, Write,
};
use mainstay_site::wire::database::{CLUSTER, LEADER, ORDERS, Unreadable, decode, encode, member_key, member_of};
use serde::de::DeserializeOwned;

use crate::clock::unix_ms;
use crate::store::{self, LeaseId};

fn name(key: &Key) -> String {
    match key {
        Key::Leader => LEADER.to_owned(),
        Key::Cluster => CLUSTER.to_owned(),
        Key::Order => ORDERS.to_owned(),
        Key::Member(server) => member_key(server),
    }
}

/// What a transaction compares.
pub fn compares(transaction: &Transaction) -> Vec<store::Compare> {
    let compare = |compare: &Compare| match compare {
        Compare::Absent(key) => store::Compare::Absent(name(key)),
        Compare::Created(key, at) => store::Compare::Created(name(key), store::Revision(at.0)),
        Compare::Changed(key, at) => store::Compare::Changed(name(key), store::Revision(at.0)),
    };
    transaction.compares.iter().map(compare).collect()
}

/// Whether it writes the leader's key, which lives by a lease.
pub fn needs_lease(transaction: &Transaction) -> bool {
    transaction.writes.iter().any(|write| matches!(write, Write::Leader(_)))
}

/// What a transaction writes; the leader's key lives by `lease`.
pub fn writes(transaction: &Transaction, lease: Option<LeaseId>) -> Vec<store::Write> {
    let put = |key: &Key, value: Vec<u8>, lease| store::Write::Put { key: name(key), value, lease };
    let write = |write: &Write| match write {
        Write::Leader(leader) => put(&Key::Leader, encode(leader), lease),
        Write::Cluster(cluster) => put(&Key::Cluster, encode(&dated(cluster)), None),
        Write::Member(server, member) => put(&Key::Member(server.clone()), encode(member), None),
        Write::Delete(key) => store::Write::Delete(name(key)),
    };
    transaction.writes.iter().map(write).collect()
}

/// With the time of the reign that is being written down: the machine has no clock.
fn dated(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    if let Some(newest) = cluster.history.last_mut().filter(|reign| reign.at_ms == 0) {
        newest.at_ms = unix_ms();
    }
    cluster
}

/// What became of a transaction.
pub fn swap(answer: Result<store::Swap, store::Error>) -> Swap {
    match answer {
        Ok(store::Swap::Done(at)) => Swap::Done(revision(at)),
        Ok(store::Swap::Conflict) => Swap::Conflict,
        // Who was not reached did nothing; to look again before trying again is right for that too.
        Err(error) => {
            tracing::warn!("{error}");
            Swap::Unknown
        }
    }
}

/// Everything that the store holds, as of `at`.
///
/// # Errors
/// A value of a newer build, or none that was written by a Mainstay.
pub fn mirror(entries: &[(String, store::Entry)], at: store::Revision) -> Result<Mirror, Unreadable> {
    let mut mirror = Mirror { at: revision(at), ..Mirror::default() };
    for (key, entry) in entries {
        match value(key, Some(entry))? {
            Some(Value::Leader(leader)) => mirror.leader = leader,
            Some(Value::Cluster(cluster)) => mirror.cluster = cluster,
            Some(Value::Order(order)) => mirror.order = order,
            Some(Value::Member(server, Some(member))) => {
                mirror.members.insert(server, member);
            }
            Some(Value::Member(_, None)) | None => {}
        }
    }
    Ok(mirror)
}

/// A change of one key; `None` if it is none of the machine's.
///
/// # Errors
/// As [`mirror`].
pub fn change(key: &str, entry: Option<&store::Entry>, at: store::Revision) -> Result<Option<Change>, Unreadable> {
    Ok(value(key, entry)?.map(|now| Change { at: revision(at), now }))
}

fn value(key: &str, entry: Option<&store::Entry>) -> Result<Option<Value>, Unreadable> {
    let member: Option<Server> = member_of(key);
    Ok(match (key, member) {
        (LEADER, _) => Some(Value::Leader(read(key, entry)?)),
        (CLUSTER, _) => Some(Value::Cluster(read(key, entry)?)),
        (ORDERS, _) => Some(Value::Order(read(key, entry)?)),
        (_, Some(server)) => Some(Value::Member(server, read(key, entry)?)),
        _ => None,
    })
}

fn read<T: DeserializeOwned>(key: &str, entry: Option<&store::Entry>) -> Result<Option<Entry<T>>, Unreadable> {
    let Some(entry) = entry else { return Ok(None) };
    let (created, changed) = (revision(entry.created), revision(entry.changed));
    Ok(Some(Entry { value: decode(key, &entry.value)?, created, changed }))
}

fn revision(at: store::Revision) -> Revision {
    Revision(at.0)
}
