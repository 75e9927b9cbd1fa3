//! The store that several servers share: etcd (3.4 and later), over TLS, known by certificate.
//!
//! Not used are etcd's locks, which do not exclude, and the client's own balancing, which knows no deadline: there is a
//! client for each member (`members`), and who does not answer in time is passed over.

mod admin;
mod members;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare as Is, CompareOp, GetOptions, KeyValue, PutOptions, Txn, TxnOp};
use mainstay_site::names::{Domain, ServerName};
use mainstay_site::secrets::KeyPair;

pub use self::admin::{Health, Listed};
use self::members::Members;
use super::{Answer, Compare, Coordination, Entry, Error, LeaseId, Revision, Swap, Watch, Write};

/// Between two signs of life on a connection, and until it counts as broken without one (HTTP/2 PING): what a watch hears
/// nothing of, since it only listens. Our etcd allows this (`--grpc-keepalive-min-time`).
const PING: Duration = Duration::from_secs(1);
/// What every etcd allows: its default is 5 s (etcd's configuration flags, `--grpc-keepalive-min-time`).
const PING_FOREIGN: Duration = Duration::from_secs(6);

/// The keys of one site in an etcd; cheap to clone.
#[derive(Clone)]
pub struct Etcd {
    members: Arc<Members>,
    /// `/foobar.com/`: several sites may share an etcd.
    root: Arc<str>,
}

impl Etcd {
    /// The keys of `site` in the etcd whose members listen at `endpoints`, of whom the first is asked first. `identity` is
    /// what is shown to them, `authority` the certificate of whoever signed theirs. Nobody is connected to yet.
    pub fn new(site: &Domain, endpoints: &[(ServerName, SocketAddr)], identity: &KeyPair, authority: &KeyPair) -> Etcd {
        Etcd::with(site, Members::new(endpoints, identity, &authority.certificate, PING))
    }

    /// The same in an etcd that somebody else runs, which may take frequent signs of life for a flood.
    pub fn foreign(site: &Domain, endpoints: &[(ServerName, SocketAddr)], identity: &KeyPair, authority: &str) -> Etcd {
        Etcd::with(site, Members::new(endpoints, identity, authority, PING_FOREIGN))
    }

    fn with(site: &Domain, members: Members) -> Etcd {
        Etcd { members: Arc::new(members), root: format!("/{site}/").into() }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    /// A key as it is known outside, with what it holds.
    fn entry(&self, kv: &KeyValue) -> (String, Entry) {
        let key = String::from_utf8_lossy(kv.key());
        let key = key.strip_prefix(&*self.root).unwrap_or(&key).to_owned();
        (key, entry(kv))
    }

    async fn listed(&self, prefix: &str) -> Result<(Vec<(String, Entry)>, Revision), Error> {
        let prefix = self.key(prefix);
        let found = self.members.ask(move |mut client| {
            let prefix = prefix.clone();
            async move { client.get(prefix, Some(GetOptions::new().with_prefix())).await }
        });
        let found = found.await?;
        let at = revision(found.header().map_or(0, |header| header.revision()));
        Ok((found.kvs().iter().map(|kv| self.entry(kv)).collect(), at))
    }

    /// What the member that is asked has of a key: it may be behind what they agree on, and needs no majority.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn known(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.found(key, GetOptions::new().with_serializable()).await
    }

    async fn found(&self, key: &str, options: GetOptions) -> Result<Option<Entry>, Error> {
        let key = self.key(key);
        let found = self.members.ask(move |mut client| {
            let (key, options) = (key.clone(), options.clone());
            async move { client.get(key, Some(options)).await }
        });
        Ok(found.await?.kvs().first().map(entry))
    }

    fn compare(&self, compare: &Compare) -> Is {
        match compare {
            Compare::Created(key, at) => Is::create_revision(self.key(key), CompareOp::Equal, signed(*at)),
            Compare::Changed(key, at) => Is::mod_revision(self.key(key), CompareOp::Equal, signed(*at)),
            // A key that does not exist has 0 (etcd API reference, Compare).
            Compare::Absent(key) => Is::create_revision(self.key(key), CompareOp::Equal, 0),
        }
    }

    fn operation(&self, write: &Write) -> TxnOp {
        match write {
            Write::Put { key, value, lease } => {
                let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
                TxnOp::put(self.key(key), value.clone(), options)
            }
            Write::Delete(key) => TxnOp::delete(self.key(key), None),
        }
    }
}

fn entry(kv: &KeyValue) -> Entry {
    Entry {
        value: kv.value().to_vec(),
        created: revision(kv.create_revision()),
        changed: revision(kv.mod_revision()),
        lease: (kv.lease() != 0).then(|| LeaseId(kv.lease())),
    }
}

/// etcd counts up from 1 and never gets near the sign.
fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}

/// A revision that etcd cannot have had is one that no key has.
fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

impl Coordination for Etcd {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(self.found(key, GetOptions::new()))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, (Vec<(String, Entry)>, Revision)> {
        Box::pin(self.listed(prefix))
    }

    fn transact<'a>(&'a self, compares: &'a [Compare], writes: &'a [Write]) -> Answer<'a, Swap> {
        let compares: Vec<Is> = compares.iter().map(|compare| self.compare(compare)).collect();
        let operations: Vec<TxnOp> = writes.iter().map(|write| self.operation(write)).collect();
        let transaction = Txn::new().when(compares).and_then(operations);
        Box::pin(async move {
            let done = self.members.tell(move |mut client| {
                let transaction = transaction.clone();
                async move { client.txn(transaction).await }
            });
            let done = done.await?;
            let at = revision(done.header().map_or(0, |header| header.revision()));
            Ok(if done.succeeded() { Swap::Done(at) } else { Swap::Conflict })
        })
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        let (etcd, prefix) = (self.clone(), prefix.to_owned());
        Watch::fed(|events| watch::follow(etcd, prefix, after, events))
    }

    fn grant(&self, ttl: Duration) -> Answer<'_, (LeaseId, Duration)> {
        // Whole seconds, and not less than was asked.
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        Box::pin(async move {
            // Asked twice, one of the two ends by itself.
            let granted =
                self.members.ask(move |mut client| async move { client.lease_grant(seconds, None).await }).await?;
            let ttl = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or(0));
            Ok((LeaseId(granted.id()), ttl))
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(async move {
            // It returns with the first answer, and the stream ends with it.
            let kept = self.members.ask(move |mut client| async move { client.lease_keep_alive(lease.0).await });
            kept.await.map(drop)
        })
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(async move {
            let ended = self.members.ask(move |mut client| async move { client.lease_revoke(lease.0).await });
            match ended.await {
                Ok(_) | Err(Error::LeaseEnded) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }
}
