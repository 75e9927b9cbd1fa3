//! Fastest: the member with the lowest average latency of late.
//!
//! `average latency / weight`, where the average is exponentially weighted with
//! [`HALF_LIFE`](super::latency::HALF_LIFE) and sinks while nobody asks ([`Latency::average`]). What waits at a member
//! is not counted: for backends that differ by where they stand. [`predictive`](super::predictive) also heeds how busy
//! they are. A weight is a handicap here, not a share: of two with answers as quick the heavier gets nearly all, until
//! that makes it slower.
//!
//! Nobody starves: against others that answer in `l`, a member whose average is `a` is asked again after
//! `HALF_LIFE * log2(a / l)`, and after [`ASK_AGAIN`](super::latency::ASK_AGAIN) half-lives in any case; times
//! `outstanding + 1` for one with requests that do not end.

use super::latency::{Latency, Load};
use crate::Time;

/// What is compared: nanoseconds for each unit of weight.
pub fn score(latency: &Latency, now: Time, load: &Load) -> f64 {
    latency.average(now, load.outstanding) * load.own()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::latency::{ASK_AGAIN, HALF_LIFE, pick};
    use super::*;

    #[test]
    fn what_waits_does_not_count() {
        let of = |millis: u64| {
            let mut latency = Latency::new(Time::ZERO);
            latency.sample(Time::ZERO, Duration::from_millis(millis));
            latency
        };
        let latency = |place: usize| [of(10), of(11)][place];
        let outstanding = |place: usize| [100, 0][place];
        assert_eq!(pick((score, &[1, 1]), 0, Time::ZERO, latency, outstanding, |_| true), Some(0));
    }

    proptest! {
        /// Members that each keep their own latency: the fastest gets most, and everyone is measured again within the
        /// stated time.
        #[test]
        fn the_fastest_gets_most_and_nobody_starves(took in prop::collection::vec(1u64..2_000, 2..6)) {
            let gap = 50;
            let weights = vec![1; took.len()];
            let mut latencies = vec![Latency::new(Time::ZERO); took.len()];
            let stated = (HALF_LIFE.as_millis() as u64 * u64::from(ASK_AGAIN)) / gap + took.len() as u64 + 1;
            let mut chosen = Vec::new();
            for turn in 0..3 * stated {
                let now = Time::from_millis(turn * gap);
                let place = pick((score, &weights), turn, now, |place| latencies[place], |_| 0, |_| true).unwrap();
                latencies[place].sample(now, Duration::from_millis(took[place]));
                chosen.push(place);
            }
            let served = |place: usize| chosen.iter().filter(|it| **it == place).count();
            let best = (0..took.len()).min_by_key(|place| took[*place]).unwrap();
            for place in 0..took.len() {
                prop_assert!(chosen.chunks_exact(stated as usize).all(|window| window.contains(&place)));
                prop_assert!(took[place] < 2 * took[best] || served(place) <= served(best));
            }
        }
    }

    #[test]
    fn who_is_not_free_is_passed_over() {
        let mut slow = Latency::new(Time::ZERO);
        slow.sample(Time::ZERO, Duration::from_secs(1));
        let known = [slow, Latency::new(Time::ZERO)];
        let choose =
            |free: [bool; 2]| pick((score, &[1, 1]), 0, Time::ZERO, |place| known[place], |_| 0, |place| free[place]);
        assert_eq!(choose([true, true]), Some(1));
        assert_eq!(choose([true, false]), Some(0));
        assert_eq!(choose([false, false]), None);
        assert_eq!(pick((score, &[]), 3, Time::ZERO, |_| slow, |_| 0, |_| true), None);
    }
}
