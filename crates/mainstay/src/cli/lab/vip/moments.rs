//! When between two adverts of a master something happens to it. How long the address is away depends on that by a whole interval, and
//! whatever goes before in a run is in step with the adverts: so it is drawn, spread evenly over all runs, and the same for whoever is
//! compared.

use std::time::Duration;

/// For each of `runs` how much of an interval has passed since the last advert: one in each of so many equal parts, in an order that is
/// drawn too.
pub fn drawn(seed: u64, runs: u32) -> Vec<f64> {
    let mut dice = Dice(seed);
    let mut moments: Vec<f64> = (0..runs).map(|part| (f64::from(part) + dice.share()) / f64::from(runs)).collect();
    for last in (1..moments.len()).rev() {
        let other = (dice.share() * (last + 1) as f64) as usize;
        moments.swap(last, other.min(last));
    }
    moments
}

/// What a share of an interval is in time.
pub fn of(interval: Duration, moment: f64) -> Duration {
    interval.mul_f64(moment)
}

/// Numbers that look random: SplitMix64 (Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    /// From 0 to 1, which it never is.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // 53 bits are what such a number holds.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::drawn;

    #[test]
    fn every_part_of_the_interval_has_one() {
        for runs in [1, 2, 7, 20] {
            for seed in 0..50 {
                let mut moments = drawn(seed, runs);
                assert_eq!(moments, drawn(seed, runs), "the same seed");
                moments.sort_by(f64::total_cmp);
                for (part, moment) in moments.iter().enumerate() {
                    assert_eq!((moment * f64::from(runs)) as usize, part, "seed {seed}: {moments:?}");
                }
            }
        }
    }

    #[test]
    fn another_seed_draws_others_in_another_order() {
        let order = |seed| drawn(seed, 20).iter().map(|moment| (moment * 20.0) as usize).collect::<Vec<_>>();
        assert_ne!(order(1), order(2));
        assert_ne!(order(1), (0..20).collect::<Vec<_>>());
    }
}
