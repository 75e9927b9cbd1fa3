//! Observed: the average latency of late times what waits at the member.
//!
//! `average latency * (outstanding + 1) / weight`, the averages being those of [`fastest`](super::fastest). By Little's
//! law a member's requests outstanding are its rate times its latency, so that under load, where all scores are about
//! the same, the rates are as `weight / latency²`. Unlike [`predictive`](super::predictive) it heeds neither a single slow answer nor
//! where a member is heading: for backends whose answers take very different times by themselves.
//!
//! Nobody starves: against idle members that answer in `l`, one whose average is `a` is asked again after
//! `HALF_LIFE * log2(a / l)`, and after [`ASK_AGAIN`](super::latency::ASK_AGAIN) half-lives in any case; times
//! `outstanding + 1` for one with requests that do not end.

use super::latency::{Latency, Load};
use crate::Time;

/// What is compared: nanoseconds for each unit of weight.
pub fn score(latency: &Latency, now: Time, load: &Load) -> f64 {
    latency.average(now, load.outstanding) * load.total()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::latency::{ASK_AGAIN, HALF_LIFE, lowest};
    use super::*;

    /// Serves requests that come each `gap` ms and overlap: a member of `took` ms ends each so much later. Returns who
    /// was chosen.
    fn serve(took: &[u64], gap: u64, requests: u64, weights: &[u16]) -> Vec<usize> {
        let mut latencies = vec![Latency::new(Time::ZERO); took.len()];
        let mut running: Vec<(u64, usize)> = Vec::new();
        let request = |turn: u64| {
            let at = turn * gap;
            running.retain(|(end, place)| {
                if *end <= at {
                    latencies[*place].sample(Time::from_millis(*end), Duration::from_millis(took[*place]));
                }
                *end > at
            });
            let outstanding = |place: usize| running.iter().filter(|(_, at)| *at == place).count() as u32;
            let now = Time::from_millis(at);
            let score = |place: usize| score(&latencies[place], now, &Load::whole(outstanding(place), weights[place]));
            let chosen = lowest(took.len(), turn, score, |_| true).unwrap();
            running.push((at + took[chosen], chosen));
            chosen
        };
        (0..requests).map(request).collect()
    }

    /// Under load: twice as quick, four times as many.
    #[test]
    fn shares_follow_the_speeds() {
        let chosen = serve(&[100, 200, 400], 2, 50_000, &[1, 1, 1]);
        let late = &chosen[10_000..];
        let served = |place: usize| late.iter().filter(|it| **it == place).count() as f64;
        assert!((3.5..4.5).contains(&(served(0) / served(1))), "{} {}", served(0), served(1));
        assert!((3.5..4.5).contains(&(served(1) / served(2))), "{} {}", served(1), served(2));
    }

    #[test]
    fn equal_members_share_by_weight() {
        let chosen = serve(&[100, 100], 2, 20_000, &[3, 1]);
        let served = chosen[5_000..].iter().filter(|it| **it == 0).count() as f64 / 15_000.0;
        assert!((0.70..0.80).contains(&served), "{served}");
    }

    #[test]
    fn of_the_idle_the_quicker_is_chosen() {
        let of = |millis: u64| {
            let mut latency = Latency::new(Time::ZERO);
            latency.sample(Time::ZERO, Duration::from_millis(millis));
            move |outstanding| score(&latency, Time::ZERO, &Load::whole(outstanding, 1))
        };
        let (quick, slow) = (of(10), of(25));
        assert!(quick(0) < slow(0) && quick(1) < slow(0) && quick(2) > slow(0));
    }

    proptest! {
        /// Whatever the members take, everyone that is idle is asked within the stated time.
        #[test]
        fn nobody_starves(took in prop::collection::vec(1u64..2_000, 2..6)) {
            let gap = 2_500;
            let stated = HALF_LIFE.as_millis() as u64 * u64::from(ASK_AGAIN) / gap + took.len() as u64 + 1;
            let chosen = serve(&took, gap, 3 * stated, &vec![1; took.len()]);
            for window in chosen.chunks_exact(stated as usize) {
                prop_assert!((0..took.len()).all(|place| window.contains(&place)), "{took:?} {chosen:?}");
            }
        }
    }
}
