//! The packet of VRRPv3 (RFC 9568 § 5), as pure functions over bytes.
//!
//! ```text
//! 0       4       8               16              24              32
//! | ver 3 | type 1| virtual router | priority      | addresses     |
//! | reserved 4 bit, interval 12 bit (1/100 s)      | checksum      |
//! | the addresses                                                  |
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// IP's number for VRRP.
pub const PROTOCOL: u8 = 112;
/// Packets with another TTL or hop limit were passed on by a router: they are nobody's of this wire (§ 5.1.1.3, § 5.1.2.3).
pub const HOPS: u8 = 255;
/// Where adverts for IPv4 addresses go (§ 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where adverts for IPv6 addresses go (§ 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

const HEAD_BYTES: usize = 8;
const CHECKSUM_AT: usize = 6;
const VERSION_AND_TYPE: u8 = 0x31;
/// 12 bits of hundredths of a second (§ 5.2.7).
const INTERVAL_MAX: u16 = 0xfff;

/// What a master says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// The virtual router (VRID), 1 to 255.
    pub router: u8,
    /// 0: it leaves; 255: it owns the address.
    pub priority: u8,
    /// Between two of its adverts; hundredths of a second go over the wire.
    pub interval: Duration,
    /// What it holds: at least one, all of one family.
    pub addresses: Vec<IpAddr>,
}

/// Why a packet is none (§ 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than its head or than the addresses that it announces.
    Short,
    /// VRRPv2 or something of the future.
    Version(u8),
    /// There is only one type.
    Type(u8),
    /// What arrived is not what was sent.
    Checksum,
    /// Numbers begin with 1.
    Router,
    /// It holds nothing.
    Empty,
    /// Nobody may advertise without a pause.
    Interval,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Short => f.write_str("it is cut short"),
            Malformed::Version(version) => write!(f, "it is version {version}, not 3"),
            Malformed::Type(kind) => write!(f, "it is of type {kind}, not 1"),
            Malformed::Checksum => f.write_str("its checksum is wrong"),
            Malformed::Router => f.write_str("it names virtual router 0"),
            Malformed::Empty => f.write_str("it names no address"),
            Malformed::Interval => f.write_str("its interval is zero"),
        }
    }
}

impl std::error::Error for Malformed {}

impl Advert {
    /// The packet, as sent from `from` to `to`.
    ///
    /// The checksum covers a pseudo-header as IPv6's does (RFC 8200 § 8.1), for IPv4 too: RFC 5798 § 5.2.8 has it so, and
    /// keepalived sends it.
    pub fn encode(&self, from: IpAddr, to: IpAddr) -> Vec<u8> {
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        let mut bytes = vec![VERSION_AND_TYPE, self.router, self.priority, count];
        bytes.extend(centiseconds(self.interval).to_be_bytes());
        bytes.extend([0, 0]);
        for address in self.addresses.iter().take(count.into()) {
            match address {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
        }
        let sum = checksum(&[&pseudo(from, to, bytes.len()), &bytes]);
        bytes[CHECKSUM_AT..HEAD_BYTES].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The advert at the beginning of `bytes`, which came from `from` to `to`, and what follows it.
    ///
    /// For IPv4 a checksum without pseudo-header is taken too: implementations differ.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &[u8], from: IpAddr, to: IpAddr) -> Result<(Advert, &[u8]), Malformed> {
        let &[kind, router, priority, count, high, low, ..] = bytes else { return Err(Malformed::Short) };
        match (kind >> 4, kind & 0xf) {
            (3, 1) => {}
            (3, kind) => return Err(Malformed::Type(kind)),
            (version, _) => return Err(Malformed::Version(version)),
        }
        let size = if from.is_ipv4() { 4 } else { 16 };
        let length = HEAD_BYTES + usize::from(count) * size;
        let (packet, rest) = bytes.split_at_checked(length).ok_or(Malformed::Short)?;
        let plain = from.is_ipv4() && checksum(&[packet]) == 0;
        if !plain && checksum(&[&pseudo(from, to, length), packet]) != 0 {
            return Err(Malformed::Checksum);
        }
        let interval = u16::from_be_bytes([high, low]) & INTERVAL_MAX;
        if router == 0 {
            return Err(Malformed::Router);
        }
        if count == 0 {
            return Err(Malformed::Empty);
        }
        if interval == 0 {
            return Err(Malformed::Interval);
        }
        let addresses = packet[HEAD_BYTES..].chunks_exact(size).filter_map(address).collect();
        let interval = Duration::from_millis(u64::from(interval) * 10);
        Ok((Advert { router, priority, interval, addresses }, rest))
    }
}

/// What goes over the wire for an interval: at least 1, at most 12 bits.
fn centiseconds(interval: Duration) -> u16 {
    let hundredths = u16::try_from(interval.as_millis() / 10).unwrap_or(INTERVAL_MAX);
    hundredths.clamp(1, INTERVAL_MAX)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// The pseudo-header: who, to whom, how much, of what.
fn pseudo(from: IpAddr, to: IpAddr, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    for address in [from, to] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    match from {
        IpAddr::V4(_) => bytes.extend([0, PROTOCOL, length[2], length[3]]),
        IpAddr::V6(_) => bytes.extend([length[0], length[1], length[2], length[3], 0, 0, 0, PROTOCOL]),
    }
    bytes
}

/// The Internet checksum (RFC 1071) of `parts` one after the other, each of even length; 0 over what has a right one in it.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum =
        words.fold(0_u64, |sum, word| sum + u64::from(word[0]) * 256 + word.get(1).map_or(0, |low| (*low).into()));
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
