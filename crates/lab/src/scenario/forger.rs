//! Somebody on the wire who says what is not so: VRRP by raw sockets, from any server's namespace.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mainstay_machines::vrrp::packet::Advert;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto, socket_with,
    sockopt,
};

use crate::namespace;

/// VRRP (RFC 9568 § 5.1.1.4).
const PROTOCOL: u32 = 112;

/// An advert of the highest priority for `address`, as those have it who number it by its last byte.
pub fn claim(address: Ipv4Addr, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let interval = Duration::from_millis(250);
    let advert = Advert { router: address.octets()[3], priority: 255, interval, addresses: vec![address.into()] };
    advert.encode(from.into(), to.into())
}

/// Sends `packets` from `from`, which must be an address of the namespace, to `to`.
///
/// # Errors
/// If the kernel does not take them.
pub fn send(namespace: &str, from: Ipv4Addr, to: Ipv4Addr, packets: &[Vec<u8>]) -> anyhow::Result<()> {
    namespace::within(namespace, || {
        let socket = socket()?;
        bind(&socket, &SocketAddrV4::new(from, 0))?;
        sockopt::set_ip_ttl(&socket, 255)?;
        for packet in packets {
            sendto(&socket, packet, SendFlags::empty(), &SocketAddrV4::new(to, 0))?;
        }
        Ok(())
    })?
}

/// What is sent to the namespace within `time`, without IP's head.
///
/// # Errors
/// If the kernel does not give it.
pub fn record(namespace: &str, time: Duration) -> anyhow::Result<Vec<Vec<u8>>> {
    namespace::within(namespace, || {
        let socket = socket()?;
        let until = Instant::now() + time;
        let mut heard = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).context("too long a time")?;
            if poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&left))? == 0 {
                return Ok(heard);
            }
            let mut buffer = [0; 2048];
            let (length, ..) = recvfrom(&socket, &mut buffer[..], RecvFlags::empty())?;
            let head = usize::from(buffer[0] & 0xf) * 4;
            heard.extend(buffer.get(head..length).map(<[u8]>::to_vec));
        }
    })?
}

fn socket() -> anyhow::Result<OwnedFd> {
    let protocol = NonZeroU32::new(PROTOCOL).map(Protocol::from_raw);
    Ok(socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?)
}
