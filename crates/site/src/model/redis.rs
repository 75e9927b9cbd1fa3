//! Redis for the applications.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// What the servers with the role `cache` keep for the applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redis {
    /// Bytes of keys and values on each server; beyond them what was not used for longest goes.
    pub memory_bytes: u64,
}

impl Redis {
    /// What can be declared. Below 4 MiB little is left beside what Redis itself needs; above, as for the cache of answers.
    pub const MEMORY_BYTES: RangeInclusive<u64> = 4 * 1024 * 1024..=1024 * 1024 * 1024 * 1024;
}

impl Default for Redis {
    /// 64 MiB: a hundred thousand sessions of half a kilobyte, and little beside an application on the smallest of servers.
    fn default() -> Self {
        Redis { memory_bytes: 64 * 1024 * 1024 }
    }
}
