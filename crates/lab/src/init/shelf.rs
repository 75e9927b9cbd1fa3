//! The descriptor store: what the child puts away to get it back after its death.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketAddrUnix, SocketFlags,
    SocketType, bind, getsockname, recvmsg, socket_with,
};
use rustix::process::Pid;

/// Descriptors that are kept at most: a server has two sockets per core and listener, and three per service; a fault that
/// puts the same away again and again must not take every descriptor of init. (systemd's `FileDescriptorStoreMax` has
/// no bound of its own and is 0 unless set.)
const KEPT_MAX: usize = 2048;

/// Descriptors in one message: `SCM_MAX_FD` of the kernel (unix(7)).
const MESSAGE_FDS: usize = 253;

/// Bytes of one message: `NOTIFY_BUFFER_MAX` of systemd is a page.
const MESSAGE_BYTES: usize = 4096;

/// The longest name that sd_pid_notify_with_fds(3) allows.
const NAME_BYTES: usize = 255;

/// Messages taken in one go, so that a child that sends without end cannot keep init from its other work.
const BATCH: usize = 256;

/// The notification socket and what came through it.
pub(super) struct Shelf {
    socket: OwnedFd,
    address: String,
    from: Option<Pid>,
    kept: Vec<(String, OwnedFd)>,
}

impl AsFd for Shelf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Shelf {
    /// Listens on an abstract address that the kernel picks (unix(7), autobind): no file to clean up.
    pub(super) fn new() -> io::Result<Shelf> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        set_socket_passcred(&socket, true)?;
        bind(&socket, &SocketAddrUnix::new_unnamed())?;
        let bound = SocketAddrUnix::try_from(getsockname(&socket)?)?;
        let name = bound.abstract_name().ok_or_else(|| io::Error::other("the kernel gave the socket no name"))?;
        let address = format!("@{}", String::from_utf8_lossy(name));
        Ok(Shelf { socket, address, from: None, kept: Vec::new() })
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whose messages count (`NotifyAccess=main`): everybody in the network namespace can send some.
    pub(super) fn listen_to(&mut self, child: Pid) {
        self.from = Some(child);
    }

    /// What is kept, in the order in which it came.
    pub(super) fn kept(&self) -> &[(String, OwnedFd)] {
        &self.kept
    }

    /// Takes what was sent.
    pub(super) fn receive(&mut self) {
        for _ in 0..BATCH {
            match self.receive_one() {
                Ok(()) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(error) => return tracing::error!("the notification socket: {error}"),
            }
        }
    }

    fn receive_one(&mut self) -> rustix::io::Result<()> {
        let mut text = [0; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_FDS), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut text)];
        let message = recvmsg(&self.socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let (mut fds, mut sender) = (Vec::new(), None);
        for part in control.drain() {
            match part {
                RecvAncillaryMessage::ScmRights(rights) => fds.extend(rights),
                RecvAncillaryMessage::ScmCredentials(credentials) => sender = Some(credentials.pid),
                _ => {}
            }
        }
        if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            tracing::warn!("a notification was too long and is dropped");
        } else if sender.is_some() && sender == self.from {
            self.obey(&String::from_utf8_lossy(&text[..message.bytes]), fds);
        }
        Ok(())
    }

    /// `FDSTORE=1` and `FDSTOREREMOVE=1` with `FDNAME=…`. Descriptors that are not to be kept are closed here, which
    /// is all that `BARRIER=1` asks for.
    fn obey(&mut self, text: &str, fds: Vec<OwnedFd>) {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let name = value("FDNAME").unwrap_or("stored");
        if !well_named(name) {
            return tracing::warn!("{name:?} is no name for a descriptor");
        }
        if value("FDSTOREREMOVE") == Some("1") {
            self.kept.retain(|(is, _)| is != name);
        } else if value("FDSTORE") == Some("1") {
            self.keep(name, fds);
        }
    }

    fn keep(&mut self, name: &str, fds: Vec<OwnedFd>) {
        for fd in fds {
            if self.kept.len() == KEPT_MAX {
                return tracing::error!("{KEPT_MAX} descriptors are kept already: {name} is not");
            }
            self.kept.push((name.to_owned(), fd));
        }
    }
}

/// sd_pid_notify_with_fds(3): ASCII without control characters and colons, since `LISTEN_FDNAMES` is split at these.
fn well_named(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(shelf: &Shelf) -> Vec<&str> {
        shelf.kept().iter().map(|(name, _)| name.as_str()).collect()
    }

    fn some_fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn keeps_and_forgets_by_name() {
        let mut shelf = Shelf::new().unwrap();
        shelf.obey("FDSTORE=1\nFDNAME=a.b-1_", vec![some_fd(), some_fd()]);
        shelf.obey("FDNAME=c\nFDPOLL=0\nFDSTORE=1", vec![some_fd()]);
        assert_eq!(names(&shelf), ["a.b-1_", "a.b-1_", "c"]);
        shelf.obey("FDSTOREREMOVE=1\nFDNAME=a.b-1_", vec![]);
        assert_eq!(names(&shelf), ["c"]);
    }

    #[test]
    fn refuses_names_that_would_split() {
        let mut shelf = Shelf::new().unwrap();
        for name in ["", "a:b", "a\u{7f}", "ä"] {
            shelf.obey(&format!("FDSTORE=1\nFDNAME={name}"), vec![some_fd()]);
        }
        assert!(shelf.kept().is_empty());
    }

    #[test]
    fn is_bounded() {
        let mut shelf = Shelf::new().unwrap();
        for _ in 0..KEPT_MAX + 3 {
            shelf.obey("FDSTORE=1\nFDNAME=x", vec![some_fd()]);
        }
        assert_eq!(shelf.kept().len(), KEPT_MAX);
    }

    #[test]
    fn ignores_strangers() {
        let mut shelf = Shelf::new().unwrap();
        let name = shelf.address().strip_prefix('@').unwrap().to_owned();
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let address =
            <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name).unwrap();
        let send = || sender.send_to_addr(b"FDSTOREREMOVE=1\nFDNAME=x", &address).unwrap();
        shelf.obey("FDSTORE=1\nFDNAME=x", vec![some_fd()]);
        shelf.listen_to(Pid::INIT);
        send();
        shelf.receive();
        assert_eq!(names(&shelf), ["x"]);
        shelf.listen_to(rustix::process::getpid());
        send();
        shelf.receive();
        assert!(shelf.kept().is_empty());
    }
}
