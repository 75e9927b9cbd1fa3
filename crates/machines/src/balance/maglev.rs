//! Consistent hashing by a table, with bounded load: the same key goes to the same member, unless that one is too busy.
//!
//! The table is that of Maglev (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
//! section 3.4): each member goes through the slots in an order of its own and takes the next empty one at its turn. So
//! everyone gets its share to within one slot, and when one of `n` leaves, hardly more than its own keys move. The order
//! depends on identities alone: it is the same in every process and after each restart, however the members are sorted.
//!
//! The bound is that of Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016): nobody gets
//! more than [`BOUND_PERCENT`] of its share of the requests outstanding, rounded up; what is more goes on to the next
//! slots. So one popular key cannot overload its member.

use super::hash;

/// Slots: the prime that the paper uses for its small table. At least 100 a member, as it advises, up to 655 members.
/// Of 16 bits each the table takes 128 KiB.
pub const SLOTS: usize = 65_537;

/// The most that one member may have, in percent of its share by weight of what is outstanding.
pub const BOUND_PERCENT: u64 = 125;

/// Steps from slot to slot before all members are simply gone through. At most 1 in 1.25 members (by weight) can be at
/// the bound, and slots next to each other are anybody's: five steps are expected at worst. What few requests need more
/// lose nothing but the order.
const STEPS_MAX: usize = 64;

/// A table; made again when the membership changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maglev {
    table: Box<[u16]>,
    weights: Box<[u16]>,
    sum: u64,
}

impl Maglev {
    /// The table of members, each an [`identity`](super::source::identity) that no other has and a weight; 0 counts as 1.
    /// Members beyond 65,535 are left out.
    pub fn new(members: &[(u64, u16)]) -> Maglev {
        let members = &members[..members.len().min(usize::from(u16::MAX))];
        let weights: Box<[u16]> = members.iter().map(|member| member.1.max(1)).collect();
        let sum = weights.iter().map(|weight| u64::from(*weight)).sum();
        Maglev { table: fill(members, &weights), weights, sum }
    }

    /// Where the key belongs, whoever is busy.
    pub fn home(&self, key: u64) -> Option<usize> {
        self.table.get(hash::below(key, self.table.len())).map(|place| usize::from(*place))
    }

    /// The most requests that a member may have once there are `total`: `ceil(1.25 * total * weight / sum of weights)`.
    pub fn bound(&self, place: usize, total: u64) -> u64 {
        (total * u64::from(self.weights[place]) * BOUND_PERCENT).div_ceil(self.sum * 100)
    }

    /// Chooses for the key, a hash such as [`hash::bytes`]. `total` is what is outstanding at all members together, the
    /// new request not counted. If no one below its bound is free, the free one nearest by slot is taken: a pool that is
    /// free nowhere else would make the request wait for nothing.
    pub fn pick(
        &self,
        key: u64,
        total: u64,
        outstanding: impl Fn(usize) -> u32,
        free: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let below = |place: &usize| u64::from(outstanding(*place)) < self.bound(*place, total + 1) && free(*place);
        self.by_nearness(key).find(below).or_else(|| self.nearest(key, &free))
    }

    /// Chooses for the key the free member nearest by slot, without a bound.
    pub fn nearest(&self, key: u64, free: impl Fn(usize) -> bool) -> Option<usize> {
        self.by_nearness(key).find(|place| free(*place))
    }

    /// Members by nearness to the key, some more than once: by slot at first, then simply all of them.
    fn by_nearness(&self, key: u64) -> impl Iterator<Item = usize> {
        let (before, after) = self.table.split_at(hash::below(key, self.table.len()));
        let slots = after.iter().chain(before).take(STEPS_MAX).map(|place| usize::from(*place));
        let home = self.home(key).unwrap_or(0);
        slots.chain(home..self.weights.len()).chain(0..home)
    }
}

