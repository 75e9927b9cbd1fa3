//! The power of two choices: of two members drawn at random the better one.
//!
//! Two looks, however large the pool. Drawing one at random leaves the most loaded of `n` with about `ln n / ln ln n`
//! requests when the mean is one; the better of two with about `ln ln n / ln 2` (Mitzenmacher, "The Power of Two Choices
//! in Randomized Load Balancing", 2001). It also keeps many balancers with the same stale view from running all at once
//! to the same idle member, which the choice of the best would.

use super::hash::{below, draw};

/// Chooses among `count` places the one of two with the lower `cost`; of equals the first drawn. `cost` may be that of
/// any other algorithm: requests outstanding, or [`predictive::score`](super::predictive::score).
///
/// The drawing is that of number `turn` in the sequence of `seed`: repeatable, and without a lock. If neither of the two
/// is free, the next free place after the first of them is taken, so that one is found as long as there is one.
pub fn pick<Cost: PartialOrd>(
    count: usize,
    seed: u64,
    turn: u64,
    cost: impl Fn(usize) -> Cost,
    free: impl Fn(usize) -> bool,
) -> Option<usize> {
    let (first, second) = pair(count, draw(seed, turn))?;
    match (free(first), free(second)) {
        (true, true) if cost(second) < cost(first) => Some(second),
        (true, _) => Some(first),
        (false, true) => Some(second),
        (false, false) => (first..count).chain(0..first).find(|place| free(*place)),
    }
}

/// Two different places, every ordered pair as likely; the same one twice if there is only one.
fn pair(count: usize, random: u64) -> Option<(usize, usize)> {
    let first = below(random << 32, count);
    // The second is drawn from the places that are left: a step of at least one from the first.
    let step = 1 + below(random & !0xffff_ffff, count.saturating_sub(1));
    (count > 0).then(|| (first, (first + step) % count))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_pair_is_as_likely() {
        for count in 2..8usize {
            let mut seen = BTreeMap::new();
            let rounds = 2_000 * count * (count - 1);
            for turn in 0..rounds as u64 {
                *seen.entry(pair(count, draw(1, turn)).unwrap()).or_insert(0) += 1;
            }
            assert_eq!(seen.len(), count * (count - 1));
            assert!(seen.iter().all(|((first, second), times)| first != second && (1_700..2_300).contains(times)));
        }
        assert_eq!(pair(1, u64::MAX), Some((0, 0)));
        assert_eq!(pair(0, 0), None);
    }

    /// As many requests as members: the most loaded has a few; drawn singly it would have about 7.
    #[test]
    fn the_most_loaded_of_a_thousand_has_three() {
        for seed in 0..20 {
            let mut loads = [0u32; 1_000];
            for turn in 0..1_000 {
                loads[pick(1_000, seed, turn, |place| loads[place], |_| true).unwrap()] += 1;
            }
            assert!(loads.iter().all(|load| *load <= 4), "{seed}: {:?}", loads.iter().max());
        }
    }

    #[test]
    fn idle_members_are_served_alike() {
        let mut served = [0; 10];
        for turn in 0..10_000 {
            served[pick(10, 7, turn, |_| 0, |_| true).unwrap()] += 1;
        }
        assert!(served.iter().all(|times| (850..1_150).contains(times)), "{served:?}");
    }

    proptest! {
        /// Someone free is found if there is one; the costliest of all is not chosen while all are free.
        #[test]
        fn the_better_of_two(
            members in prop::collection::vec((0u32..1_000, any::<bool>()), 0..8),
            seed in any::<u64>(),
            turn in any::<u64>(),
        ) {
            let cost = |place: usize| members[place].0;
            let chosen = pick(members.len(), seed, turn, cost, |place| members[place].1);
            prop_assert_eq!(chosen.is_some(), members.iter().any(|member| member.1));
            prop_assert!(chosen.is_none_or(|place| members[place].1));
            prop_assert_eq!(chosen, pick(members.len(), seed, turn, cost, |place| members[place].1));
            if let Some(best) = pick(members.len(), seed, turn, cost, |_| true) {
                let less = members.iter().filter(|member| member.0 < cost(best)).count();
                prop_assert!(less < members.len().max(2) - 1);
            }
        }
    }
}
