//! Least connections: the member with the fewest requests outstanding for its weight.

/// Chooses the free member with the smallest `outstanding / weight`. Of equals the first from place `turn` on is
/// chosen, so that idle members take turns instead of the first one doing all the work.
pub fn pick(
    weights: &[u16],
    turn: u64,
    outstanding: impl Fn(usize) -> u32,
    free: impl Fn(usize) -> bool,
) -> Option<usize> {
    let count = weights.len();
    let start = (turn % count.max(1) as u64) as usize;
    let mut best: Option<(usize, u64)> = None;
    for place in (start..count).chain(0..start).filter(|place| free(*place)) {
        let load = u64::from(outstanding(place)) + 1;
        let less = |(other, than): (usize, u64)| load * u64::from(weights[other]) < than * u64::from(weights[place]);
        if best.is_none_or(less) {
            best = Some((place, load));
        }
    }
    best.map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Nobody free would have less load for its weight, the new request counted.
        #[test]
        fn the_least_loaded_is_chosen(
            members in prop::collection::vec((1u16..50, 0u32..20, any::<bool>()), 0..8),
            turn in any::<u64>(),
        ) {
            let weights: Vec<_> = members.iter().map(|member| member.0).collect();
            let chosen = pick(&weights, turn, |place| members[place].1, |place| members[place].2);
            let load = |place: usize| f64::from(members[place].1 + 1) / f64::from(members[place].0);
            let free: Vec<_> = (0..members.len()).filter(|place| members[*place].2).collect();
            prop_assert_eq!(chosen.is_some(), !free.is_empty());
            if let Some(chosen) = chosen {
                prop_assert!(members[chosen].2);
                prop_assert!(free.iter().all(|other| load(chosen) <= load(*other) + 1e-9));
            }
        }

        /// Requests that never end are spread by weight.
        #[test]
        fn shares_follow_the_weights(weights in prop::collection::vec(1u16..10, 1..6), rounds in 1u32..20) {
            let sum: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
            let mut loads = vec![0u32; weights.len()];
            for turn in 0..u64::from(sum * rounds) {
                let chosen = pick(&weights, turn, |place| loads[place], |_| true).unwrap();
                loads[chosen] += 1;
            }
            let due: Vec<_> = weights.iter().map(|weight| u32::from(*weight) * rounds).collect();
            prop_assert_eq!(loads, due);
        }

        #[test]
        fn idle_members_take_turns(count in 1usize..10) {
            let weights = vec![1; count];
            let chosen: Vec<_> = (0..count as u64).map(|turn| pick(&weights, turn, |_| 0, |_| true).unwrap()).collect();
            prop_assert_eq!(chosen, (0..count).collect::<Vec<_>>());
        }
    }
}