/// The paper's `Populate`, with weights: each round a member gains its weight and takes a slot for every
/// `largest weight` it has.
fn fill(members: &[(u64, u16)], weights: &[u16]) -> Box<[u16]> {
    const EMPTY: u16 = u16::MAX;
    let Some(largest) = weights.iter().max().map(|weight| u32::from(*weight)) else { return Box::default() };
    let order = hash::draw;
    let skips: Vec<usize> = members.iter().map(|it| 1 + hash::below(order(it.0, 1), SLOTS - 1)).collect();
    let mut next: Vec<usize> = members.iter().map(|it| hash::below(order(it.0, 0), SLOTS)).collect();
    let mut gained = vec![0u32; members.len()];
    // Members take turns by identity, not by place, so that a pool listed in another order has the same table.
    let mut turns: Vec<usize> = (0..members.len()).collect();
    turns.sort_by_key(|place| members[*place].0);
    let mut table = vec![EMPTY; SLOTS];
    let mut taken = 0;
    for place in turns.into_iter().cycle() {
        gained[place] += u32::from(weights[place]);
        if gained[place] < largest {
            continue;
        }
        gained[place] -= largest;
        while table[next[place]] != EMPTY {
            next[place] = (next[place] + skips[place]) % SLOTS;
        }
        table[next[place]] = place as u16;
        taken += 1;
        if taken == SLOTS {
            break;
        }
    }
    table.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::source::identity;
    use super::*;

    fn weighted(names: &[String], weights: &[u16]) -> Maglev {
        let members: Vec<_> = names.iter().map(|name| identity(name)).zip(weights.iter().copied()).collect();
        Maglev::new(&members)
    }

    fn named(names: &[String]) -> Maglev {
        weighted(names, &vec![1; names.len()])
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|place| format!("server{place}")).collect()
    }

    #[test]
    fn everyone_gets_its_share() {
        for weights in [vec![1], vec![1; 7], vec![1, 2, 3], vec![100, 200, 50, 1], vec![u16::MAX, 1]] {
            let maglev = weighted(&names(weights.len()), &weights);
            let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for (place, weight) in weights.iter().enumerate() {
                let slots = maglev.table.iter().filter(|slot| usize::from(**slot) == place).count() as f64;
                let due = SLOTS as f64 * f64::from(*weight) / sum;
                assert!((slots - due).abs() <= 2.0, "{weights:?}: {place} has {slots} of {due}");
            }
        }
    }

    /// When one of `n` leaves, its own keys move, and of the others' fewer than one in twenty.
    #[test]
    fn hardly_more_than_the_leavers_keys_move() {
        for count in [2, 3, 5, 10, 50] {
            let all = names(count);
            let before = named(&all);
            for leaver in [0, count / 2, count - 1] {
                let mut rest = all.clone();
                rest.remove(leaver);
                let after = named(&rest);
                let stayed = |slot: &usize| {
                    let was = usize::from(before.table[*slot]);
                    all[was] == rest[usize::from(after.table[*slot])]
                };
                let others: Vec<_> = (0..SLOTS).filter(|slot| usize::from(before.table[*slot]) != leaver).collect();
                let moved = others.iter().filter(|slot| !stayed(slot)).count();
                assert!(moved * 20 < others.len(), "{moved} of {} with one of {count}", others.len());
            }
        }
    }

    #[test]
    fn the_order_of_the_members_does_not_matter() {
        let names = names(5);
        let mut turned = names.clone();
        turned.reverse();
        let (one, other) = (named(&names), named(&turned));
        assert!((0..SLOTS).all(|slot| one.table[slot] + other.table[slot] == 4));
    }

    #[test]
    fn an_empty_pool_has_no_choice() {
        let maglev = Maglev::new(&[]);
        assert_eq!(maglev.home(1), None);
        assert_eq!(maglev.pick(1, 0, |_| 0, |_| true), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the keys, be it one only: nobody gets above its bound; a key whose member is below it stays there.
        #[test]
        fn nobody_gets_above_the_bound(
            weights in prop::collection::vec(1u16..10, 1..8),
            keys in prop::collection::vec((0u64..3, any::<bool>()), 1..300),
        ) {
            let maglev = weighted(&names(weights.len()), &weights);
            let mut loads = vec![0u32; weights.len()];
            let mut total = 0;
            for (key, ends) in keys {
                let key = hash::mix(key + 1);
                let chosen = maglev.pick(key, total, |place| loads[place], |_| true).unwrap();
                let home = maglev.home(key).unwrap();
                let room = |place: usize| u64::from(loads[place]) < maglev.bound(place, total + 1);
                prop_assert!(room(chosen), "someone is always below the bound");
                prop_assert_eq!(chosen == home, room(home));
                loads[chosen] += 1;
                total += 1;
                if let (true, Some(busy)) = (ends, (0..loads.len()).max_by_key(|place| loads[*place])) {
                    loads[busy] -= 1;
                    total -= 1;
                }
            }
        }

        /// Someone free is found as long as there is one.
        #[test]
        fn who_is_not_free_is_passed_over(free in prop::collection::vec(any::<bool>(), 1..6), key in any::<u64>()) {
            let maglev = named(&names(free.len()));
            let chosen = maglev.pick(key, 0, |_| 9, |place| free[place]);
            prop_assert_eq!(chosen.is_some(), free.contains(&true));
            prop_assert!(chosen.is_none_or(|place| free[place]));
            let nearest = maglev.nearest(key, |place| free[place]);
            prop_assert_eq!(nearest.is_some(), free.contains(&true));
            let home = maglev.home(key).unwrap();
            prop_assert!(nearest.is_none_or(|place| free[place] && (place == home || !free[home])));
        }
    }
}
