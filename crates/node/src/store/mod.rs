//! Coordination: what the servers of a site agree on.
//!
//! A few small keys with revisions, changed by transactions that compare; watches that lose nothing; leases that end by
//! themselves. Behind [`Store`] is whoever keeps it: [`Embedded`] on one server, etcd on several. Keys are relative to the
//! site: `database/leader`.

pub mod embedded;
pub mod etcd;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_site::names::{Domain, ServerName};
use mainstay_site::secrets::{Secrets, StoreAccess};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use embedded::Embedded;
pub use etcd::Etcd;

use crate::clock::boot_time;

/// The number of a change: every transaction that writes gets the next one, for all keys together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub i64);

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// When the key was made; after a deletion it is made anew.
    pub created: Revision,
    /// When it was last written.
    pub changed: Revision,
    /// What it lives by; for ever if `None`.
    pub lease: Option<LeaseId>,
}

/// What must be true for a transaction to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key exists and was made at this revision.
    Created(String, Revision),
    /// The key exists and was last written at this revision.
    Changed(String, Revision),
    /// The key does not exist.
    Absent(String),
}

/// What a transaction does. A key may be in one write of a transaction only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Writes a key.
    Put {
        /// Which.
        key: String,
        /// What.
        value: Vec<u8>,
        /// It is deleted when this ends.
        lease: Option<LeaseId>,
    },
    /// Deletes a key; nothing happens if there is none.
    Delete(String),
}

/// The answer to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// Done, as this revision.
    Done(Revision),
    /// Something was not as compared; nothing is changed.
    Conflict,
}

/// What a watch tells, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was written.
    Put {
        /// Which.
        key: String,
        /// What it holds now.
        entry: Entry,
    },
    /// A key was deleted, or its lease ended.
    Delete {
        /// Which.
        key: String,
        /// By which change.
        at: Revision,
    },
    /// What happened meanwhile is forgotten (compacted); this is how things are. A key that is not listed does not exist.
    Relisted {
        /// Every key below the prefix.
        entries: Vec<(String, Entry)>,
        /// As of this change.
        at: Revision,
    },
    /// Nobody can be reached who would know; what was told before may be out of date.
    Lost {
        /// Why.
        because: String,
    },
    /// Reached again. What happened meanwhile comes next, if anything did.
    Resumed,
}

/// Why the store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nobody took the request; nothing is changed.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// The request was sent and the answer is missing: it may have been done. Look before trying again.
    #[error("whether the store did it is not known: {0}")]
    Unknown(String),
    /// The lease has ended.
    #[error("the lease has ended")]
    LeaseEnded,
    /// The store understood and refused.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// Certificates that cannot be used.
    #[error("the certificates for the store cannot be used: {0}")]
    Certificates(String),
    /// The file of the embedded one.
    #[error(transparent)]
    Embedded(#[from] Arc<embedded::Error>),
}

/// What a store answers, sooner or later; every answer has a deadline of about a second.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Whoever keeps the keys.
pub trait Coordination: Send + Sync {
    /// What a key holds, as of now: no answer is older than the question.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>>;
    /// Every key that begins with `prefix`, sorted, and as of which change.
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, (Vec<(String, Entry)>, Revision)>;
    /// Does all of `writes` if all of `compares` are true, else nothing.
    fn transact<'a>(&'a self, compares: &'a [Compare], writes: &'a [Write]) -> Answer<'a, Swap>;
    /// What happens below `prefix` after the change `after`.
    fn watch(&self, prefix: &str, after: Revision) -> Watch;
    /// Makes a lease; returns for how long it was made, which may be longer than asked.
    fn grant(&self, ttl: Duration) -> Answer<'_, (LeaseId, Duration)>;
    /// Has a lease begin anew, for as long as it was made.
    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, ()>;
    /// Ends a lease, which deletes its keys.
    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()>;
}

/// The store of a site; cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<dyn Coordination>);

