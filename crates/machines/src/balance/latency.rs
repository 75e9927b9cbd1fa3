//! How long a member takes to answer, as a statistic of fixed size that is one copy to read.
//!
//! A sample that comes `dt` after the last one weighs `1 - 2^(-dt / HALF_LIFE)`, whatever the rate of requests: ten
//! samples in a millisecond tell little more than one. Two averages (of one and of `SLOW` half-lives) and a peak are
//! kept. The peak is that of Finagle's `PeakEwma`: it takes a slower answer over at once and sinks to quicker ones with
//! the half-life, since a member that turned slow must be left at once and be trusted again only by and by.
//!
//! What a member once measured sinks towards nothing while nobody asks it: `2^(-idle / (HALF_LIFE * (outstanding + 1)))`.
//! So it is asked again. Requests that are still outstanding slow that down, since a member that hangs gives no samples
//! either: of one that never answers, the requests that wait at it grow with the square root of time only. After
//! [`ASK_AGAIN`] half-lives (times `outstanding + 1`) it counts as not known at all and comes first.

use std::time::Duration;

use crate::Time;

/// After which a sample has half its weight. Long against a request, short against a deploy.
pub const HALF_LIFE: Duration = Duration::from_secs(2);

/// Half-lives after which a member that nobody asked, with nothing outstanding, comes first whatever it measured.
pub const ASK_AGAIN: u32 = 8;

/// The half-life of the slow average, in half-lives.
const SLOW: f64 = 4.0;

/// How much of the distance between the two averages is added to the peak to foretell an answer one half-life ahead. On
/// a steady rise of slope `s` an average of half-life `h` lags by `s h / ln 2` and the peak not at all: the averages are
/// `(SLOW - 1) s h / ln 2` apart, and `s h` is still to come.
const TREND: f64 = std::f64::consts::LN_2 / (SLOW - 1.0);

/// What an answer is taken to last, in nanoseconds, of a member that never gave one but has a request already: longer
/// than every real one, so that one request at a time finds out.
const UNKNOWN: f64 = 3.6e12;

/// The latency of one member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// Of the last sample; of the beginning if there is none.
    at: Time,
    /// Nanoseconds, as of `at`. Negative: no sample yet.
    quick: f64,
    slow: f64,
    peak: f64,
}

impl Latency {
    /// Nothing is known yet.
    pub fn new(now: Time) -> Latency {
        Latency { at: now, quick: -1.0, slow: -1.0, peak: -1.0 }
    }

    /// As four numbers, for a place that is written without a lock.
    pub fn to_bits(self) -> [u64; 4] {
        [self.at.as_nanos(), self.quick.to_bits(), self.slow.to_bits(), self.peak.to_bits()]
    }

    /// From the numbers of [`Latency::to_bits`]. A mixture of two neighbouring samples' numbers is a latency too.
    pub fn from_bits([at, quick, slow, peak]: [u64; 4]) -> Latency {
        let of = f64::from_bits;
        Latency { at: Time::from_nanos(at), quick: of(quick), slow: of(slow), peak: of(peak) }
    }

    /// An answer took `took`.
    pub fn sample(&mut self, now: Time, took: Duration) {
        let took = took.as_nanos() as f64;
        if self.quick < 0.0 {
            *self = Latency { at: now, quick: took, slow: took, peak: took };
            return;
        }
        let age = half_lives(now.since(self.at));
        let mix = |old: f64, age: f64| took + (old - took) * (-age).exp2();
        self.quick = mix(self.quick, age);
        self.slow = mix(self.slow, age / SLOW);
        self.peak = mix(self.peak, age).max(took);
        self.at = self.at.max(now);
    }

    /// The average, sunken by the time nobody asked; in nanoseconds.
    pub fn average(&self, now: Time, outstanding: u32) -> f64 {
        self.sunken(now, outstanding, self.quick)
    }

    /// What the next answer may take: the peak, and what the averages say is still to come if they rise; sunken by the
    /// time nobody asked; in nanoseconds. A fall is believed only as it is seen, since the peak follows it anyway.
    pub fn foreseen(&self, now: Time, outstanding: u32) -> f64 {
        self.sunken(now, outstanding, self.peak + TREND * (self.quick - self.slow).max(0.0))
    }

    fn sunken(&self, now: Time, outstanding: u32, nanos: f64) -> f64 {
        let age = half_lives(now.since(self.at)) / (f64::from(outstanding) + 1.0);
        match self.quick < 0.0 {
            _ if age >= f64::from(ASK_AGAIN) => 0.0,
            true if outstanding == 0 => 0.0,
            true => UNKNOWN,
            false => nanos * (-age).exp2(),
        }
    }
}

fn half_lives(passed: Duration) -> f64 {
    passed.as_secs_f64() / HALF_LIFE.as_secs_f64()
}

