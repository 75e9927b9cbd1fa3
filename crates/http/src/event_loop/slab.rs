//! Values by keys that are never used twice, so that what comes late for one finds nobody instead of another.

/// A place and how often it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    place: u32,
    generation: u32,
}

impl Key {
    /// Nobody's: of the future that the loop runs for.
    pub(super) const ROOT: Key = Key { place: u32::MAX, generation: 0 };
    /// Nobody's: of what other threads ring.
    pub(super) const BELL: Key = Key { place: u32::MAX, generation: 1 };
}

impl From<Key> for u64 {
    fn from(key: Key) -> u64 {
        u64::from(key.generation) << 32 | u64::from(key.place)
    }
}

impl From<u64> for Key {
    fn from(key: u64) -> Key {
        Key { place: key as u32, generation: (key >> 32) as u32 }
    }
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// The values.
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// The generation of a new slot.
    first: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { slots: Vec::new(), free: Vec::new(), first: 0 }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: self.first, value: None });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[place as usize];
        let key = Key { place, generation: slot.generation };
        slot.value = Some(make(key));
        key
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.place as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.place as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.place as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.place);
        // After a crowd has left, its room goes too.
        if self.is_empty() && self.slots.len() > 1024 {
            self.first = self.slots.iter().map(|slot| slot.generation).max().unwrap_or_default();
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
        Some(value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_its_own_value_or_none() {
        let mut slab = Slab::default();
        let keys: Vec<Key> = (0..3).map(|value| slab.insert_with(|_| value)).collect();
        assert_eq!(slab.remove(keys[1]), Some(1));
        let fourth = slab.insert_with(|_| 3);
        assert!(slab.get(keys[1]).is_none() && slab.get_mut(keys[1]).is_none() && slab.remove(keys[1]).is_none());
        assert_eq!((slab.get(fourth), Key::from(u64::from(fourth))), (Some(&3), fourth));
        assert!(!slab.is_empty());
        [keys[0], keys[2], fourth].into_iter().for_each(|key| assert!(slab.remove(key).is_some()));
        assert!(slab.is_empty());
    }

    #[test]
    fn keys_do_not_come_again_when_a_crowd_has_left() {
        let mut slab = Slab::default();
        let crowd: Vec<Key> = (0..2000).map(|value| slab.insert_with(|_| value)).collect();
        crowd.iter().for_each(|key| assert!(slab.remove(*key).is_some()));
        assert_eq!(slab.slots.len(), 0);
        let one = slab.insert_with(|_| 7);
        assert!(!crowd.contains(&one) && slab.get(one) == Some(&7));
    }
}
