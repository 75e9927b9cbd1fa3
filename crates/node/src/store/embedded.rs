//! The embedded store of one server: keys with a revision, compared and swapped, in a local file that a crash does not
//! tear (redb writes copy-on-write and flips one root).
//!
//! Keys live below one format number; a store that a newer Mainstay wrote is refused rather than guessed at.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mainstay_site::model::FORMAT;
use mainstay_site::plan::Plan;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

/// What the store remembers: key → (revision of its last change, value).
const KEYS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("keys");
/// What the store knows of itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// In [`META`]: the format.
const FORMAT_KEY: &str = "format";
/// In [`META`]: the revision of the last change of any key.
const REVISION_KEY: &str = "revision";
/// In [`KEYS`]: the plan in force, as JSON.
const PLAN_KEY: &str = "plan";

/// Bytes of cache: the store holds kilobytes, and redb would allow itself a gigabyte.
const CACHE_BYTES: usize = 1 << 20;

/// The revision of a key that does not exist.
pub const ABSENT: u64 = 0;

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
}

/// The answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// Written; the key has this revision now.
    Done(u64),
    /// Somebody else was quicker: the key has this revision ([`ABSENT`] if it does not exist).
    Conflict(u64),
}

/// The answer to a new plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanSwap {
    /// It is the stored plan now, or was already.
    Done,
    /// The stored plan's generation is not below the new one's.
    Stale(mainstay_site::names::Generation),
}

/// An open store. One process at a time can have it open.
pub struct Embedded {
    database: Database,
}

/// Every error of redb into the one that has them all.
fn storage<E: Into<redb::Error>>(error: E) -> Error {
    Error::Storage(error.into())
}

impl Embedded {
    /// Opens or creates the store.
    ///
    /// # Errors
    /// If the file cannot be opened, another process has it open, or a newer Mainstay wrote it.
    pub fn open(path: &Path) -> Result<Embedded, Error> {
        let open = |source| Error::Open { path: path.to_owned(), source };
        // A plan holds the applications' settings, which are nobody else's business.
        let file = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        let file = file.map_err(|error| open(redb::Error::Io(error)))?;
        let database = Database::builder().set_cache_size(CACHE_BYTES).create_file(file);
        let store = Embedded { database: database.map_err(|error| open(error.into()))? };
        match store.stamp()? {
            found if found > u64::from(FORMAT) => Err(Error::Newer { path: path.to_owned(), found }),
            _ => Ok(store),
        }
    }

    /// Writes the format into a new store; returns the format.
    fn stamp(&self) -> Result<u64, Error> {
        let write = self.database.begin_write().map_err(storage)?;
        let format = {
            write.open_table(KEYS).map_err(storage)?;
            let mut meta = write.open_table(META).map_err(storage)?;
            let known = meta.get(FORMAT_KEY).map_err(storage)?.map(|format| format.value());
            if known.is_none() {
                meta.insert(FORMAT_KEY, u64::from(FORMAT)).map_err(storage)?;
            }
            known.unwrap_or(u64::from(FORMAT))
        };
        write.commit().map_err(storage)?;
        Ok(format)
    }

