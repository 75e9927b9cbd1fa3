//! The embedded store of one server: a local file that a crash does not tear (redb writes copy-on-write and flips one
//! root). One process at a time has it open.
//!
//! Keys live below one format number; a store that a newer Mainstay wrote is refused rather than guessed at.

mod history;
mod leases;
mod plan;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_site::model::FORMAT;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use tokio::sync::watch;

use self::history::History;
use self::leases::Leases;
use super::{Answer, Compare, Coordination, Entry, Event, LeaseId, Revision, Swap, Watch, Write};
use crate::clock::boot_time;

pub use self::plan::PlanSwap;

/// An entry as it is kept: when it was made, when it was last written, its lease (0 if none), its value.
type Kept = (u64, u64, i64, &'static [u8]);

/// What the store remembers.
const ENTRIES: TableDefinition<'_, &str, Kept> = TableDefinition::new("entries");
/// What it remembered before there were leases: key → (revision of its last change, value). Read once, then empty.
const KEYS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("keys");
/// Its leases: number → nanoseconds.
const LEASES: TableDefinition<'_, i64, u64> = TableDefinition::new("leases");
/// What the store knows of itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// In [`META`]: the format.
const FORMAT_KEY: &str = "format";
/// In [`META`]: the revision of the last change of any key.
const REVISION_KEY: &str = "revision";

/// Bytes of cache: the store holds kilobytes, and redb would allow itself a gigabyte.
const CACHE_BYTES: usize = 1 << 20;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("the store {} cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: redb::Error,
    },
    /// A newer Mainstay wrote it.
    #[error(
        "the store {} has format {found}, and this build knows up to {FORMAT}: run the newer mainstay that wrote it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// Reading or writing failed.
    #[error("the store: {0}")]
    Storage(#[from] redb::Error),
    /// What is kept cannot be understood.
    #[error("the store's key {key:?} cannot be read: {source}")]
    Garbled {
        /// Which key.
        key: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A key is in a transaction twice.
    #[error("the key {0:?} is written twice in one transaction")]
    Twice(String),
    /// A lease that has ended, or never was.
    #[error("lease {} has ended", .0.0)]
    LeaseEnded(LeaseId),
}

/// Every error of redb into the one that has them all.
fn storage<E: Into<redb::Error>>(error: E) -> Error {
    Error::Storage(error.into())
}

/// An open store.
pub struct Embedded {
    database: Database,
    memory: Mutex<Memory>,
    /// The last revision, for those who watch.
    last: watch::Sender<u64>,
}

/// What is not in the file.
struct Memory {
    leases: Leases,
    history: History,
}

impl Embedded {
    /// Opens or creates the store. Its leases begin anew: nobody can have kept them alive meanwhile.
    ///
    /// # Errors
    /// If the file cannot be opened, another process has it open, or a newer Mainstay wrote it.
    pub fn open(path: &Path) -> Result<Embedded, Error> {
        let open = |source| Error::Open { path: path.to_owned(), source };
        // A plan holds the applications' settings, which are nobody else's business.
        let file = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        let file = file.map_err(|error| open(redb::Error::Io(error)))?;
        let database = Database::builder().set_cache_size(CACHE_BYTES).create_file(file);
        let database = database.map_err(|error| open(error.into()))?;
        let (found, revision) = stamp(&database)?;
        if found > u64::from(FORMAT) {
            return Err(Error::Newer { path: path.to_owned(), found });
        }
        let memory = Memory { leases: Leases::load(&database)?, history: History::since(revision) };
        Ok(Embedded { database, memory: Mutex::new(memory), last: watch::Sender::new(revision) })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a key holds.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.expire()?;
        let read = self.database.begin_read().map_err(storage)?;
        let entries = read.open_table(ENTRIES).map_err(storage)?;
        let kept = entries.get(key).map_err(storage)?;
        Ok(kept.map(|kept| entry(kept.value())))
    }

    /// Every key that begins with `prefix`, and as of which change.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn list(&self, prefix: &str) -> Result<(Vec<(String, Entry)>, Revision), Error> {
        self.expire()?;
        let read = self.database.begin_read().map_err(storage)?;
        let meta = read.open_table(META).map_err(storage)?;
        let revision = meta.get(REVISION_KEY).map_err(storage)?.map_or(0, |last| last.value());
        let entries = read.open_table(ENTRIES).map_err(storage)?;
        let mut found = Vec::new();
        for kept in entries.range(prefix..).map_err(storage)? {
            let (key, kept) = kept.map_err(storage)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            found.push((key.value().to_owned(), entry(kept.value())));
        }
        Ok((found, Revision(revision)))
    }

    /// Does all of `writes` if all of `compares` are true. What was written is on the disk when this returns.
    ///
    /// # Errors
    /// If the file cannot be written, a key is written twice, or a lease has ended; everything is then as before.
    pub fn transact(&self, compares: &[Compare], writes: &[Write]) -> Result<Swap, Error> {
        self.expire()?;
        let mut memory = self.memory();
        memory.refuse(writes)?;
        self.change(&mut memory, compares, writes)
    }

    /// The transaction itself. The memory is locked around it, so that the history has the order of the file.
    fn change(&self, memory: &mut Memory, compares: &[Compare], writes: &[Write]) -> Result<Swap, Error> {
        let write = self.database.begin_write().map_err(storage)?;
        let Some((revision, events)) = attempt(&write, compares, writes)? else {
            return Ok(Swap::Conflict);
        };
        write.commit().map_err(storage)?;
        memory.history.note(revision, events);
        self.last.send_replace(revision);
        Ok(Swap::Done(Revision(revision)))
    }

    /// Deletes what lived by leases that have ended.
    fn expire(&self) -> Result<(), Error> {
        let mut memory = self.memory();
        while let Some(lease) = memory.leases.ended(boot_time()) {
            self.end(&mut memory, lease)?;
        }
        Ok(())
    }

    fn end(&self, memory: &mut Memory, lease: LeaseId) -> Result<(), Error> {
        let keys = self.keys_of(lease)?;
        let deletes: Vec<Write> = keys.into_iter().map(Write::Delete).collect();
        self.change(memory, &[], &deletes)?;
        memory.leases.remove(&self.database, lease)
    }

    fn keys_of(&self, lease: LeaseId) -> Result<Vec<String>, Error> {
        let read = self.database.begin_read().map_err(storage)?;
        let entries = read.open_table(ENTRIES).map_err(storage)?;
        let all = entries.iter().map_err(storage)?;
        let mut keys = Vec::new();
        for kept in all {
            let (key, kept) = kept.map_err(storage)?;
            if kept.value().2 == lease.0 {
                keys.push(key.value().to_owned());
            }
        }
        Ok(keys)
    }

    /// When the next lease ends.
    fn next_end(&self) -> Time {
        self.memory().leases.next_end()
    }
}

impl Memory {
    /// What no state of the keys would make right.
    fn refuse(&self, writes: &[Write]) -> Result<(), Error> {
        let mut keys: Vec<&str> = writes.iter().map(key_of).collect();
        keys.sort_unstable();
        if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Twice(twice[0].to_owned()));
        }
        let leases = writes.iter().filter_map(|write| match write {
            Write::Put { lease, .. } => *lease,
            Write::Delete(_) => None,
        });
        leases.filter(|lease| !self.leases.lives(*lease)).try_for_each(|lease| Err(Error::LeaseEnded(lease)))
    }
}

