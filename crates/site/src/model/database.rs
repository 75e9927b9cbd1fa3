//! What the database tier serves its readers, and what it puts aside.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How replicas are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// A replica further behind is not read from.
    pub max_lag: Duration,
}

impl Default for Reads {
    /// Five seconds: what a visitor who posted something still forgives when reloading. Replicas of an idle or busy healthy
    /// site are below one.
    fn default() -> Self {
        Reads { max_lag: Duration::from_secs(5) }
    }
}

/// Backups that are made by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// An absolute folder of the server that makes them: the last database server of the file.
    pub to: String,
    /// A full one as often as this; the binary log in between.
    pub every: Duration,
    /// So many full ones are kept, each with what is needed to go on from it.
    pub keep: u32,
}

impl Backup {
    /// Once a day, at an hour of the first one's.
    pub const EVERY: Duration = Duration::from_secs(24 * 3600);
    /// A week of days: what was broken on Monday is often noticed on Friday.
    pub const KEEP: u32 = 7;
}
