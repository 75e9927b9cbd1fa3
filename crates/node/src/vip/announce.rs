//! Telling everybody on the wire where an address is now.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;

use crate::platform::raw;

/// Every node of the link (RFC 4291 § 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const REQUEST: u8 = 1;
const REPLY: u8 = 2;

/// Says it, by `socket`, on the interface with this number and hardware address.
///
/// For IPv4 once as a request and once as an answer: there are neighbours that heed only the one or the other
/// (RFC 5227 § 3, RFC 5944 § 4.6).
///
/// # Errors
/// As sendto(2).
pub(super) fn announce(socket: &OwnedFd, index: u32, hardware: &[u8], address: IpAddr) -> io::Result<()> {
    let index = NonZeroU32::new(index).ok_or(io::ErrorKind::InvalidInput)?;
    // Only Ethernet has such announcements; on a loopback there is nobody to tell.
    let Ok(hardware) = <[u8; 6]>::try_from(hardware) else { return Ok(()) };
    match address {
        IpAddr::V4(address) => {
            let everybody = raw::everybody_by_arp(index);
            let kinds = [REQUEST, REPLY];
            kinds.into_iter().try_for_each(|kind| raw::send(socket, &arp(kind, hardware, address), &everybody))
        }
        IpAddr::V6(address) => {
            let to = SocketAddr::from((ALL_NODES, 0)).into();
            raw::send(socket, &neighbour_advertisement(hardware, address), &to)
        }
    }
}

/// Gratuitous: sender and target are the same (RFC 826, RFC 5227 § 3).
fn arp(kind: u8, hardware: [u8; 6], address: Ipv4Addr) -> [u8; 28] {
    let mut packet = [0; 28];
    packet[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, kind]);
    packet[8..14].copy_from_slice(&hardware);
    packet[14..18].copy_from_slice(&address.octets());
    // In a request nobody's, in an answer everybody's.
    packet[18..24].fill(if kind == REPLY { 0xff } else { 0 });
    packet[24..].copy_from_slice(&address.octets());
    packet
}

/// Unsolicited, and to take the place of what was known (RFC 4861 § 4.4); the kernel puts the checksum in.
fn neighbour_advertisement(hardware: [u8; 6], address: Ipv6Addr) -> [u8; 32] {
    const OVERRIDE: u8 = 0x20;
    let mut packet = [0; 32];
    (packet[0], packet[4]) = (136, OVERRIDE);
    packet[8..24].copy_from_slice(&address.octets());
    // The target's link-layer address, in units of eight bytes.
    packet[24..26].copy_from_slice(&[2, 1]);
    packet[26..].copy_from_slice(&hardware);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn arp_has_its_fields_where_rfc_826_has_them() {
        let packet = arp(REQUEST, HARDWARE, Ipv4Addr::new(10, 80, 0, 100));
        let expected = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 80, 0, 100, 0, 0, 0, 0, 0, 0, 10, 80, 0, 100];
        assert_eq!(packet, expected);
    }

    #[test]
    fn neighbours_are_told_to_forget_what_they_knew() {
        let packet = neighbour_advertisement(HARDWARE, "fd00::64".parse().unwrap());
        assert_eq!((packet[0], packet[4], packet[23], &packet[24..28]), (136, 0x20, 0x64, &[2, 1, 2, 0][..]));
    }
}
