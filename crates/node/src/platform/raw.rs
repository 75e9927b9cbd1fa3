//! Sockets for what is neither TCP nor UDP: VRRP, gratuitous ARP, neighbour advertisements. Made by root, used by anybody.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};

use mainstay_machines::vrrp::packet::{GROUP_V4, GROUP_V6, HOPS, PROTOCOL};
use socket2::{Domain, Protocol, SockAddr, SockFilter, SockRef, Socket, Type};

use super::link::{Interface, socket_address};

const AF_PACKET: u16 = 17;
const ETHERTYPE_ARP: u16 = 0x0806;
const ICMP_V6: i32 = 58;

/// Returns from a packet filter with so many bytes of the packet; none drops it (BPF_RET | BPF_K).
const fn take(bytes: u32) -> SockFilter {
    SockFilter::new(0x06, 0, 0, bytes)
}

/// What arrives for `own`, or by multicast for everybody who speaks VRRP, on `interface`.
///
/// # Errors
/// As socket(2): it takes CAP_NET_RAW.
pub fn vrrp_in(interface: &Interface, own: IpAddr, multicast: bool) -> io::Result<OwnedFd> {
    let socket = vrrp(interface, own)?;
    let index = interface.index;
    match (own, multicast) {
        (IpAddr::V4(own), true) => {
            socket.bind(&SocketAddr::from((GROUP_V4, 0)).into())?;
            socket.join_multicast_v4(&GROUP_V4, &own)?;
        }
        (IpAddr::V6(_), true) => {
            socket.bind(&SocketAddr::from((GROUP_V6, 0)).into())?;
            socket.join_multicast_v6(&GROUP_V6, index)?;
        }
        (_, false) => socket.bind(&SocketAddr::new(own, 0).into())?,
    }
    if own.is_ipv6() {
        // Of IPv6 the head is not read: the kernel looks at the hop limit (SKF_NET_OFF + 7) for us.
        const HOP_LIMIT: u32 = (-0x10_0000_i32 + 7).cast_unsigned();
        let load = SockFilter::new(0x30, 0, 0, HOP_LIMIT);
        let equals = SockFilter::new(0x15, 0, 1, HOPS as u32);
        socket.attach_filter(&[load, equals, take(u32::MAX), take(0)])?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What goes out from `own`; nothing is received by it.
///
/// # Errors
/// As [`vrrp_in`].
pub fn vrrp_out(interface: &Interface, own: IpAddr) -> io::Result<OwnedFd> {
    let socket = vrrp(interface, own)?;
    socket.attach_filter(&[take(0)])?;
    socket.bind(&SocketAddr::new(own, 0).into())?;
    match own {
        IpAddr::V4(own) => {
            socket.set_multicast_if_v4(&own)?;
            socket.set_multicast_loop_v4(false)?;
            socket.set_multicast_ttl_v4(HOPS.into())?;
            socket.set_ttl_v4(HOPS.into())?;
        }
        IpAddr::V6(_) => {
            socket.set_multicast_if_v6(interface.index)?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_hops_v6(HOPS.into())?;
            socket.set_unicast_hops_v6(HOPS.into())?;
        }
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn vrrp(interface: &Interface, own: IpAddr) -> io::Result<Socket> {
    let domain = if own.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
    socket.bind_device(Some(interface.name.as_bytes()))?;
    Ok(socket)
}

/// What says on `interface` where an address is: by ARP for IPv4, by ICMPv6 for IPv6. Nothing is received by it.
///
/// # Errors
/// As socket(2): it takes CAP_NET_RAW.
pub fn announcer(interface: &Interface, own: IpAddr) -> io::Result<OwnedFd> {
    let socket = match own {
        // Without a protocol it receives nothing (packet(7)).
        IpAddr::V4(_) => Socket::new(Domain::PACKET, Type::DGRAM, None)?,
        IpAddr::V6(_) => {
            let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(ICMP_V6)))?;
            socket.attach_filter(&[take(0)])?;
            socket.bind_device(Some(interface.name.as_bytes()))?;
            socket.set_multicast_if_v6(interface.index)?;
            socket.set_multicast_loop_v6(false)?;
            // Neighbours believe only what no router passed on (RFC 4861 § 7.1.2).
            socket.set_multicast_hops_v6(HOPS.into())?;
            socket
        }
    };
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[repr(C)]
struct LinkLayer {
    family: u16,
    protocol: u16,
    index: i32,
    hardware_type: u16,
    packet_type: u8,
    length: u8,
    address: [u8; 8],
}

/// Everybody on the wire, for ARP, by the interface with this number (packet(7)).
pub fn everybody_by_arp(index: NonZeroU32) -> SockAddr {
    socket_address(LinkLayer {
        family: AF_PACKET,
        protocol: ETHERTYPE_ARP.to_be(),
        index: index.get().cast_signed(),
        hardware_type: 0,
        packet_type: 0,
        length: 6,
        address: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    })
}

/// Sends a packet without waiting.
///
/// # Errors
/// As sendto(2).
pub fn send(socket: impl AsFd, packet: &[u8], to: &SockAddr) -> io::Result<()> {
    SockRef::from(&socket).send_to(packet, to).map(drop)
}

/// The next packet with who sent it; `None` if there is none.
///
/// # Errors
/// As recvfrom(2).
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<(usize, IpAddr)>> {
    use rustix::net::{RecvFlags, recvfrom};
    match recvfrom(socket, buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
        Ok((length, _, from)) => {
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            Ok(Some((length, from.map_or(Ipv4Addr::UNSPECIFIED.into(), |from| from.ip()))))
        }
    }
}
