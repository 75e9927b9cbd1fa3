//! What is stored, in bounded memory, shared by the threads of an engine.

use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use super::key::{AsItIs, Asking, Key};
use super::stored::Stored;
use crate::codec::Request;

/// Variants of one address; the oldest makes room. Languages and codings make a few; what makes more, such as a
/// User-Agent, would fill the store with answers that are hardly used again.
const VARIANTS_MAX: usize = 16;
/// An address beside its answers: the entry, its place in the store, the list of variants.
const ENTRY_BYTES: u64 = 256;
/// What an answer of a site has on average, headers and all: from this the store guesses how many there will be.
const TYPICAL_BYTES: u64 = 16 * 1024;
/// Of shards, whatever the size.
const SHARDS_MAX: u64 = 64;
/// Parts of the addresses that are changed one at a time. 40 KiB.
const STRIPES: usize = 512;
/// Removals that a part remembers.
const REMEMBERED: usize = 8;

/// The answers of one address.
struct Resource {
    /// The newest last.
    variants: Vec<Arc<Stored>>,
}

/// What there is at an address.
pub(crate) enum Found {
    Nothing,
    /// Answers that this request does not select.
    Others,
    This(Arc<Stored>),
}

/// The store.
pub(super) struct Store {
    entries: Cache<Key, Arc<Resource>, ByBytes, AsItIs, Evicted>,
    hasher: RandomState,
    /// Held while its part of the addresses is changed.
    stripes: Box<[Mutex<Stripe>]>,
    evicted_bytes: Arc<AtomicU64>,
}

/// What was taken out of a part of the addresses: what was fetched before that is not put in after it.
#[derive(Default)]
struct Stripe {
    /// How often.
    removals: u64,
    /// The hashes of the last.
    last: [u64; REMEMBERED],
}

/// How often something had been taken out of a part of the addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch(u64);

impl Stripe {
    fn removed(&mut self, hash: u64) {
        self.last[self.removals as usize % REMEMBERED] = hash;
        self.removals += 1;
    }

    /// As if everything had been taken out.
    fn cleared(&mut self) {
        self.removals += REMEMBERED as u64 + 1;
    }

    /// Whether `hash` may have been taken out since.
    fn has_removed(&self, hash: u64, since: Epoch) -> bool {
        let removals = self.removals - since.0;
        removals > REMEMBERED as u64 || (since.0..self.removals).any(|at| self.last[at as usize % REMEMBERED] == hash)
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Resource>> for ByBytes {
    fn weight(&self, key: &Key, resource: &Arc<Resource>) -> u64 {
        let variants: u64 = resource.variants.iter().map(|variant| variant.weight()).sum();
        variants + key.length() as u64 + ENTRY_BYTES
    }
}

/// Counts what had to make room.
#[derive(Clone)]
struct Evicted(DefaultLifecycle<Key, Arc<Resource>>, Arc<AtomicU64>);

impl Lifecycle<Key, Arc<Resource>> for Evicted {
    type RequestState = <DefaultLifecycle<Key, Arc<Resource>> as Lifecycle<Key, Arc<Resource>>>::RequestState;

    fn on_evict(&self, state: &mut Self::RequestState, key: Key, resource: Arc<Resource>) {
        self.1.fetch_add(ByBytes.weight(&key, &resource), Ordering::Relaxed);
        self.0.on_evict(state, key, resource);
    }
}

impl Store {
    /// At most `bytes` in all, for answers of at most `object_bytes_max` each.
    pub(super) fn new(bytes: u64, object_bytes_max: u64) -> Store {
        let evicted_bytes = Arc::new(AtomicU64::new(0));
        // A part of the store has to hold several of the largest, or they would push each other out.
        let shards = (bytes / (object_bytes_max.max(1) * 4)).clamp(1, SHARDS_MAX);
        let shards = if shards.is_power_of_two() { shards } else { shards.next_power_of_two() / 2 };
        let options = OptionsBuilder::new()
            .shards(shards as usize)
            .weight_capacity(bytes)
            .estimated_items_capacity((bytes / TYPICAL_BYTES).max(64) as usize)
            .build();
        let lifecycle = Evicted(DefaultLifecycle::default(), evicted_bytes.clone());
        let entries = match options {
            Ok(options) => Cache::with_options(options, ByBytes, AsItIs::default(), lifecycle),
            // Only a builder without capacities fails.
            Err(_) => Cache::with(64, bytes, ByBytes, AsItIs::default(), lifecycle),
        };
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Store { entries, hasher: RandomState::new(), stripes, evicted_bytes }
    }

    pub(super) fn asking<'a>(&self, scheme: &'a str, host: &'a str, target: &'a str) -> Asking<'a> {
        Asking::new(&self.hasher, scheme, host, target)
    }

    /// What there is for `request` (RFC 9111 § 4.1: of several, the newest).
    pub(super) fn find(&self, asking: &Asking<'_>, request: &Request) -> Found {
        let Some(resource) = self.entries.get(asking) else { return Found::Nothing };
        match resource.variants.iter().rev().find(|variant| variant.is_selected_by(request)) {
            Some(variant) => Found::This(variant.clone()),
            None => Found::Others,
        }
    }

    fn stripe(&self, asking: &Asking<'_>) -> MutexGuard<'_, Stripe> {
        // The low bits choose quick_cache's shard.
        let stripe = &self.stripes[(asking.hash() >> 32) as usize % STRIPES];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be asked before an answer is fetched.
    pub(super) fn epoch(&self, asking: &Asking<'_>) -> Epoch {
        Epoch(self.stripe(asking).removals)
    }

    /// Puts in what was fetched since `epoch`, unless something was taken out meanwhile.
    pub(super) fn put(&self, asking: &Asking<'_>, epoch: Epoch, stored: Arc<Stored>) -> bool {
        let stripe = self.stripe(asking);
        if stripe.has_removed(asking.hash(), epoch) {
            return false;
        }
        let mut variants = self.entries.peek(asking).map(|resource| resource.variants.clone()).unwrap_or_default();
        variants.retain(|variant| !variant.is_replaced_by(&stored));
        if variants.len() >= VARIANTS_MAX {
            variants.remove(0);
        }
        variants.push(stored);
        self.entries.insert(asking.key(), Arc::new(Resource { variants }));
        true
    }

    /// Takes out everything at an address.
    pub(super) fn remove(&self, asking: &Asking<'_>) -> bool {
        let mut stripe = self.stripe(asking);
        stripe.removed(asking.hash());
        self.entries.remove(asking).is_some()
    }

    /// Takes out every address of which `is` says so by its target and one of its answers; how many.
    pub(super) fn remove_where(&self, is: impl Fn(&str, &Stored) -> bool) -> usize {
        for stripe in &self.stripes {
            stripe.lock().unwrap_or_else(PoisonError::into_inner).cleared();
        }
        let removed = AtomicU64::new(0);
        self.entries.retain(|key, resource| {
            let gone = resource.variants.iter().any(|variant| is(key.target(), variant));
            removed.fetch_add(u64::from(gone), Ordering::Relaxed);
            !gone
        });
        removed.into_inner() as usize
    }

    /// Bytes held, and at how many addresses.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.entries.weight(), self.entries.len() as u64)
    }

    pub(super) fn evicted_bytes(&self) -> u64 {
        self.evicted_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
