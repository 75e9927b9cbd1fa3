//! What a process was born with: descriptors by the socket activation protocol (sd_listen_fds(3)) and the environment.

use std::fs::File;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

/// The first handed-over descriptor: `SD_LISTEN_FDS_START`, right after standard error.
pub const FIRST_FD: RawFd = 3;

/// How many descriptors may be handed over: far more than a server has (sockets × cores), far fewer than a garbled
/// `LISTEN_FDS` could claim.
pub const FDS_MAX: usize = 2048;

/// Takes over every descriptor named by `LISTEN_FDS` and `LISTEN_FDNAMES`, marks them close-on-exec, and removes the
/// variables, so that no child takes them for its own.
///
/// # Safety
/// To be called once, before there is any other thread, by a process that owns its descriptors from 3 on.
///
/// # Errors
/// If `LISTEN_FDS` is no number, is out of bounds, or counts a descriptor that is not open.
pub unsafe fn named_descriptors() -> io::Result<Vec<(String, OwnedFd)>> {
    let (count, names, pid) = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"].map(std::env::var).into();
    for variable in ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"] {
        // SAFETY: there is no other thread that could read the environment, says the caller.
        unsafe { std::env::remove_var(variable) };
    }
    let Ok(count) = count else { return Ok(Vec::new()) };
    if pid.is_ok_and(|pid| pid != std::process::id().to_string()) {
        return Ok(Vec::new());
    }
    let count = count.parse::<usize>().ok().filter(|count| *count <= FDS_MAX);
    let count = count.ok_or_else(|| io::Error::other("LISTEN_FDS is not a small number"))?;
    let names = names.unwrap_or_default();
    let mut names = names.split(':');
    (0..count)
        .map(|index| {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown");
            // SAFETY: the protocol gives us these descriptors, and nobody else in this process knows them yet.
            let fd = unsafe { adopt(FIRST_FD + index as RawFd)? };
            Ok((name.to_owned(), fd))
        })
        .collect()
}

/// Takes over the file whose descriptor the environment variable `name` holds, and removes the variable.
///
/// # Safety
/// As [`named_descriptors`].
///
/// # Errors
/// If the variable is absent or does not name an open descriptor.
pub unsafe fn file_from_environment(name: &str) -> io::Result<File> {
    let fd = std::env::var(name).ok().and_then(|value| value.parse().ok()).filter(|fd| *fd >= FIRST_FD);
    let fd = fd.ok_or_else(|| io::Error::other(format!("{name} names no descriptor")))?;
    // SAFETY: there is no other thread that could read the environment, says the caller.
    unsafe { std::env::remove_var(name) };
    // SAFETY: handed over for us alone, says the caller.
    unsafe { adopt(fd).map(File::from) }
}

/// # Safety
/// `fd` must belong to nobody else in this process.
unsafe fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only borrowed to ask whether it is open at all.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    let flags = fcntl_getfd(borrowed)?;
    fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and ours, says the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A handed-over socket, by its type.
pub enum Socket {
    /// A stream that listens.
    Tcp(TcpListener),
    /// The same, of this machine alone.
    Unix(UnixListener),
    /// Datagrams.
    Udp(UdpSocket),
}

/// Finds out what kind of socket `fd` is.
///
/// # Errors
/// If it is no socket, or neither stream nor datagram.
pub fn socket(fd: OwnedFd) -> io::Result<Socket> {
    match socket_type(&fd)? {
        SocketType::STREAM if socket_domain(&fd)? == AddressFamily::UNIX => Ok(Socket::Unix(UnixListener::from(fd))),
        SocketType::STREAM => Ok(Socket::Tcp(TcpListener::from(fd))),
        SocketType::DGRAM => Ok(Socket::Udp(UdpSocket::from(fd))),
        other => Err(io::Error::other(format!("a socket of type {other:?} was handed over"))),
    }
}