fn key_of(write: &Write) -> &str {
    match write {
        Write::Put { key, .. } | Write::Delete(key) => key,
    }
}

fn entry((created, changed, lease, value): (u64, u64, i64, &[u8])) -> Entry {
    let lease = (lease != 0).then_some(LeaseId(lease));
    Entry { value: value.to_vec(), created: Revision(created), changed: Revision(changed), lease }
}

/// Writes the format into a new store and moves what an older one kept; returns the format and the last revision.
fn stamp(database: &Database) -> Result<(u64, u64), Error> {
    let write = database.begin_write().map_err(storage)?;
    let found = {
        write.open_table(LEASES).map_err(storage)?;
        let mut entries = write.open_table(ENTRIES).map_err(storage)?;
        let mut meta = write.open_table(META).map_err(storage)?;
        let format = meta.get(FORMAT_KEY).map_err(storage)?.map(|format| format.value());
        let revision = meta.get(REVISION_KEY).map_err(storage)?.map_or(0, |last| last.value());
        if format.is_none() {
            meta.insert(FORMAT_KEY, u64::from(FORMAT)).map_err(storage)?;
        }
        let mut before = write.open_table(KEYS).map_err(storage)?;
        while let Some((key, kept)) = before.pop_first().map_err(storage)? {
            let (changed, value) = kept.value();
            entries.insert(key.value(), (changed, changed, 0, value)).map_err(storage)?;
        }
        (format.unwrap_or(u64::from(FORMAT)), revision)
    };
    write.commit().map_err(storage)?;
    Ok(found)
}

