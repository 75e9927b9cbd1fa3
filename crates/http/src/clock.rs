//! The time of the day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// The time of the day as of the kernel's last tick, some milliseconds ago at most (clock_gettime(2),
/// `CLOCK_REALTIME_COARSE`): dates have seconds and logs milliseconds, and it is asked for several times a request.
pub(crate) fn now() -> SystemTime {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    let since = Duration::new(now.tv_sec.try_into().unwrap_or_default(), now.tv_nsec.try_into().unwrap_or_default());
    UNIX_EPOCH + since
}
