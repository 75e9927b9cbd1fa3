//! Requests a second, from totals that only grow.

use std::collections::{BTreeMap, HashMap, VecDeque};

use mainstay_site::names::{ServerName, ServiceName};
use mainstay_site::wire::ServerStatus;

/// The counter that every service which answers requests keeps.
const COUNTER: &str = "requests_total";

/// Over how long a rate is taken: long enough not to flicker, short enough to follow.
const WINDOW_MS: u64 = 5_000;

/// The totals of the last [`WINDOW_MS`].
#[derive(Default)]
pub struct Rates {
    seen: HashMap<(ServerName, ServiceName), VecDeque<(u64, u64)>>,
}

impl Rates {
    /// Notes what a server's services count now, and gives the rates of those that were seen before.
    pub fn note(&mut self, at_ms: u64, status: &ServerStatus) -> BTreeMap<ServiceName, f64> {
        let mut rates = BTreeMap::new();
        for service in &status.services {
            let report = service.report.as_ref();
            let Some(total) = report.and_then(|report| report.counters.get(COUNTER)).copied() else { continue };
            let samples = self.seen.entry((status.server.clone(), service.name.clone())).or_default();
            push(samples, at_ms, total);
            if let Some(rate) = rate(samples) {
                rates.insert(service.name.clone(), rate);
            }
        }
        rates
    }
}

fn push(samples: &mut VecDeque<(u64, u64)>, at_ms: u64, total: u64) {
    // A service that was started again counts from zero.
    if samples.back().is_some_and(|(_, before)| total < *before) {
        samples.clear();
    }
    samples.push_back((at_ms, total));
    while samples.len() > 2 && samples.front().is_some_and(|(at, _)| at_ms.saturating_sub(*at) > WINDOW_MS) {
        samples.pop_front();
    }
}

fn rate(samples: &VecDeque<(u64, u64)>) -> Option<f64> {
    let ((from, first), (to, last)) = (samples.front()?, samples.back()?);
    // Exact up to 2^53 requests.
    let (passed, answered) = (to.checked_sub(*from)? as f64 / 1_000.0, (last - first) as f64);
    (passed > 0.0).then_some(answered / passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_last_seconds_and_starts_over_with_the_service() {
        let mut samples = VecDeque::new();
        let mut at = |at, total| {
            push(&mut samples, at, total);
            rate(&samples)
        };
        assert_eq!(at(0, 100), None);
        assert_eq!(at(1_000, 150), Some(50.0));
        assert_eq!(at(2_000, 150), Some(25.0));
        assert_eq!(at(6_000, 150), Some(0.0), "the first two are forgotten");
        assert_eq!(at(7_000, 3), None);
        assert_eq!(at(8_000, 5), Some(2.0));
        assert_eq!(at(8_000, 5), Some(2.0), "no time passed");
    }
}
