//! Slow start: who became well again gets a growing share, so that caches fill and pools connect before the crowd comes.
//!
//! HAProxy's `slowstart`, which grows weights the same way: from a tenth of its weight to all of it in ten equal steps,
//! since a table of turns is made anew for each. It also bounds what a member costs that only seemed to be well.

use std::time::Duration;

use crate::Time;

/// Of a whole share, which has so many parts.
pub const PARTS: u8 = 10;

/// How many parts of its share a member gets, 1 to [`PARTS`], that has been well again since `began`; all after `over`.
pub fn parts(began: Time, over: Duration, now: Time) -> u8 {
    let (passed, over) = (now.since(began).as_nanos(), over.as_nanos());
    if passed >= over { PARTS } else { 1 + (passed * u128::from(PARTS - 1) / over) as u8 }
}

/// When its share grows next; [`Time::NEVER`] if it has all of it.
pub fn grows(began: Time, over: Duration, now: Time) -> Time {
    match parts(began, over, now) {
        PARTS => Time::NEVER,
        parts => {
            let after = (over.as_nanos() * u128::from(parts)).div_ceil(u128::from(PARTS - 1));
            began + Duration::from_nanos(u64::try_from(after).unwrap_or(u64::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_steps() {
        let over = Duration::from_secs(9);
        let at = |second: u64| parts(Time::ZERO, over, Time::from_millis(second * 1_000));
        assert_eq!((0..11).map(at).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]);
        assert_eq!(parts(Time::ZERO, Duration::ZERO, Time::ZERO), PARTS, "no slow start");
    }

    proptest! {
        /// The share never falls, grows exactly when it was said to, and is whole in the end.
        #[test]
        fn grows_when_it_says_so(began in 0u64..1_000, over in 0u64..1_000) {
            let (began, over) = (Time::from_nanos(began), Duration::from_nanos(over));
            let (mut now, mut last) = (began, parts(began, over, began));
            prop_assert!(last >= 1);
            while grows(began, over, now) != Time::NEVER {
                let next = grows(began, over, now);
                prop_assert!(next > now);
                prop_assert_eq!(parts(began, over, Time::from_nanos(next.as_nanos() - 1)), last);
                prop_assert!(parts(began, over, next) > last);
                (now, last) = (next, parts(began, over, next));
            }
            prop_assert_eq!(last, PARTS);
            prop_assert!(now <= began + over);
        }
    }
}
