//! Sockets: made, read and written.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType,
    acceptfrom_with, recv, send, sendmsg, socket_with, sockopt,
};

use super::{Descriptor, Side};

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// Connects over TCP.
pub(crate) async fn tcp(address: &SocketAddr) -> io::Result<Descriptor> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, FLAGS, None)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let socket = Descriptor::watch(socket)?;
    socket.ready(Side::Writing).await;
    sockopt::socket_error(&socket)??;
    Ok(socket)
}

/// Connects to a Unix socket, which takes no time: if more wait there to be accepted than may, it fails (unix(7)).
pub(crate) fn unix(path: &Path) -> io::Result<Descriptor> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    rustix::net::connect(&socket, &address)?;
    Descriptor::watch_unix(socket)
}

impl Descriptor {
    /// Reads what has come; zero is the end.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.attempt(Side::Reading, |fd| Ok(recv(fd, buffer, RecvFlags::empty())?.0))
    }

    /// Reads into the room that `buffer` has, behind what it has.
    pub(crate) fn read_behind(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.attempt(Side::Reading, |fd| Ok(recv(fd, spare_capacity(buffer), RecvFlags::empty())?.1))
    }

    /// Writes what fits.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(Side::Writing, |fd| Ok(send(fd, bytes, SendFlags::NOSIGNAL)?))
    }

    /// Writes what fits of several pieces.
    pub(crate) fn write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let nothing = &mut SendAncillaryBuffer::default();
        self.attempt(Side::Writing, |fd| Ok(sendmsg(fd, pieces, nothing, SendFlags::NOSIGNAL)?))
    }
}

/// A socket on which connections are accepted.
pub(crate) struct Listener {
    socket: Descriptor,
    /// Whoever comes is taken to come from there.
    from: Option<SocketAddr>,
}

impl Listener {
    /// What it accepts sends at once, which connections have from their listener (Linux: `tcp_create_openreq_child`).
    pub(crate) fn tcp(listener: TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        sockopt::set_tcp_nodelay(&listener, true)?;
        Ok(Listener { socket: Descriptor::watch(listener.into())?, from: None })
    }

    pub(crate) fn unix(listener: UnixListener, from: SocketAddr) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener { socket: Descriptor::watch(listener.into())?, from: Some(from) })
    }

    /// The next connection, and who it is.
    pub(crate) async fn accept(&self) -> io::Result<(Descriptor, SocketAddr)> {
        loop {
            match self.socket.attempt(Side::Reading, |fd| Ok(acceptfrom_with(fd, FLAGS)?)) {
                Ok((accepted, from)) => return self.accepted(accepted, from),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.socket.ready(Side::Reading).await;
        }
    }

    fn accepted(&self, accepted: OwnedFd, from: Option<SocketAddrAny>) -> io::Result<(Descriptor, SocketAddr)> {
        if let Some(from) = self.from {
            return Ok((Descriptor::watch_unix(accepted)?, from));
        }
        let from = from.and_then(|from| SocketAddr::try_from(from).ok());
        let from = from.ok_or_else(|| io::Error::other("a connection from nowhere"))?;
        Ok((Descriptor::watch(accepted)?, from))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Others have it too, a successor for one, so that closing it here does not end the watch.
        self.socket.leave();
    }
}
