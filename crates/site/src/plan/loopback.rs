//! The same site on one machine without network namespaces: `--loopback`.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::{Ports, Site};

/// Ports that need no privilege. Servers have addresses of their own, so only services of one server must differ.
fn ports() -> Ports {
    Ports { http: 8080, https: 8443, dns: 5300, web: 8081, app: 8100, limits: 8082, ..Ports::default() }
}

impl Site {
    /// The site with every server on a loopback address of its own, 127.0.1.1 and up in the order of the file, and on
    /// ports that need no privilege. The floating addresses follow behind the servers'.
    pub fn on_loopback(&self) -> Site {
        let mut site = self.clone();
        site.ports = ports();
        for (place, server) in site.servers.iter_mut().enumerate() {
            server.address = address(place);
        }
        let servers = site.servers.len();
        if let Some(cluster) = site.balancer.as_mut().and_then(|balancer| balancer.cluster.as_mut()) {
            for (place, floating) in cluster.addresses.iter_mut().enumerate() {
                *floating = address(servers + place);
            }
        }
        site
    }
}

/// 127.0.1.1, 127.0.1.2, … 127.0.1.250, 127.0.2.1, …
fn address(place: usize) -> IpAddr {
    const PER_BLOCK: usize = 250;
    let block = place / PER_BLOCK + 1;
    Ipv4Addr::new(127, (block / 256) as u8, (block % 256) as u8, (place % PER_BLOCK) as u8 + 1).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn addresses_are_distinct() {
        let all: BTreeSet<_> = (0..5000).map(address).collect();
        assert_eq!(all.len(), 5000);
        assert!(all.iter().all(IpAddr::is_loopback));
    }
}
