//! Holding a floating address, as the service `vip` orders it from its supervisor.
//!
//! Who reads what anybody on the wire may send shall not be able to change the machine. So the service has no privilege at
//! all: the supervisor, which alone is root, gives it the sockets that it speaks by, and adds and removes the addresses of
//! the plan, and no other, on orders that come through a Unix socket of the service's user. An address is held until a moment
//! that the order names: what is not ordered again in time is taken away, whatever has become of the service. Beneath
//! that the kernel has a deadline of its own, which covers the supervisor's death.

use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_machines::Time;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde::{Deserialize, Serialize};

/// An order is carried out in less than a millisecond. The service has other things to do than to wait for one that is not.
const PATIENCE: Duration = Duration::from_millis(100);
/// For so long who gave an address to a successor still answers at it: for the ten seconds that requests under way have at
/// the end of a process, with its successor's start before them, and the last packets after them.
pub const LINGERS: Duration = Duration::from_secs(14);
/// And for so long the successor sends on what belongs to it: it ends first, so that nothing is sent to where nobody answers.
pub const SENDS_ON: Duration = Duration::from_secs(12);
/// The kernel keeps an address for so much longer than was ordered, at the least: by itself, when there is no supervisor.
pub const OUTLIVES: Duration = Duration::from_secs(1);
/// Of an answer: those about a hundred addresses have a tenth of it.
const ANSWER_BYTES: usize = 64 * 1024;

/// The sockets that are given: in, out, and for announcements.
pub const SOCKETS: usize = 3;

/// What is ordered: a line of JSON, answered by an [`Answer`] in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Give me what I need; the sockets come beside the answer.
    Open,
    /// The address is here until then and not a moment longer.
    Hold {
        /// One of the plan's.
        address: IpAddr,
        /// CLOCK_BOOTTIME in nanoseconds.
        until_ns: u64,
    },
    /// It is not. With `lingers`, connections that it has are still answered for [`LINGERS`].
    Release {
        /// One of the plan's.
        address: IpAddr,
        /// A successor sends on what belongs to them.
        #[serde(default)]
        lingers: bool,
    },
    /// It is about to be here, and comes from a server that is still there: packets of connections that were not opened here
    /// go on to that one for [`SENDS_ON`].
    Inherit {
        /// One of the plan's.
        address: IpAddr,
        /// One of the plan's peers.
        from: IpAddr,
    },
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is so.
    Done,
    /// It came too late.
    Late,
    /// Where the addresses go, and what is held there already.
    Opened {
        /// The interface's number.
        index: u32,
        /// Its name.
        interface: String,
        /// Its hardware address.
        hardware: Vec<u8>,
        /// Whether it can carry anything.
        is_running: bool,
        /// Addresses, each with its end in nanoseconds of CLOCK_BOOTTIME.
        held: Vec<(IpAddr, u64)>,
    },
    /// It cannot be.
    Impossible {
        /// Why.
        because: String,
    },
}

/// The socket in a service's run folder.
pub fn socket(run: &Path) -> PathBuf {
    run.join("addresses.sock")
}

/// The service's end.
pub struct Addresses {
    socket: PathBuf,
    connection: Option<UnixStream>,
}

impl Addresses {
    /// The keeper's of the service whose run folder this is.
    pub fn new(run: &Path) -> Addresses {
        Addresses { socket: socket(run), connection: None }
    }

    /// Asks for what is needed.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub fn open(&mut self) -> io::Result<(Answer, Vec<OwnedFd>)> {
        self.order(Order::Open)
    }

    /// Keeps an address here until then.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub fn hold(&mut self, address: IpAddr, until: Time) -> io::Result<Answer> {
        self.order(Order::Hold { address, until_ns: until.as_nanos() }).map(|(answer, _)| answer)
    }

    /// Gives an address up; to a successor that knows of it if it `lingers`.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub fn release(&mut self, address: IpAddr, lingers: bool) -> io::Result<Answer> {
        self.order(Order::Release { address, lingers }).map(|(answer, _)| answer)
    }

    /// Prepares to take an address from a server that is still there.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub fn inherit(&mut self, address: IpAddr, from: IpAddr) -> io::Result<Answer> {
        self.order(Order::Inherit { address, from }).map(|(answer, _)| answer)
    }

    fn order(&mut self, order: Order) -> io::Result<(Answer, Vec<OwnedFd>)> {
        if let Some(connection) = &mut self.connection
            && let Ok(answer) = ask(connection, order)
        {
            return Ok(answer);
        }
        // The supervisor was replaced meanwhile.
        self.connection = None;
        let mut fresh = UnixStream::connect(&self.socket)?;
        fresh.set_read_timeout(Some(PATIENCE))?;
        fresh.set_write_timeout(Some(PATIENCE))?;
        let answer = ask(&mut fresh, order)?;
        self.connection = Some(fresh);
        Ok(answer)
    }
}

fn ask(connection: &mut UnixStream, order: Order) -> io::Result<(Answer, Vec<OwnedFd>)> {
    let mut line = serde_json::to_vec(&order)?;
    line.push(b'\n');
    connection.write_all(&line)?;
    let (mut text, mut fds) = (Vec::new(), Vec::new());
    while text.last() != Some(&b'\n') && text.len() < ANSWER_BYTES {
        let mut piece = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut piece)];
        let read = recvmsg(connection.as_fd(), &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(given) = message {
                fds.extend(given);
            }
        }
        text.extend(&piece[..read]);
    }
    Ok((serde_json::from_slice(&text)?, fds))
}
