//! Least connections: the member with the fewest requests outstanding for its weight.

use super::latency::Load;

/// What is compared: requests outstanding for each unit of weight, the new one counted.
pub fn score(load: &Load) -> f64 {
    load.total()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::latency::lowest;
    use super::*;

    fn pick(weights: &[u16], turn: u64, loads: &[u32], free: impl Fn(usize) -> bool) -> Option<usize> {
        lowest(weights.len(), turn, |place| score(&Load::whole(loads[place], weights[place])), free)
    }

    proptest! {
        /// Nobody free would have less load for its weight, the new request counted.
        #[test]
        fn the_least_loaded_is_chosen(
            members in prop::collection::vec((1u16..50, 0u32..20, any::<bool>()), 0..8),
            turn in any::<u64>(),
        ) {
            let weights: Vec<_> = members.iter().map(|member| member.0).collect();
            let loads: Vec<_> = members.iter().map(|member| member.1).collect();
            let chosen = pick(&weights, turn, &loads, |place| members[place].2);
            let free: Vec<_> = (0..members.len()).filter(|place| members[*place].2).collect();
            prop_assert_eq!(chosen.is_some(), !free.is_empty());
            if let Some(chosen) = chosen {
                prop_assert!(members[chosen].2);
                let product = |one: usize, other: usize| (loads[one] + 1) * u32::from(weights[other]);
                prop_assert!(free.iter().all(|other| product(chosen, *other) <= product(*other, chosen)));
            }
        }

        /// Requests that never end are spread by weight.
        #[test]
        fn shares_follow_the_weights(weights in prop::collection::vec(1u16..10, 1..6), rounds in 1u32..20) {
            let sum: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
            let mut loads = vec![0u32; weights.len()];
            for turn in 0..u64::from(sum * rounds) {
                let chosen = pick(&weights, turn, &loads, |_| true).unwrap();
                loads[chosen] += 1;
            }
            let due: Vec<_> = weights.iter().map(|weight| u32::from(*weight) * rounds).collect();
            prop_assert_eq!(loads, due);
        }

        #[test]
        fn idle_members_take_turns(count in 1usize..10) {
            let idle = vec![0; count];
            let chosen: Vec<_> =
                (0..count as u64).map(|turn| pick(&vec![1; count], turn, &idle, |_| true).unwrap()).collect();
            prop_assert_eq!(chosen, (0..count).collect::<Vec<_>>());
        }
    }
}