    /// The value of a key and its revision.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn get(&self, key: &str) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let read = self.database.begin_read().map_err(storage)?;
        let keys = read.open_table(KEYS).map_err(storage)?;
        let entry = keys.get(key).map_err(storage)?;
        Ok(entry.map(|entry| (entry.value().0, entry.value().1.to_vec())))
    }

    /// Writes `value` if the key still has the revision `expected` ([`ABSENT`]: if it does not exist). What was
    /// written is on the disk when this returns.
    ///
    /// # Errors
    /// If the file cannot be written; the key is then as before.
    pub fn compare_and_swap(&self, key: &str, expected: u64, value: &[u8]) -> Result<Swap, Error> {
        let write = self.database.begin_write().map_err(storage)?;
        let swap = {
            let mut keys = write.open_table(KEYS).map_err(storage)?;
            let found = keys.get(key).map_err(storage)?.map_or(ABSENT, |entry| entry.value().0);
            if found == expected {
                let mut meta = write.open_table(META).map_err(storage)?;
                let revision = meta.get(REVISION_KEY).map_err(storage)?.map_or(0, |last| last.value()) + 1;
                meta.insert(REVISION_KEY, revision).map_err(storage)?;
                keys.insert(key, (revision, value)).map_err(storage)?;
                Swap::Done(revision)
            } else {
                Swap::Conflict(found)
            }
        };
        write.commit().map_err(storage)?;
        Ok(swap)
    }

    /// The plan in force.
    ///
    /// # Errors
    /// If the file cannot be read, or does not hold a plan.
    pub fn plan(&self) -> Result<Option<Plan>, Error> {
        Ok(self.plan_with_revision()?.map(|(_, plan)| plan))
    }

    fn plan_with_revision(&self) -> Result<Option<(u64, Plan)>, Error> {
        let Some((revision, text)) = self.get(PLAN_KEY)? else { return Ok(None) };
        let plan = serde_json::from_slice(&text).map_err(|source| Error::Garbled { key: PLAN_KEY, source })?;
        Ok(Some((revision, plan)))
    }

    /// Makes `plan` the plan in force, unless the stored one is as new.
    ///
    /// # Errors
    /// If the file cannot be read or written; the old plan is then still stored.
    pub fn put_plan(&self, plan: &Plan) -> Result<PlanSwap, Error> {
        loop {
            let stored = self.plan_with_revision()?;
            let revision = match &stored {
                Some((_, known)) if known == plan => return Ok(PlanSwap::Done),
                Some((_, known)) if known.generation >= plan.generation => {
                    return Ok(PlanSwap::Stale(known.generation));
                }
                Some((revision, _)) => *revision,
                None => ABSENT,
            };
            let text = serde_json::to_vec(plan).map_err(|source| Error::Garbled { key: PLAN_KEY, source })?;
            // On a conflict somebody wrote a plan in between: compare with that one.
            if let Swap::Done(_) = self.compare_and_swap(PLAN_KEY, revision, &text)? {
                return Ok(PlanSwap::Done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_site::names::Generation;

    use super::*;

    fn plan(generation: u64) -> Plan {
        Plan {
            format: FORMAT,
            generation: Generation(generation),
            site: "foobar.com".into(),
            server: "server1".into(),
            address: [127, 0, 0, 1].into(),
            services: Vec::new(),
            notices: Vec::new(),
        }
    }

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        (folder, path)
    }

    #[test]
    fn swaps_only_what_it_expected() {
        let (_folder, path) = scratch();
        let store = Embedded::open(&path).unwrap();
        assert_eq!(store.get("a").unwrap(), None);
        assert_eq!(store.compare_and_swap("a", 7, b"x").unwrap(), Swap::Conflict(ABSENT));
        assert_eq!(store.compare_and_swap("a", ABSENT, b"1").unwrap(), Swap::Done(1));
        assert_eq!(store.compare_and_swap("b", ABSENT, b"2").unwrap(), Swap::Done(2));
        assert_eq!(store.compare_and_swap("a", ABSENT, b"3").unwrap(), Swap::Conflict(1));
        assert_eq!(store.compare_and_swap("a", 1, b"3").unwrap(), Swap::Done(3));
        drop(store);
        assert_eq!(Embedded::open(&path).unwrap().get("a").unwrap(), Some((3, b"3".to_vec())));
    }

    #[test]
    fn a_plan_never_goes_back() {
        let (_folder, path) = scratch();
        let store = Embedded::open(&path).unwrap();
        assert_eq!(store.put_plan(&plan(2)).unwrap(), PlanSwap::Done);
        assert_eq!(store.put_plan(&plan(2)).unwrap(), PlanSwap::Done);
        assert_eq!(store.put_plan(&plan(1)).unwrap(), PlanSwap::Stale(Generation(2)));
        let other = Plan { server: "server2".into(), ..plan(2) };
        assert_eq!(store.put_plan(&other).unwrap(), PlanSwap::Stale(Generation(2)));
        assert_eq!(store.put_plan(&plan(3)).unwrap(), PlanSwap::Done);
        assert_eq!(store.plan().unwrap().unwrap().generation, Generation(3));
    }

    #[test]
    fn a_newer_format_is_refused() {
        let (_folder, path) = scratch();
        let store = Embedded::open(&path).unwrap();
        let write = store.database.begin_write().unwrap();
        write.open_table(META).unwrap().insert(FORMAT_KEY, u64::from(FORMAT) + 1).unwrap();
        write.commit().unwrap();
        drop(store);
        let refusal = Embedded::open(&path).err().unwrap().to_string();
        assert!(refusal.contains("run the newer mainstay"), "{refusal}");
    }

    #[test]
    fn only_one_has_it_open() {
        let (_folder, path) = scratch();
        let _store = Embedded::open(&path).unwrap();
        assert!(matches!(Embedded::open(&path), Err(Error::Open { .. })));
    }
}
