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

/// What a commit does while no replica can acknowledge it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SemiSync {
    /// It goes on, on the primary's disk alone, and nobody is promoted until a replica has caught up. The default: losing the
    /// replica must not stop the site.
    #[default]
    Available,
    /// It waits.
    Strict,
}

/// How long a leader of the database leads without being heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lease(pub Duration);

impl Default for Lease {
    fn default() -> Self {
        Lease(Lease::LEAST)
    }
}

impl Lease {
    /// etcd's leases are whole seconds, and etcd needs about one to replace its own leader: with less than three, a leader
    /// that lost one sign of life would lose its office too.
    pub const LEAST: Duration = Duration::from_secs(3);
    /// A site that may be without writes for longer is better served by an operator.
    pub const MOST: Duration = Duration::from_secs(60);
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

/// For how long what was written stays in the binary logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BinlogKeep(pub Duration);

impl Default for BinlogKeep {
    /// Ten days, what Debian's packages of MariaDB set (`expire_logs_days = 10`): over a long weekend nobody needs to look.
    fn default() -> Self {
        BinlogKeep(Duration::from_secs(10 * 24 * 3600))
    }
}

impl BinlogKeep {
    /// A server that is restarted or copied anew is away for minutes; with less, every absence would be a copy.
    pub const LEAST: Duration = Duration::from_secs(3600);

    /// Whether nothing else was declared.
    pub fn is_default(&self) -> bool {
        *self == BinlogKeep::default()
    }
}
