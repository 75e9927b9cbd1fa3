//! A budget for retries: some of what fails may be tried again, but what fails for all must not become a storm.
//!
//! Each request earns a part of a retry and each second a few more, as in Finagle's `RetryBudget` (Twitter, 2015). What was
//! earned fades with [`Config::window`], so that a quiet hour saves nothing up: after `t` without a retry the balance of
//! steady traffic is `window * (1 - e^(-t / window))` times what it earns in a second.
//!
//! How many requests there were is asked only when one is to be tried again; in between, none of them costs anything. What
//! came since the last question is taken to have come evenly.

use std::time::Duration;

use crate::Time;

/// How much may be tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Retries that a request earns: 0.2 are one for five.
    pub per_request: f64,
    /// Retries that a second earns, for sites with few requests.
    pub per_second: f64,
    /// How long what was earned lasts.
    pub window: Duration,
}

impl Default for Config {
    /// A fifth, ten a second, 10 s: Finagle's. When a backend dies, all that it had in hand is tried again at once: with
    /// 100 requests a second, 300 may be.
    fn default() -> Config {
        Config { per_request: 0.2, per_second: 10.0, window: Duration::from_secs(10) }
    }
}

/// The budget.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    config: Config,
    at: Time,
    /// Requests there had been at `at`.
    requests: u64,
    balance: f64,
}

impl Budget {
    /// As after a long time without a request.
    pub fn new(config: Config, now: Time) -> Budget {
        let balance = config.per_second * config.window.as_secs_f64();
        Budget { config, at: now, requests: 0, balance }
    }

    /// The same, where there had been so many requests before.
    pub fn after(self, requests: u64) -> Budget {
        Budget { requests, ..self }
    }

    /// May a request be tried again? `requests` is how many there have been in all, retries not counted.
    pub fn withdraw(&mut self, now: Time, requests: u64) -> bool {
        self.earn(now, requests);
        let enough = self.balance >= 1.0;
        self.balance -= if enough { 1.0 } else { 0.0 };
        enough
    }

    fn earn(&mut self, now: Time, requests: u64) {
        let came = requests.saturating_sub(self.requests) as f64 * self.config.per_request;
        let (passed, window) = (now.since(self.at).as_secs_f64(), self.config.window.as_secs_f64());
        let ages = passed / window;
        // Of what came evenly over that time, this part has not faded; all of it in the limit of no time.
        let left = if ages > 1e-9 { -(-ages).exp_m1() / ages } else { 1.0 };
        self.balance = self.balance * (-ages).exp() + (came + passed * self.config.per_second) * left;
        (self.at, self.requests) = (self.at.max(now), self.requests.max(requests));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Withdraws until it is refused.
    fn all(budget: &mut Budget, now: Time, requests: u64) -> u32 {
        let mut count = 0;
        while budget.withdraw(now, requests) {
            count += 1;
        }
        count
    }

    #[test]
    fn what_is_earned_lasts_ten_seconds() {
        let mut budget = Budget::new(Config::default(), Time::ZERO);
        assert_eq!(all(&mut budget, Time::ZERO, 0), 100, "ten seconds without a request");
        assert_eq!(all(&mut budget, Time::ZERO, 50), 10, "a fifth of what comes at once");
        let hour = Time::from_millis(3_600_000);
        assert_eq!(all(&mut budget, hour, 50 + 360_000), 300, "100 requests a second, of which only the last count");
        assert_eq!(all(&mut budget, hour, 50 + 360_000), 0);
    }

    /// A tier that is wholly down, at 1,000 requests a second: a fifth more, and the floor.
    #[test]
    fn an_outage_is_no_storm() {
        let mut budget = Budget::new(Config::default(), Time::ZERO);
        let granted = (1..=60_000u64).filter(|number| budget.withdraw(Time::from_millis(*number), *number)).count();
        assert!((12_000..12_000 + 600 + 101).contains(&granted), "{granted}");
    }

    proptest! {
        /// Never more than what was there at the beginning and was earned since.
        #[test]
        fn no_more_than_was_earned(
            per_request in 0.0f64..1.0,
            per_second in 0.0f64..2.0,
            history in prop::collection::vec((0u64..500, 0u64..5, any::<bool>()), 1..200),
        ) {
            let config = Config { per_request, per_second, window: Duration::from_secs(10) };
            let mut budget = Budget::new(config, Time::ZERO);
            let (mut now, mut requests, mut granted) = (Time::ZERO, 0, 0.0);
            for (pause, more, asks) in history {
                now = now + Duration::from_millis(pause);
                requests += more;
                if !asks {
                    continue;
                }
                granted += f64::from(u8::from(budget.withdraw(now, requests)));
                let seconds = now.since(Time::ZERO).as_secs_f64();
                let most = 10.0 * per_second + per_second * seconds + per_request * requests as f64;
                prop_assert!(granted <= most + 1e-6, "{granted} of {most}");
                prop_assert!(budget.balance >= 0.0);
            }
        }

        /// Of steady traffic that earns more than a retry within the window, one in six requests may be tried again.
        #[test]
        fn what_is_within_the_share_is_granted(each in 6u64..100, period in 1u64..1_000) {
            let mut budget = Budget::new(Config { per_second: 0.0, ..Config::default() }, Time::ZERO);
            let granted = |number: &u64| budget.withdraw(Time::from_millis(number * period), number * each);
            prop_assert_eq!((1..500).filter(granted).count(), 499);
        }

        /// Asked twice or once over the same time, steady traffic earns the same.
        #[test]
        fn asking_earns_nothing(halves in 1u64..10_000, requests in 0u64..10_000) {
            let mut once = Budget::new(Config::default(), Time::ZERO);
            let mut twice = once;
            twice.earn(Time::from_millis(halves), requests);
            twice.earn(Time::from_millis(2 * halves), 2 * requests);
            once.earn(Time::from_millis(2 * halves), 2 * requests);
            prop_assert!((once.balance - twice.balance).abs() < 1e-6 * once.balance.max(1.0));
        }
    }
}
