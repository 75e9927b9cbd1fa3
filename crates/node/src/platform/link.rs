//! Interfaces and their addresses, by netlink (rtnetlink(7)): the four messages that a floating address needs.

use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// The kernel answers at once; only something very wrong makes it silent.
const ANSWER: Duration = Duration::from_millis(500);
/// Of an answer; the kernel sends dumps in pieces of at most 32 KiB.
const ANSWER_BYTES: usize = 32 * 1024;

pub(super) const AF_NETLINK: i32 = 16;
const NETLINK_ROUTE: i32 = 0;
/// Who wants to hear of interfaces (RTMGRP_LINK).
const LINKS: u32 = 1;

pub(super) const ERROR: u16 = 2;
pub(super) const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;

pub(super) const REQUEST: u16 = 0x1;
pub(super) const ACKNOWLEDGE: u16 = 0x4;
const REPLACE: u16 = 0x100;
pub(super) const CREATE: u16 = 0x400;
pub(super) const DUMP: u16 = 0x300;

/// What is there, as the kernel numbers it (`<linux/if_addr.h>`, `<linux/if_link.h>`).
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
/// No duplicate address detection: for two seconds the address would not answer (RFC 4862 § 5.4).
const NO_DETECTION: u32 = 0x02;
/// IFF_UP and IFF_RUNNING: it has a carrier.
const RUNNING: u32 = 0x1 | 0x40;

const HEAD_BYTES: usize = 16;
const ADDRESS_HEAD_BYTES: usize = 8;
const LINK_HEAD_BYTES: usize = 16;

/// The number of the loopback interface in every network namespace.
pub const LOOPBACK: u32 = 1;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// `eth0`.
    pub name: String,
    /// Its hardware address; of Ethernet six bytes.
    pub hardware: Vec<u8>,
    /// Whether packets can leave it.
    pub is_running: bool,
}

/// Has an interface answer ARP for its own addresses alone, and speak of no others: an address of another interface is then no
/// secret, but nobody is told of it (`arp_ignore`, `arp_announce` in the kernel's ip-sysctl). It stays so until the interface goes.
///
/// # Errors
/// The kernel's settings cannot be written: in a container that has them read-only they must be set outside.
pub fn answer_for_itself_alone(interface: &str) -> io::Result<()> {
    for (setting, least) in [("arp_ignore", 1), ("arp_announce", 2)] {
        let path = |of: &str| format!("/proc/sys/net/ipv4/conf/{of}/{setting}");
        let set = |of: &str| std::fs::read_to_string(path(of)).ok().and_then(|text| text.trim().parse::<u8>().ok());
        // The stricter of the two counts.
        if set("all").max(set(interface)) < Some(least) {
            std::fs::write(path(interface), least.to_string())?;
        }
    }
    Ok(())
}

/// A way to the kernel's tables.
pub struct Links {
    socket: Socket,
    sequence: u32,
}

#[repr(C)]
struct Netlink {
    family: u16,
    pad: u16,
    port: u32,
    groups: u32,
}

impl Links {
    /// A way to ask and to order; ordering takes CAP_NET_ADMIN.
    ///
    /// # Errors
    /// As socket(2).
    pub fn open() -> io::Result<Links> {
        let socket = Links::socket(0)?;
        socket.set_read_timeout(Some(ANSWER))?;
        Ok(Links { socket, sequence: 0 })
    }

    /// A way to hear of every change of an interface, without waiting for one.
    ///
    /// # Errors
    /// As socket(2).
    pub fn watch() -> io::Result<Links> {
        let socket = Links::socket(LINKS)?;
        socket.set_nonblocking(true)?;
        Ok(Links { socket, sequence: 0 })
    }

