//! Talking to whoever started us, in systemd's way: sd_notify(3) and the descriptor store of systemd.service(5).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    sendmsg_addr, socket_with,
};

/// How long a full queue at the other end is waited for. It takes datagrams as they come; a second means that it hangs,
/// and that must not keep the services from being started.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to our parent; does nothing if the parent keeps nothing.
pub struct Notify(Option<(OwnedFd, SocketAddrUnix)>);

impl Notify {
    /// The socket that `NOTIFY_SOCKET` names: a path, or an abstract address after `@`.
    ///
    /// # Errors
    /// If the variable names something unusable.
    pub fn from_environment() -> io::Result<Notify> {
        let Ok(name) = std::env::var("NOTIFY_SOCKET") else { return Ok(Notify(None)) };
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
            None => SocketAddrUnix::new(&name)?,
        };
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        Ok(Notify(Some((socket, address))))
    }

    /// Whether anyone keeps our descriptors.
    pub fn keeps(&self) -> bool {
        self.0.is_some()
    }

    /// Tells that we serve.
    pub fn ready(&self) {
        self.send("READY=1", &[]);
    }

    /// Tells that we are stopping.
    pub fn stopping(&self) {
        self.send("STOPPING=1", &[]);
    }

    /// Puts a descriptor away. `FDPOLL=0`: it is kept also when it looks ended, since what ended is ours to judge.
    pub fn keep(&self, name: &str, fd: BorrowedFd<'_>) {
        self.send(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), &[fd]);
    }

    /// Takes every descriptor called `name` out of the store.
    pub fn forget(&self, name: &str) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[]);
    }

    fn send(&self, text: &str, fds: &[BorrowedFd<'_>]) {
        let Some((socket, address)) = &self.0 else { return };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        // There is room for the one descriptor that `keep` passes.
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let slices = [IoSlice::new(text.as_bytes())];
        let sent = sendmsg_addr(socket.as_fd(), address, &slices, &mut control, SendFlags::NOSIGNAL);
        if let Err(error) = sent {
            tracing::warn!("what started this supervisor does not take {text:?}: {error}");
        }
    }
}
