//! Predictive: the member that should answer soonest, what waits at it and where it is heading counted.
//!
//! The load metric of Finagle's `PeakEwma` (Twitter, 2014; also that of Linkerd): `foreseen latency * (outstanding + 1)
//! / weight`, where the latency is a peak that sinks with [`HALF_LIFE`](super::latency::HALF_LIFE), and a trend is added
//! while it rises ([`Latency::foreseen`]).
//!
//! Nobody starves: against others that answer in `l`, a member whose last answer took `p` is asked again after at most
//! `HALF_LIFE * (log2(p / l) + 1)`, and after [`ASK_AGAIN`](super::latency::ASK_AGAIN) half-lives in any case; times
//! `outstanding + 1` for one with requests that do not end.

use super::latency::{Latency, Load};
use crate::Time;

/// What is compared: nanoseconds for each unit of weight.
pub fn score(latency: &Latency, now: Time, load: &Load) -> f64 {
    latency.foreseen(now, load.outstanding) * load.total()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::latency::{ASK_AGAIN, HALF_LIFE, pick};
    use super::*;

    /// Requests come every `gap` ms, one at a time; each takes what `took` says of place and time in ms. Returns who
    /// was chosen.
    fn serve(weights: &[u16], gap: u64, requests: u64, took: impl Fn(usize, u64) -> u64) -> Vec<usize> {
        let mut latencies = vec![Latency::new(Time::ZERO); weights.len()];
        let request = |turn: u64| {
            let now = Time::from_millis(turn * gap);
            let chosen = pick((score, weights), turn, now, |place| latencies[place], |_| 0, |_| true).unwrap();
            let took = Duration::from_millis(took(chosen, turn * gap));
            latencies[chosen].sample(now + took.min(Duration::from_millis(gap)), took);
            chosen
        };
        (0..requests).map(request).collect()
    }

    /// Each of a pool hiccups once, for up to a minute, and is asked again within the stated time.
    #[test]
    fn one_slow_answer_is_forgiven_in_time() {
        for slow in [20u64, 100, 1_000, 60_000] {
            let chosen = serve(&[1, 1, 1], 10, 8_000, |place, at| if place == 1 && at < 200 { slow } else { 5 });
            let hiccup = chosen.iter().position(|place| *place == 1).unwrap();
            let again = chosen[hiccup + 1..].iter().position(|place| *place == 1).unwrap() as u64 * 10;
            let stated = HALF_LIFE.as_secs_f64() * ((slow as f64 / 5.0).log2() + 1.0).min(f64::from(ASK_AGAIN));
            assert!(again as f64 <= stated * 1e3 + 20.0, "{slow}: {again} ms, {stated} s");
            let last = chosen[7_000..].iter().filter(|place| **place == 1).count();
            assert!((150..500).contains(&last), "and serves its share in the end: {last}");
        }
    }

    /// Of a member that never answers, requests pile up slowly: each waits longer than the one before.
    #[test]
    fn who_hangs_is_asked_ever_more_rarely() {
        let mut other = Latency::new(Time::ZERO);
        let hung = Latency::new(Time::ZERO);
        let mut waiting = 0;
        for turn in 0..100_000u64 {
            let now = Time::from_millis(turn * 10);
            other.sample(now, Duration::from_millis(5));
            let chosen =
                pick((score, &[1, 1]), turn, now, |place| [other, hung][place], |place| [0, waiting][place], |_| true);
            waiting += u32::from(chosen == Some(1));
        }
        let lapses = 1_000.0 / (HALF_LIFE.as_secs_f64() * f64::from(ASK_AGAIN));
        assert!(waiting >= 2 && f64::from(waiting) <= lapses + 1.0, "{waiting} in 1,000 s");
    }

    #[test]
    fn a_member_that_grows_slower_is_left_before_it_is_the_slowest() {
        let mut rising = Latency::new(Time::ZERO);
        let mut steady = Latency::new(Time::ZERO);
        for at in (0..20_000).step_by(10) {
            rising.sample(Time::from_millis(at), Duration::from_millis(10 + at / 250));
            steady.sample(Time::from_millis(at), Duration::from_millis(93));
        }
        let now = Time::from_millis(20_000);
        assert!(rising.average(now, 0) < steady.average(now, 0));
        assert_eq!(pick((score, &[1, 1]), 0, now, |place| [rising, steady][place], |_| 0, |_| true), Some(1));
    }

    proptest! {
        /// Nobody free has a lower score.
        #[test]
        fn the_lowest_score_is_chosen(
            members in prop::collection::vec((1u16..50, 0u32..20, any::<bool>(), 0u64..10_000, 0u64..3_000), 0..8),
            turn in any::<u64>(),
        ) {
            let now = Time::from_millis(10_000);
            let latency = |place: usize| {
                let mut latency = Latency::new(Time::ZERO);
                latency.sample(Time::from_millis(members[place].3), Duration::from_millis(members[place].4));
                latency
            };
            let weights: Vec<_> = members.iter().map(|member| member.0).collect();
            let free = |place: usize| members[place].2;
            let chosen = pick((score, &weights), turn, now, latency, |place| members[place].1, free);
            let free: Vec<_> = (0..members.len()).filter(|place| free(*place)).collect();
            prop_assert_eq!(chosen.is_some(), !free.is_empty());
            let of = |place: usize| score(&latency(place), now, &Load::whole(members[place].1, weights[place]));
            prop_assert!(chosen.is_none_or(|chosen| free.iter().all(|other| of(chosen) <= of(*other))));
        }

        /// Whatever single answers take, in a pool where everyone recovers nobody goes without a request for longer
        /// than the stated time.
        #[test]
        fn nobody_starves(slow in prop::collection::vec(1u64..30_000, 2..6)) {
            let weights = vec![1; slow.len()];
            let gap = 50;
            let stated = (HALF_LIFE.as_millis() as u64 * u64::from(ASK_AGAIN)) / gap + weights.len() as u64 + 1;
            let chosen = serve(&weights, gap, 3 * stated, |place, at| if at < 500 { slow[place] } else { 5 });
            for window in chosen.chunks_exact(stated as usize) {
                prop_assert!((0..weights.len()).all(|place| window.contains(&place)));
            }
        }
    }
}