    fn socket(groups: u32) -> io::Result<Socket> {
        let socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, Some(Protocol::from(NETLINK_ROUTE)))?;
        socket.bind(&kernel(groups))?;
        Ok(socket)
    }

    /// The interface that has `address`; `None` if none has.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn with_address(&mut self, address: IpAddr) -> io::Result<Option<Interface>> {
        let mut index = None;
        self.dump(GET_ADDRESS, ADDRESS_HEAD_BYTES, |kind, body| {
            let has = |(what, value): (u16, &[u8])| (what == IFA_ADDRESS || what == IFA_LOCAL) && is(address, value);
            if kind == NEW_ADDRESS && attributes(body, ADDRESS_HEAD_BYTES).any(has) {
                index = number(body, 4);
            }
        })?;
        let Some(index) = index else { return Ok(None) };
        let mut found = None;
        self.dump(GET_LINK, LINK_HEAD_BYTES, |kind, body| {
            let link = (kind == NEW_LINK).then(|| interface(body)).flatten();
            found = found.take().or(link.filter(|link| link.index == index));
        })?;
        Ok(found)
    }

    /// Gives the interface an address for so long; one that it has gets the new time. Nothing of ours speaks from it first.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add(&mut self, index: u32, address: IpAddr, valid: Duration) -> io::Result<()> {
        let seconds = u32::try_from(valid.as_secs().max(1)).unwrap_or(u32::MAX - 1);
        let mut body = address_body(index, address);
        // Preferred for no time at all: connections of this server's own go from its own address.
        let times: Vec<u8> = [0, seconds, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        attribute(&mut body, IFA_CACHEINFO, &times);
        if address.is_ipv6() {
            attribute(&mut body, IFA_FLAGS, &NO_DETECTION.to_ne_bytes());
        }
        self.order(NEW_ADDRESS, CREATE | REPLACE, &body)
    }

    /// Takes an address away from the interface, if it has it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        const NOT_THERE: i32 = 99;
        match self.order(DELETE_ADDRESS, 0, &address_body(index, address)) {
            Err(error) if error.raw_os_error() == Some(NOT_THERE) => Ok(()),
            done => done,
        }
    }

    /// The interfaces that have changed, as they are now; empty if none has.
    ///
    /// # Errors
    /// Changes were missed.
    pub fn changes(&mut self) -> io::Result<Vec<Interface>> {
        let mut changed = Vec::new();
        let mut answer = vec![0; ANSWER_BYTES];
        loop {
            let length = match (&self.socket).read(&mut answer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
                read => read?,
            };
            for (kind, _, body) in messages(&answer[..length]) {
                changed.extend((kind == NEW_LINK).then(|| interface(body)).flatten());
            }
        }
    }

    fn order(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let sequence = self.send(kind, flags | ACKNOWLEDGE, body)?;
        let mut answer = vec![0; ANSWER_BYTES];
        loop {
            let length = (&self.socket).read(&mut answer)?;
            for (kind, of, body) in messages(&answer[..length]) {
                if kind == ERROR && of == sequence {
                    return match number(body, 0).unwrap_or(0).cast_signed() {
                        0 => Ok(()),
                        error => Err(io::Error::from_raw_os_error(-error)),
                    };
                }
            }
        }
    }

    fn dump(&mut self, kind: u16, head: usize, mut take: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let sequence = self.send(kind, DUMP, &vec![0; head])?;
        let mut answer = vec![0; ANSWER_BYTES];
        loop {
            let length = (&self.socket).read(&mut answer)?;
            for (kind, of, body) in messages(&answer[..length]) {
                match kind {
                    _ if of != sequence => {}
                    DONE => return Ok(()),
                    ERROR => return Err(io::Error::from_raw_os_error(-number(body, 0).unwrap_or(0).cast_signed())),
                    kind => take(kind, body),
                }
            }
        }
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = message(kind, flags | REQUEST, self.sequence, body);
        self.socket.send(&message)?;
        Ok(self.sequence)
    }
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Links {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A socket address of a family that the standard library does not know.
pub(super) fn socket_address<T>(address: T) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: every `T` here is a plain C structure that begins with its family and is smaller than the storage, which is
    // aligned for all of them.
    unsafe {
        *storage.view_as::<T>() = address;
        SockAddr::new(storage, size_of::<T>() as u32)
    }
}

/// A message of netlink(7), of us.
pub(super) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEAD_BYTES + body.len()).unwrap_or(0);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message
}

/// The kernel, by netlink(7).
pub(super) fn kernel(groups: u32) -> SockAddr {
    socket_address(Netlink { family: AF_NETLINK as u16, pad: 0, port: 0, groups })
}

fn address_body(index: u32, address: IpAddr) -> Vec<u8> {
    // An address by itself brings no route with it.
    let (family, length, bytes): (u8, u8, Vec<u8>) = match address {
        IpAddr::V4(address) => (2, 32, address.octets().into()),
        IpAddr::V6(address) => (10, 128, address.octets().into()),
    };
    let mut body = vec![family, length, 0, 0];
    body.extend(index.to_ne_bytes());
    attribute(&mut body, IFA_LOCAL, &bytes);
    attribute(&mut body, IFA_ADDRESS, &bytes);
    body
}

pub(super) fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(u16::try_from(value.len() + 4).unwrap_or(0).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn is(address: IpAddr, bytes: &[u8]) -> bool {
    match address {
        IpAddr::V4(address) => address.octets() == bytes,
        IpAddr::V6(address) => address.octets() == bytes,
    }
}

fn interface(body: &[u8]) -> Option<Interface> {
    let mut interface = Interface {
        index: number(body, 4)?,
        name: String::new(),
        hardware: Vec::new(),
        is_running: number(body, 8)? & RUNNING == RUNNING,
    };
    for (kind, value) in attributes(body, LINK_HEAD_BYTES) {
        match kind {
            IFLA_ADDRESS => interface.hardware = value.to_vec(),
            IFLA_IFNAME => interface.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
            _ => {}
        }
    }
    Some(interface)
}

pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Kind, sequence number and body of every message; what is cut short ends it.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let length = number(bytes, 0)? as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let sequence = number(bytes, 8)?;
        let body = bytes.get(HEAD_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, sequence, body))
    })
}

/// Kind and value of every attribute behind a head of so many bytes.
fn attributes(body: &[u8], head: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut bytes = body.get(head..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_found_by_its_address() {
        let found = Links::open().unwrap().with_address("127.0.0.1".parse().unwrap()).unwrap().unwrap();
        assert_eq!((found.index, found.name.as_str()), (1, "lo"));
        assert_eq!(Links::open().unwrap().with_address("192.0.2.77".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn what_is_cut_short_is_passed_over() {
        let mut body = vec![0; LINK_HEAD_BYTES];
        attribute(&mut body, IFLA_IFNAME, b"eth0\0");
        assert_eq!(interface(&body).unwrap().name, "eth0");
        for end in 0..body.len() {
            let _ = interface(&body[..end]).map(|it| it.name);
            assert!(messages(&body[..end]).count() <= 1);
        }
    }
}
