//! The cache as its users see it: the engine asks and stores, an operator purges and reads figures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::elsewhere::resolved;
use super::flights::{Flights, Turn};
use super::key::Asking;
use super::store::{Epoch, Found, Store};
use super::stored::Stored;
use crate::codec::Request;
use crate::counters::count;

/// How much is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Bytes in all. 64 MiB: the pages, images and scripts that most visitors of a site ask for, and little beside what its
    /// applications take.
    pub memory_bytes: u64,
    /// Bytes of one body. 1 MiB: what is larger costs the origin more by its bytes than by its requests, and one of them
    /// would push hundreds of others out.
    pub object_bytes_max: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        CacheSettings { memory_bytes: 64 * 1024 * 1024, object_bytes_max: 1024 * 1024 }
    }
}

/// A shared cache (RFC 9111) in memory.
pub struct Cache {
    settings: CacheSettings,
    store: Store,
    flights: Arc<Flights>,
    /// Bytes of answers that are on their way into the store.
    gathering: AtomicU64,
    pub(crate) counts: Counts,
}

/// What happened.
#[derive(Default)]
pub(crate) struct Counts {
    /// Answered from the store.
    pub(crate) hits: AtomicU64,
    /// There was nothing that could be used.
    pub(crate) misses: AtomicU64,
    /// Answered with what was stale: while it was asked for anew, or because the origin failed.
    pub(crate) stale: AtomicU64,
    /// The origin said that what is stored is still good.
    pub(crate) revalidated: AtomicU64,
    /// Waited for another request's answer.
    pub(crate) collapsed: AtomicU64,
    pub(crate) stored: AtomicU64,
    /// Addresses taken out: by a write, or by hand.
    pub(crate) purged: AtomicU64,
}

impl Cache {
    /// An empty cache. An object's bound is lowered to an eighth of the whole, so that one cannot take its place.
    pub fn new(settings: CacheSettings) -> Arc<Cache> {
        let object_bytes_max = settings.object_bytes_max.min(settings.memory_bytes / 8);
        let settings = CacheSettings { object_bytes_max, ..settings };
        Arc::new(Cache {
            settings,
            store: Store::new(settings.memory_bytes, object_bytes_max),
            flights: Flights::new(Instant::now()),
            gathering: AtomicU64::new(0),
            counts: Counts::default(),
        })
    }

    /// Takes out what is stored at an address: `host` as visitors write it, with its port if they write one, and path with
    /// query. By either scheme; how many addresses that were, 0 to 2.
    pub fn purge(&self, host: &str, target: &str) -> usize {
        let purged = ["http", "https"].map(|scheme| self.store.remove(&self.store.asking(scheme, host, target)));
        let purged = purged.into_iter().filter(|purged| *purged).count();
        self.counts.purged.fetch_add(purged as u64, Ordering::Relaxed);
        purged
    }

    /// Takes out what is stored at path and query `target` under every host, by either scheme; how many addresses. Looks at all
    /// that is stored: some milliseconds.
    pub fn purge_target(&self, target: &str) -> usize {
        self.purge_where(|is, _| is == target)
    }

    /// Takes out every address with an answer that has `tag` in its `Cache-Tag` or `Surrogate-Key` (separated by commas or
    /// spaces); how many. Looks at all that is stored: some milliseconds.
    pub fn purge_tag(&self, tag: &str) -> usize {
        self.purge_where(|_, stored| stored.tags.have(tag))
    }

    /// Takes out everything; how many addresses.
    pub fn clear(&self) -> usize {
        self.purge_where(|_, _| true)
    }

    fn purge_where(&self, is: impl Fn(&str, &Stored) -> bool) -> usize {
        let purged = self.store.remove_where(is);
        self.counts.purged.fetch_add(purged as u64, Ordering::Relaxed);
        purged
    }

    /// Every figure by its Prometheus name.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        let (bytes, addresses) = self.store.size();
        let totals = [
            ("cache_hits_total", load(&counts.hits)),
            ("cache_misses_total", load(&counts.misses)),
            ("cache_stale_total", load(&counts.stale)),
            ("cache_revalidated_total", load(&counts.revalidated)),
            ("cache_collapsed_total", load(&counts.collapsed)),
            ("cache_stored_total", load(&counts.stored)),
            ("cache_purged_total", load(&counts.purged)),
            ("cache_evicted_bytes_total", self.store.evicted_bytes()),
            ("cache_bytes", bytes),
            ("cache_addresses", addresses),
        ];
        totals.into_iter().map(|(name, total)| (name.to_owned(), total)).collect()
    }

    pub(crate) fn asking<'a>(&self, scheme: &'a str, host: &'a str, target: &'a str) -> Asking<'a> {
        self.store.asking(scheme, host, target)
    }

    pub(crate) fn find(&self, asking: &Asking<'_>, request: &Request) -> Found {
        self.store.find(asking, request)
    }

    pub(crate) fn epoch(&self, asking: &Asking<'_>) -> Epoch {
        self.store.epoch(asking)
    }

    pub(crate) fn turn(&self, asking: &Asking<'_>, now: Instant) -> Turn {
        self.flights.turn(asking, now)
    }

    pub(crate) fn put(&self, asking: &Asking<'_>, epoch: Epoch, stored: Arc<Stored>) {
        if self.store.put(asking, epoch, stored) {
            count(&self.counts.stored);
        }
    }

    pub(crate) fn forget(&self, asking: &Asking<'_>) {
        self.store.remove(asking);
    }

    /// A write to `target` has succeeded; `named` are the `Location` and `Content-Location` of its answer (RFC 9111 § 4.4).
    pub(crate) fn written<'h>(&self, host: &str, target: &str, named: impl Iterator<Item = &'h [u8]>) {
        self.purge(host, target);
        for other in named.filter_map(|reference| resolved(target, host, reference)) {
            self.purge(host, &other);
        }
    }

    /// Whether a body of `length` bytes may be stored.
    pub(crate) fn takes(&self, length: u64) -> bool {
        length <= self.settings.object_bytes_max
    }
}

/// A body on its way into the store. All of them together are at most a quarter of the store beside it.
pub(crate) struct Gathering {
    cache: Arc<Cache>,
    bytes: Vec<u8>,
}

impl Gathering {
    pub(crate) fn new(cache: &Arc<Cache>) -> Gathering {
        Gathering { cache: cache.clone(), bytes: Vec::new() }
    }

    /// Adds a piece; whether it fits.
    pub(crate) fn push(&mut self, piece: &[u8]) -> bool {
        let added = piece.len() as u64;
        if !self.cache.takes(self.bytes.len() as u64 + added) {
            return false;
        }
        self.bytes.extend_from_slice(piece);
        let before = self.cache.gathering.fetch_add(added, Ordering::Relaxed);
        before + added <= self.cache.settings.memory_bytes / 4
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.cache.gathering.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.take();
    }
}
