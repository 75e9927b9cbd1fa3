//! Balancers that share floating addresses.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Balancers that share floating addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// One for active-passive; one per balancer for active-active.
    pub addresses: Vec<IpAddr>,
    /// Who serves.
    pub mode: ClusterMode,
    /// Between two adverts of who holds an address; [`Cluster::INTERVAL`] if not declared.
    #[serde(default = "interval")]
    pub interval: Duration,
    /// Whether a balancer takes an address back that should be its own; see [`Cluster::preempts`].
    #[serde(default)]
    pub preempt: Option<bool>,
    /// Adverts go to the standard's group and not to each balancer.
    #[serde(default)]
    pub multicast: bool,
    /// Adverts are signed, and others not believed.
    #[serde(default = "signed")]
    pub signed: bool,
    /// A program on each balancer that is called when an address has come there: for networks that do not hear of it by ARP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
}

impl Cluster {
    /// An address moves when nothing was heard for three intervals and a skew of less than a quarter of one: after at most
    /// 0.8 s, half a second being usual. So a visitor waits for less than a second even where the machine is busy. A machine that
    /// stands still for 0.75 s loses the address without need; who has such machines (live migration) declares a second.
    pub const INTERVAL: Duration = Duration::from_millis(250);

    /// Milliseconds that can be declared. An advert says hundredths of a second, with 12 bits (RFC 9568 § 5.2.7); below 20 ms
    /// busy machines flap.
    pub const INTERVAL_MS: std::ops::RangeInclusive<u32> = 20..=40_000;

    /// Not unless declared, where one address is shared: a move breaks connections, and one balancer is as good as another.
    /// With an address for each, yes: else whoever was away would have none for ever, and another one two.
    pub fn preempts(&self) -> bool {
        self.preempt.unwrap_or(self.mode == ClusterMode::ActiveActive)
    }
}

const fn interval() -> Duration {
    Cluster::INTERVAL
}

const fn signed() -> bool {
    true
}

/// Who of a cluster serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterMode {
    /// One serves, the others wait.
    #[default]
    ActivePassive,
    /// All serve, each on an address of its own, each backing the others up.
    ActiveActive,
}
