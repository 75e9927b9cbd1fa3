//! The floating addresses, as one balancer sees them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Cluster, Server, Site};
use crate::names::{Role, ServerName};

/// The priority of the first in line: one less than the highest that is not the owner's, which leaves room above for nobody.
const FIRST: usize = 254;
/// Between two in line: a fifth of an interval in which the next one would wait longer (RFC 9568 § 6.1, Skew_Time), more than
/// packets take.
const STEP: usize = 50;

/// Who speaks for the floating addresses on one balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// Its own address, from which it speaks; floating addresses go to the interface that has it.
    pub address: IpAddr,
    /// One for each floating address.
    pub routers: Vec<VirtualRouter>,
    /// The other balancers.
    pub peers: Vec<(ServerName, IpAddr)>,
    /// Milliseconds between two adverts.
    pub interval_ms: u64,
    /// Whether a higher priority takes an address from a lower one.
    pub preempt: bool,
    /// Adverts go to the standard's group.
    pub multicast: bool,
    /// Adverts are signed, and others not believed.
    pub signed: bool,
    /// The door of the balancer on this server, by which it is asked whether it serves.
    pub door: SocketAddr,
    /// An operator works on it: it hands its addresses over, and takes one only if nobody else is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub maintained: bool,
}

impl Vip {
    /// Between two adverts.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

/// Who tells somebody outside that a floating address has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Called with `take` and the address; an absolute path on the server.
    pub program: String,
    /// The floating addresses.
    pub addresses: Vec<IpAddr>,
}

/// One floating address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualRouter {
    /// Its number (VRID), which nobody else of the same wire may use.
    pub number: u8,
    /// The address.
    pub address: IpAddr,
    /// How near this balancer stands to it.
    pub priority: u8,
}

/// What `server` does for `cluster`.
pub(super) fn vip(site: &Site, cluster: &Cluster, server: &Server) -> Vip {
    let balancers: Vec<&Server> = site.with_role(Role::Balancer).collect();
    let place = balancers.iter().position(|it| it.name == server.name).unwrap_or(0);
    let router = |(index, (number, address)): (usize, (u8, &IpAddr))| {
        // Each is first in line for one of them, and the next one follows.
        let rank = (place + balancers.len() - index % balancers.len()) % balancers.len();
        VirtualRouter { number, address: *address, priority: priority(rank, balancers.len()) }
    };
    let others = balancers.iter().filter(|it| it.name != server.name);
    Vip {
        address: server.address,
        routers: numbers(&cluster.addresses).into_iter().zip(&cluster.addresses).enumerate().map(router).collect(),
        peers: others.map(|it| (it.name.clone(), it.address)).collect(),
        interval_ms: cluster.interval.as_millis() as u64,
        preempt: cluster.preempts(),
        multicast: cluster.multicast,
        signed: cluster.signed,
        door: SocketAddr::new(server.address, site.ports.http),
        maintained: server.maintained,
    }
}

fn priority(rank: usize, balancers: usize) -> u8 {
    let step = STEP.min(200 / balancers.saturating_sub(1).max(1)).max(1);
    u8::try_from(FIRST.saturating_sub(step * rank).max(2)).unwrap_or(2)
}

/// The last byte of each address, as most people number them; the next free number where that is taken or 0.
fn numbers(addresses: &[IpAddr]) -> Vec<u8> {
    let mut taken = BTreeSet::from([0]);
    let mut number = |address: &IpAddr| {
        let last = match address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        let free = (0..=u8::MAX).map(|more| last.wrapping_add(more)).find(|number| !taken.contains(number));
        let number = free.unwrap_or(last);
        taken.insert(number);
        number
    };
    addresses.iter().map(&mut number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_fall_and_stay_apart() {
        for balancers in 2..60 {
            let all: Vec<u8> = (0..balancers).map(|rank| priority(rank, balancers)).collect();
            assert!(all.windows(2).all(|pair| pair[0] > pair[1]), "{all:?}");
            assert_eq!(all[0], 254);
            assert!(all.iter().all(|it| *it >= 2));
        }
        assert_eq!([0, 1, 2].map(|rank| priority(rank, 3)), [254, 204, 154]);
    }

    #[test]
    fn numbers_are_the_last_bytes_and_differ() {
        let of = |texts: &[&str]| numbers(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(of(&["10.80.0.100"]), [100]);
        assert_eq!(of(&["10.80.0.100", "10.80.1.100", "10.80.0.101", "10.80.0.0"]), [100, 101, 102, 1]);
        assert_eq!(of(&["10.80.0.255", "10.80.1.255"]), [255, 1]);
        assert_eq!(of(&["fd00::1234"]), [0x34]);
    }
}
