//! Making listening sockets.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mainstay_site::plan::{Listen, Transport};
use rustix::net::sockopt::socket_acceptconn;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

/// Connections that wait for `accept`: while a service is restarted everything that arrives waits here, so 4,096 is
/// 4,000 connections a second for the second that a restart may take (the kernel caps it at `net.core.somaxconn`, 4,096
/// since Linux 5.4; listen(2)).
const BACKLOG: i32 = 4096;

/// How many cores there are to serve on: as many sockets a service gets for each address that is there once per core.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Binds `count` sockets to what is planned; more than one share it by `SO_REUSEPORT` (socket(7)).
///
/// # Errors
/// As bind(2) and listen(2). An address that anyone else listens on is refused, also if they allow sharing.
pub fn listen(planned: &Listen, count: usize) -> io::Result<Vec<OwnedFd>> {
    if count > 1 {
        // Sharing is meant among these sockets, not with another program of the same user: without the option, the
        // kernel tells. The probe ends before the sockets begin.
        one(planned, false)?;
    }
    (0..count).map(|_| one(planned, count > 1).map(OwnedFd::from)).collect()
}

fn one(planned: &Listen, share: bool) -> io::Result<Socket> {
    let (transport, address) = (planned.transport, planned.address);
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_reuse_port(share)?;
    if planned.floating {
        match address {
            SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
    }
    if address.is_ipv6() {
        // `[::]` means IPv6: IPv4 has an address of its own in the plan.
        socket.set_only_v6(true)?;
    }
    if transport == Transport::Tcp {
        // Connections of a predecessor that linger in TIME_WAIT do not matter (tcp(7)); for UDP the option would let
        // anyone take the port away.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if transport == Transport::Tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

/// Binds a Unix socket to `path`, which everyone may connect to. What was there before is of a process that has ended.
///
/// # Errors
/// As bind(2) and listen(2); also if the path is too long for unix(7).
pub fn listen_locally(path: &Path) -> io::Result<OwnedFd> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Where a socket is bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A stream that listens.
    Tcp(SocketAddr),
    /// Datagrams.
    Udp(SocketAddr),
    /// A stream that listens.
    Unix(PathBuf),
}

impl From<&Listen> for Place {
    fn from(listen: &Listen) -> Place {
        match listen.transport {
            Transport::Tcp => Place::Tcp(listen.address),
            Transport::Udp => Place::Udp(listen.address),
        }
    }
}

/// Where a kept socket is bound; `None` if it is nothing that is made here.
pub fn describe(fd: impl AsFd) -> Option<Place> {
    let socket = SockRef::from(&fd);
    let address = socket.local_addr().ok()?;
    match (socket.r#type().ok()?, address.as_socket(), address.as_pathname()) {
        (Type::STREAM, ..) if !socket_acceptconn(&fd).ok()? => None,
        (Type::STREAM, Some(address), _) => Some(Place::Tcp(address)),
        (Type::STREAM, _, Some(path)) => Some(Place::Unix(path.to_owned())),
        (Type::DGRAM, Some(address), _) => Some(Place::Udp(address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(transport: Transport, address: SocketAddr) -> Listen {
        Listen { name: "test".into(), transport, address, per_core: true, floating: false }
    }

    fn free() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn shares_among_its_own_only() {
        for transport in [Transport::Tcp, Transport::Udp] {
            let address = free();
            let sockets = listen(&planned(transport, address), 3).unwrap();
            assert_eq!(sockets.len(), 3);
            assert_eq!(describe(&sockets[2]), Some(Place::from(&planned(transport, address))));
            for count in [1, 2] {
                let error = listen(&planned(transport, address), count).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            }
        }
    }

    #[test]
    fn tells_an_address_of_another_machine() {
        let elsewhere = planned(Transport::Tcp, "192.0.2.1:8080".parse().unwrap());
        let error = listen(&elsewhere, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        listen(&Listen { floating: true, ..elsewhere }, 1).unwrap();
    }
}
