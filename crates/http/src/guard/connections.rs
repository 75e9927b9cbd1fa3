//! How many connections an address has open.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Source;
use crate::config::Config;
use crate::counters::Counters;

/// Parts of the table, so that threads that accept at the same time rarely meet.
const PARTS: usize = 16;

/// Open connections by the address that they come from. As many entries as there are connections at most, which are bounded.
#[derive(Default)]
pub(crate) struct Addresses {
    parts: [Mutex<HashMap<Source, u32>>; PARTS],
    hasher: RandomState,
}

impl Addresses {
    fn part(&self, source: Source) -> &Mutex<HashMap<Source, u32>> {
        &self.parts[self.hasher.hash_one(source) as usize % PARTS]
    }

    /// Counts a connection in, unless there are `max` already.
    fn enter(&self, source: Source, max: u32) -> bool {
        let mut part = self.part(source).lock().unwrap_or_else(PoisonError::into_inner);
        let open = part.entry(source).or_default();
        let room = *open < max;
        *open += u32::from(room);
        room
    }

    fn leave(&self, source: Source) {
        let mut part = self.part(source).lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut open) = part.entry(source) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

/// A connection's place among those of its address; given back when dropped.
pub(crate) struct Place(Option<(Arc<Counters>, Source)>);

impl Place {
    /// Takes a place for a connection from `client`; `None` if its address has as many as it may.
    pub(crate) fn take(config: &Config, counters: &Arc<Counters>, client: IpAddr) -> Option<Place> {
        let limits = &config.limits;
        // What comes from this machine itself is a proxy, a tunnel or a test, and stands for many.
        let spared = limits.spares_loopback && client.to_canonical().is_loopback();
        if !config.front || spared {
            return Some(Place(None));
        }
        let source = Source::from(client);
        counters
            .addresses
            .enter(source, limits.address_connections_max)
            .then(|| Place(Some((counters.clone(), source))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((counters, source)) = self.0.take() {
            counters.addresses.leave(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_leaves_nothing_behind() {
        let (mut config, counters) = (Config { front: true, ..Config::default() }, Arc::new(Counters::default()));
        config.limits.address_connections_max = 2;
        let take = |config: &Config, client: &str| Place::take(config, &counters, client.parse().unwrap());
        let held = [take(&config, "192.0.2.7").unwrap(), take(&config, "192.0.2.7").unwrap()];
        assert!(take(&config, "192.0.2.7").is_none() && take(&config, "192.0.2.8").is_some());
        let ours: Vec<_> = (0..9).filter_map(|_| take(&config, "::1")).collect();
        assert_eq!(ours.len(), 9, "this machine is spared");
        drop(held);
        assert!(take(&config, "192.0.2.7").is_some());
        assert!(counters.addresses.parts.iter().all(|part| part.lock().unwrap().is_empty()));

        config.limits.spares_loopback = false;
        let held: Vec<_> = (0..9).filter_map(|_| take(&config, "::1")).collect();
        assert_eq!(held.len(), 2);
        config.front = false;
        assert!(take(&config, "::1").is_some(), "a tier behind another limits nobody");
    }
}
