//! Whom an address stands for.

use std::net::IpAddr;

/// A visitor, as far as addresses tell visitors apart: an IPv4 address, or the IPv6 network of 64 bits that one subscriber
/// has at least (RFC 6177 § 2), within which a host takes as many addresses as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Source([u8; 8]);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Source {
        let mut octets = [0xff; 8];
        match address.to_canonical() {
            // Behind four octets that begin a multicast address (RFC 4291 § 2.7), which nobody connects from.
            IpAddr::V4(address) => octets[4..].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => octets.copy_from_slice(&address.octets()[..8]),
        }
        Source(octets)
    }
}

impl Source {
    /// Eight octets that no other source has.
    pub(crate) fn octets(&self) -> &[u8; 8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_one_source() {
        let of = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
        assert_ne!(of("192.0.2.7"), of("::c000:207"));
    }
}
