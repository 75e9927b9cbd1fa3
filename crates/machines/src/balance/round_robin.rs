//! Smooth weighted round robin.
//!
//! The order is that of nginx's algorithm: each turn every member gains its weight, the one with most is chosen and
//! pays the sum of all weights. That order repeats after `sum / gcd` turns, so it is worked out once and a turn is
//! one look into a table: no lock, and no cost per member. Working it out costs a step per turn and member; in a large pool
//! the turns of each are laid evenly over the period instead and merged, which is as smooth and costs a sort.

use super::FEW;

/// Turns of one period at most. Larger sums of weights are scaled down; shares are then true to 1 in 4096.
const TURNS_MAX: u64 = 4096;

/// The order of one period, as places in `weights`; none of which is 0.
pub fn turns(weights: &[u16]) -> Vec<u16> {
    let weights = reduced(weights);
    if weights.iter().all(|weight| *weight == 1) {
        return (0..weights.len() as u16).collect();
    }
    if weights.len() > FEW {
        return merged(&weights);
    }
    let period: i64 = weights.iter().sum();
    let mut gained = vec![0i64; weights.len()];
    (0..period).map(|_| next(&weights, &mut gained, period)).collect()
}

/// Of a member with weight `w`, turn `k` is due at `(k + 1/2) / w` of the period.
fn merged(weights: &[i64]) -> Vec<u16> {
    let of = |(place, weight): (usize, &i64)| {
        let weight = *weight as f64;
        (0..weight as u64).map(move |turn| ((turn as f64 + 0.5) / weight, place as u16))
    };
    let mut due: Vec<(f64, u16)> = weights.iter().enumerate().flat_map(of).collect();
    due.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    due.into_iter().map(|(_, place)| place).collect()
}

/// Chooses by the order of `turns`, passing over those that are not free.
pub fn pick(turns: &[u16], turn: u64, free: impl Fn(usize) -> bool) -> Option<usize> {
    let start = (turn % turns.len().max(1) as u64) as usize;
    let (before, after) = turns.split_at(start.min(turns.len()));
    after.iter().chain(before).map(|place| usize::from(*place)).find(|place| free(*place))
}

/// One step of the algorithm; the first of equals is chosen.
fn next(weights: &[i64], gained: &mut [i64], sum: i64) -> u16 {
    let mut best = 0;
    for place in 0..weights.len() {
        gained[place] += weights[place];
        if gained[place] > gained[best] {
            best = place;
        }
    }
    gained[best] -= sum;
    best as u16
}

/// The weights in lowest terms, and small enough for [`TURNS_MAX`].
fn reduced(weights: &[u16]) -> Vec<i64> {
    let divisor = weights.iter().fold(0, |so_far, weight| gcd(so_far, u64::from(*weight))).max(1);
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight) / divisor).sum();
    let limit = TURNS_MAX.max(weights.len() as u64);
    let scale = |weight: u64| if sum > limit { (weight * limit / sum).max(1) } else { weight };
    weights.iter().map(|weight| scale(u64::from(*weight) / divisor) as i64).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_is_smooth() {
        assert_eq!(turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(turns(&[200, 100]), [0, 1, 0]);
        assert!(turns(&[]).is_empty());
        assert_eq!(pick(&[], 7, |_| true), None);
    }

    proptest! {
        /// In one period each member is chosen exactly by its weight.
        #[test]
        fn shares_are_exact(weights in prop::collection::vec(1u16..100, 1..40)) {
            let order = turns(&weights);
            let sum: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
            for (place, weight) in weights.iter().enumerate() {
                let chosen = order.iter().filter(|turn| usize::from(**turn) == place).count();
                prop_assert_eq!(chosen * sum, usize::from(*weight) * order.len());
            }
        }

        /// Within any beginning of a period nobody is further than one turn from the share that is due.
        #[test]
        fn nobody_waits_long(weights in prop::collection::vec(1u16..20, 1..40)) {
            let order = turns(&weights);
            let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for place in 0..weights.len() {
                let mut chosen = 0.0;
                for (number, turn) in order.iter().enumerate() {
                    chosen += f64::from(u8::from(usize::from(*turn) == place));
                    let due = (number + 1) as f64 * f64::from(weights[place]) / sum;
                    prop_assert!((chosen - due).abs() < weights.len() as f64, "{place}: {chosen} of {due}");
                }
            }
        }

        #[test]
        fn large_weights_keep_their_order_and_everyone_a_turn(weights in prop::collection::vec(1u16.., 1..50)) {
            let order = turns(&weights);
            prop_assert!(order.len() as u64 <= TURNS_MAX + weights.len() as u64);
            prop_assert!((0..weights.len()).all(|place| order.contains(&(place as u16))));
        }
    }
}