impl Store {
    /// The store that the servers of `site` agree by: `endpoints` of the plan, reached as `server`, whose identity is among
    /// `secrets`. `None` without endpoints: there is nothing to agree on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Certificates`]; whether anybody can be reached shows only when something is asked.
    pub fn of(
        site: &Domain,
        server: &ServerName,
        endpoints: &[(ServerName, SocketAddr)],
        secrets: &Secrets,
    ) -> Result<Option<Store>, Error> {
        if endpoints.is_empty() {
            return Ok(None);
        }
        if let Some(StoreAccess { authority, identity }) = &secrets.store {
            return Ok(Some(Store::new(Etcd::foreign(site, endpoints, identity, authority))));
        }
        let identity = secrets.identities.get(server).zip(secrets.authority.as_ref());
        let (identity, authority) = identity
            .ok_or_else(|| Error::Certificates(format!("there is none of {site} for {server} among the secrets")))?;
        Ok(Some(Store::new(Etcd::new(site, endpoints, identity, authority))))
    }

    /// The store that `keeper` keeps.
    pub fn new(keeper: impl Coordination + 'static) -> Store {
        Store(Arc::new(keeper))
    }

    /// What a key holds, as of now.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.0.get(key).await
    }

    /// Every key that begins with `prefix`, sorted, and as of which change.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn list(&self, prefix: &str) -> Result<(Vec<(String, Entry)>, Revision), Error> {
        self.0.list(prefix).await
    }

    /// Does all of `writes` if all of `compares` are true, else nothing.
    ///
    /// # Errors
    /// See [`Error`]; after [`Error::Unknown`] it may have been done.
    pub async fn transact(&self, compares: &[Compare], writes: &[Write]) -> Result<Swap, Error> {
        self.0.transact(compares, writes).await
    }

    /// What happens below `prefix` after the change `after` (of [`Store::list`]). Must be called within a tokio runtime.
    pub fn watch(&self, prefix: &str, after: Revision) -> Watch {
        self.0.watch(prefix, after)
    }

    /// Makes a lease of at least `ttl` (etcd counts whole seconds). It ends unless it is kept alive.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let asked = boot_time();
        let (id, ttl) = self.0.grant(ttl).await?;
        Ok(Lease { store: self.clone(), id, ttl, deadline: asked + ttl })
    }
}

/// A lease that this process holds. Dropped, it ends by itself at its time.
pub struct Lease {
    store: Store,
    id: LeaseId,
    ttl: Duration,
    deadline: Time,
}

impl Lease {
    /// Its number, for [`Write::Put`].
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// For how long it was made.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// How often it is to be kept alive: an etcd whose leader is lost elects another one for up to two seconds, in which it
    /// keeps nothing alive. Of a lease of three seconds that was last kept alive half a second before, a half is left then; with a
    /// beat of a third, a second, nothing need be.
    pub fn beat(&self) -> Duration {
        self.ttl / 6
    }

    /// Until when nobody else can think that it has ended, on [`boot_time`]: counted from before the request was sent.
    pub fn deadline(&self) -> Time {
        self.deadline
    }

    /// Has it begin anew; returns the new deadline.
    ///
    /// # Errors
    /// [`Error::LeaseEnded`]; any other leaves the deadline where it was and may be tried again.
    pub async fn keep_alive(&mut self) -> Result<Time, Error> {
        let asked = boot_time();
        self.store.0.keep_alive(self.id).await?;
        self.deadline = self.deadline.max(asked + self.ttl);
        Ok(self.deadline)
    }

    /// Ends it, which deletes its keys at once.
    ///
    /// # Errors
    /// See [`Error`]; it then ends by itself.
    pub async fn revoke(self) -> Result<(), Error> {
        self.store.0.revoke(self.id).await
    }
}

/// A watch. Dropped, it ends.
pub struct Watch {
    events: mpsc::Receiver<Event>,
    task: tokio::task::JoinHandle<()>,
}

/// Events that wait to be taken; a watcher that is slower holds the watch up and is then told the state as a whole.
const EVENTS_MAX: usize = 256;

impl Watch {
    /// Has `follow` feed it.
    pub(crate) fn fed<F, T>(follow: F) -> Watch
    where
        F: FnOnce(mpsc::Sender<Event>) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        Watch { events, task: tokio::spawn(follow(sender)) }
    }

    /// The next event; waits for it. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            // The feeding task ends only with its runtime.
            None => std::future::pending().await,
        }
    }

    /// The next event, if it has come already.
    pub fn take(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