/// What the writes do, with the revision that they have then; `None` if something was not as compared.
fn attempt(
    write: &WriteTransaction,
    compares: &[Compare],
    writes: &[Write],
) -> Result<Option<(u64, Vec<Event>)>, Error> {
    let mut entries = write.open_table(ENTRIES).map_err(storage)?;
    for compare in compares {
        if !holds(&entries, compare)? {
            return Ok(None);
        }
    }
    let mut meta = write.open_table(META).map_err(storage)?;
    let before = meta.get(REVISION_KEY).map_err(storage)?.map_or(0, |last| last.value());
    let mut events = Vec::new();
    for one in writes {
        events.extend(apply(&mut entries, one, before + 1)?);
    }
    // As etcd has it: what changes nothing is no change.
    let revision = if events.is_empty() { before } else { before + 1 };
    meta.insert(REVISION_KEY, revision).map_err(storage)?;
    Ok(Some((revision, events)))
}

fn holds(entries: &impl ReadableTable<&'static str, Kept>, compare: &Compare) -> Result<bool, Error> {
    let (Compare::Created(key, _) | Compare::Changed(key, _) | Compare::Absent(key)) = compare;
    let found = entries.get(key.as_str()).map_err(storage)?.map(|kept| (kept.value().0, kept.value().1));
    Ok(match (compare, found) {
        (Compare::Absent(_), found) => found.is_none(),
        (Compare::Created(_, revision), Some((created, _))) => created == revision.0,
        (Compare::Changed(_, revision), Some((_, changed))) => changed == revision.0,
        (_, None) => false,
    })
}

fn apply(entries: &mut Table<'_, &'static str, Kept>, write: &Write, revision: u64) -> Result<Option<Event>, Error> {
    match write {
        Write::Put { key, value, lease } => {
            let made = entries.get(key.as_str()).map_err(storage)?.map(|kept| kept.value().0);
            let kept = (made.unwrap_or(revision), revision, lease.map_or(0, |lease| lease.0), value.as_slice());
            entries.insert(key.as_str(), kept).map_err(storage)?;
            Ok(Some(Event::Put { key: key.clone(), entry: entry(kept) }))
        }
        Write::Delete(key) => {
            let was = entries.remove(key.as_str()).map_err(storage)?.is_some();
            Ok(was.then(|| Event::Delete { key: key.clone(), at: Revision(revision) }))
        }
    }
}

/// Answers at once: the file is local, and a transaction takes as long as its disk.
fn now<'a, T: Send + 'a>(answer: Result<T, Error>) -> Answer<'a, T> {
    let answer = answer.map_err(|error| match error {
        Error::LeaseEnded(_) => super::Error::LeaseEnded,
        Error::Twice(_) => super::Error::Refused(error.to_string()),
        other => super::Error::Embedded(Arc::new(other)),
    });
    Box::pin(std::future::ready(answer))
}

impl Coordination for Arc<Embedded> {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        now(Embedded::get(self, key))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, (Vec<(String, Entry)>, Revision)> {
        now(Embedded::list(self, prefix))
    }

    fn transact<'a>(&'a self, compares: &'a [Compare], writes: &'a [Write]) -> Answer<'a, Swap> {
        now(Embedded::transact(self, compares, writes))
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        let (store, prefix) = (Arc::clone(self), prefix.to_owned());
        Watch::fed(|events| history::follow(store, prefix, after, events))
    }

    fn grant(&self, ttl: Duration) -> Answer<'_, (LeaseId, Duration)> {
        let granted = self.memory().leases.grant(&self.database, ttl);
        // Whoever watches must look when the next lease ends.
        self.last.send_modify(|_| ());
        now(granted.map(|lease| (lease, ttl)))
    }

    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, ()> {
        now(self.expire().and_then(|()| self.memory().leases.renew(lease)))
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        let mut memory = self.memory();
        now(if memory.leases.lives(lease) { self.end(&mut memory, lease) } else { Ok(()) })
    }
}