/// How much work a member has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Requests that it has.
    pub outstanding: u32,
    /// Its share; 0 counts as 1.
    pub weight: u16,
    /// Whether it was drawn by its weight already. Among all the heavier of two idle members must come first; of two that
    /// are drawn by weight it would then be preferred twice.
    pub drawn: bool,
}

impl Load {
    /// That of a member among all of its pool.
    pub fn whole(outstanding: u32, weight: u16) -> Load {
        Load { outstanding, weight, drawn: false }
    }

    /// Requests for each unit of weight, the new one counted.
    pub fn total(&self) -> f64 {
        let (outstanding, weight) = (f64::from(self.outstanding), f64::from(self.weight.max(1)));
        if self.drawn { outstanding / weight + 1.0 } else { (outstanding + 1.0) / weight }
    }

    /// What the new one alone counts.
    pub fn own(&self) -> f64 {
        Load { outstanding: 0, ..*self }.total()
    }
}

/// The free place with the lowest score; of equals the first from place `turn` on.
pub(super) fn lowest(
    count: usize,
    turn: u64,
    score: impl Fn(usize) -> f64,
    free: impl Fn(usize) -> bool,
) -> Option<usize> {
    let start = (turn % count.max(1) as u64) as usize;
    let mut best: Option<(usize, f64)> = None;
    for place in (start..count).chain(0..start).filter(|place| free(*place)) {
        let score = score(place);
        if best.is_none_or(|(_, than)| score < than) {
            best = Some((place, score));
        }
    }
    best.map(|(place, _)| place)
}

#[cfg(test)]
type Score = fn(&Latency, Time, &Load) -> f64;

/// Chooses of a small pool by one of the algorithms that score latencies.
#[cfg(test)]
pub(super) fn pick(
    (score, weights): (Score, &[u16]),
    turn: u64,
    now: Time,
    latency: impl Fn(usize) -> Latency,
    outstanding: impl Fn(usize) -> u32,
    free: impl Fn(usize) -> bool,
) -> Option<usize> {
    let score = |place: usize| score(&latency(place), now, &Load::whole(outstanding(place), weights[place]));
    lowest(weights.len(), turn, score, free)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_half_life_halves() {
        let mut latency = Latency::new(Time::ZERO);
        latency.sample(Time::ZERO, millis(800));
        assert_eq!(latency.average(Time::ZERO + HALF_LIFE, 0), 4e8);
        assert_eq!(latency.average(Time::ZERO + HALF_LIFE * 2, 1), 4e8, "with one outstanding it takes two");
        latency.sample(Time::ZERO + HALF_LIFE, millis(400));
        assert_eq!(latency.average(Time::ZERO + HALF_LIFE, 0), 6e8);
    }

    #[test]
    fn who_is_not_known_gets_one_request_to_find_out() {
        let latency = Latency::new(Time::ZERO);
        assert_eq!(latency.foreseen(Time::ZERO, 0), 0.0);
        assert_eq!(latency.foreseen(Time::ZERO, 1), UNKNOWN);
        let again = Time::ZERO + HALF_LIFE * ASK_AGAIN * 2;
        assert_eq!(latency.foreseen(again, 1), 0.0, "and another one if that one hangs");
        assert_eq!(latency.foreseen(again, 2), UNKNOWN);
    }

    /// On a steady rise the answer one half-life ahead is foretold.
    #[test]
    fn a_steady_rise_is_foretold() {
        let mut latency = Latency::new(Time::ZERO);
        let rise = |at: u64| millis(10 + at / 100);
        for at in (0..60_000).step_by(10) {
            latency.sample(Time::from_millis(at), rise(at));
        }
        let foreseen = latency.foreseen(Time::from_millis(60_000), 0);
        let ahead = rise(62_000).as_nanos() as f64;
        assert!((foreseen - ahead).abs() < 0.01 * ahead, "{foreseen} {ahead}");
    }

    proptest! {
        /// The average lies between the least and the largest sample, the peak at or above it; at a sample's time both
        /// are positive if the sample is.
        #[test]
        fn between_the_least_and_the_largest(samples in prop::collection::vec((0u64..5_000, 1u64..5_000), 1..40)) {
            let mut latency = Latency::new(Time::ZERO);
            let mut now = Time::ZERO;
            let (mut least, mut largest) = (f64::MAX, 0f64);
            for (pause, took) in samples {
                now = now + millis(pause);
                latency.sample(now, millis(took));
                least = least.min(took as f64 * 1e6);
                largest = largest.max(took as f64 * 1e6);
                let average = latency.average(now, 0);
                prop_assert!(average >= least * (1.0 - 1e-9) && average <= largest * (1.0 + 1e-9));
                prop_assert!(latency.foreseen(now, 0) >= average * (1.0 - 1e-9));
                prop_assert!(latency.foreseen(now, 0) >= took as f64 * 1e6, "a slow answer is heeded at once");
                prop_assert!(latency.foreseen(now, 0) <= largest * (1.0 + TREND + 1e-9));
                prop_assert_eq!(Latency::from_bits(latency.to_bits()), latency);
            }
        }
    }
}
