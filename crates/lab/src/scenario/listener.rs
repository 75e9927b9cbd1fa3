//! Somebody on the wire who listens for a master's adverts: what happens to a balancer happens at a chosen time after one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with};

use crate::namespace;

/// VRRP (RFC 9568 § 5.1.1.4).
const PROTOCOL: u32 = 112;
/// Version 3, type 1 (§ 5.2.1, § 5.2.2): hellos of ours have another type.
const ADVERT: u8 = 0x31;

/// Waits in the namespace of one that hears them for the next advert of the balancer at `from`; gives when it came.
///
/// # Errors
/// If none comes in time, or the kernel gives no raw socket.
pub fn next_advert(namespace: &str, from: IpAddr, patience: Duration) -> anyhow::Result<Instant> {
    namespace::within(namespace, || {
        let socket = socket(from)?;
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 2048];
        loop {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))?;
            let heard = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&left))?;
            ensure!(heard > 0, "{from} advertised nothing for {} ms", patience.as_millis());
            let (length, _, sender) = recvfrom(&socket, &mut buffer[..], RecvFlags::empty())?;
            let at = Instant::now();
            let sender = SocketAddr::try_from(sender.context("a packet of nobody")?)?.ip();
            // Of IPv4 the kernel gives the head too (raw(7)).
            let head = if from.is_ipv4() { usize::from(buffer[0] & 0xf) * 4 } else { 0 };
            if sender == from && buffer[..length].get(head) == Some(&ADVERT) {
                return Ok(at);
            }
        }
    })?
}

/// A raw socket hears what the interface takes, the standard's groups included once anybody there has joined them.
fn socket(family: IpAddr) -> anyhow::Result<OwnedFd> {
    let protocol = NonZeroU32::new(PROTOCOL).map(Protocol::from_raw);
    let of = if family.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(of, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    match family {
        IpAddr::V4(_) => bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?,
        IpAddr::V6(_) => bind(&socket, &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0))?,
    }
    Ok(socket)
}
