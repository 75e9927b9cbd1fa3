//! The two ends of a connection, and what is on its way between them.
//!
//! Statements are not understood, but it is known who spoke last: while that is the client, a statement is under way.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::epoll::EventFlags;

use super::ferry::is_later;
use super::packet;

/// Large enough that a big result set is not copied in crumbs.
pub const BUFFER_BYTES: usize = 128 << 10;
/// Reads of one direction before others have their turn: a mebibyte.
const READS_MAX: usize = 8;

/// Bytes in both directions.
#[derive(Default)]
pub struct Tally {
    /// To the server.
    pub sent: AtomicU64,
    /// From the server.
    pub received: AtomicU64,
}

/// An end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Whoever connected to us.
    Client,
    /// Whom we connected to.
    Server,
}

/// What is to be done with a pair next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// Nothing until one of its ends is ready for more.
    Waits,
    /// It has more to copy, after the others.
    Again,
    /// Both ends have closed, or one is broken.
    Ended,
    /// The server's machine has not been heard of for too long.
    Lost,
}

/// See the module.
pub struct Pair {
    client: Edge,
    server: Edge,
    up: Pipe,
    down: Pipe,
    tally: Arc<Tally>,
    spoke_last: Option<Side>,
    plain: Option<bool>,
    cut: bool,
}

/// An end, and for what it is ready as far as is known: epoll tells of changes only.
struct Edge {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    /// The other side has closed: reading goes on to the end, however little it brings.
    closing: bool,
    /// It broke because nothing came back from there.
    silent: bool,
}

impl Edge {
    fn new(stream: TcpStream) -> Edge {
        // A new socket takes what is written to it, and says so itself when it has something to be read.
        Edge { stream, readable: false, writable: true, closing: false, silent: false }
    }

    fn note(&mut self, flags: EventFlags) {
        let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        self.closing |= broken || flags.contains(EventFlags::RDHUP);
        self.readable |= self.closing || flags.contains(EventFlags::IN);
        self.writable |= broken || flags.contains(EventFlags::OUT);
    }

    /// `None`: nothing now. A read that brought less than there was room for has emptied the socket (epoll(7) on `EPOLLET`).
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.read(buffer) {
            Ok(count) => {
                self.readable = count == buffer.len() || self.closing;
                Ok(Some(count))
            }
            Err(why) if is_later(&why) => {
                self.readable = false;
                Ok(None)
            }
            Err(why) => Err(self.broken(why)),
        }
    }

    /// How much was taken.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Ok(count) => Ok(count),
            Err(why) if is_later(&why) => {
                self.writable = false;
                Ok(0)
            }
            Err(why) => Err(self.broken(why)),
        }
    }

    fn broken(&mut self, why: io::Error) -> io::Error {
        self.silent = is_silence(&why);
        why
    }
}

/// The kernel gave up what was not acknowledged, or was told that nobody is there.
fn is_silence(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable)
}

impl Pair {
    /// Of these two; both must not block.
    pub fn new(client: TcpStream, server: TcpStream, tally: Arc<Tally>) -> Pair {
        Pair {
            client: Edge::new(client),
            server: Edge::new(server),
            up: Pipe::default(),
            down: Pipe::default(),
            tally,
            spoke_last: None,
            plain: None,
            cut: false,
        }
    }

    /// One of them.
    pub fn end(&self, side: Side) -> &TcpStream {
        match side {
            Side::Client => &self.client.stream,
            Side::Server => &self.server.stream,
        }
    }

    /// Takes note of what epoll said of an end.
    pub fn note(&mut self, side: Side, flags: EventFlags) {
        match side {
            Side::Client => self.client.note(flags),
            Side::Server => self.server.note(flags),
        }
    }

    /// From now on nothing of the client's passes; an answer that is on its way does.
    pub fn cut(&mut self) {
        self.cut = true;
    }

    /// Whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        self.spoke_last != Some(Side::Client) && self.up.rest.is_empty() && self.down.rest.is_empty()
    }

    /// Whether an error can be written to the client without harm.
    pub fn is_plain(&self) -> bool {
        self.plain == Some(true)
    }

    /// Closes the server's end and gives the client's back.
    pub fn into_client(self) -> TcpStream {
        self.client.stream
    }

    /// Copies what there is.
    pub fn go_on(&mut self, buffer: &mut [u8]) -> Going {
        let (last, plain) = (&mut self.spoke_last, &mut self.plain);
        let down = self.down.pass(&mut self.server, &mut self.client, buffer, |bytes| {
            self.tally.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            *last = Some(Side::Server);
        });
        if self.cut {
            return down.unwrap_or(Going::Ended);
        }
        let up = self.up.pass(&mut self.client, &mut self.server, buffer, |bytes| {
            self.tally.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            *last = Some(Side::Client);
            plain.get_or_insert_with(|| packet::is_plain(bytes));
        });
        match (up, down) {
            (Err(_), _) | (_, Err(_)) if self.server.silent => Going::Lost,
            // An end that breaks is the application's to handle; it sees the connection close.
            (Err(_), _) | (_, Err(_)) | (Ok(Going::Ended), Ok(Going::Ended)) => Going::Ended,
            (Ok(Going::Again), _) | (_, Ok(Going::Again)) => Going::Again,
            _ => Going::Waits,
        }
    }
}

/// One direction.
#[derive(Default)]
struct Pipe {
    /// What was read and not written yet; nothing more is read meanwhile.
    rest: Vec<u8>,
    ended: bool,
}

impl Pipe {
    /// Passes on what there is; the end of `from` is passed on too, while the other direction goes on.
    fn pass(
        &mut self,
        from: &mut Edge,
        to: &mut Edge,
        buffer: &mut [u8],
        mut seen: impl FnMut(&[u8]),
    ) -> io::Result<Going> {
        for _ in 0..READS_MAX {
            if self.ended {
                return Ok(Going::Ended);
            }
            if !self.rest.is_empty() && !self.write_rest(to)? {
                return Ok(Going::Waits);
            }
            if !from.readable {
                return Ok(Going::Waits);
            }
            match from.read(buffer)? {
                None => return Ok(Going::Waits),
                Some(0) => {
                    self.ended = true;
                    // The other end may be gone already.
                    let _ = to.stream.shutdown(Shutdown::Write);
                }
                Some(count) => {
                    seen(&buffer[..count]);
                    let written = to.write(&buffer[..count])?;
                    self.rest.extend_from_slice(&buffer[written..count]);
                }
            }
        }
        Ok(Going::Again)
    }

    /// Whether all of it is written.
    fn write_rest(&mut self, to: &mut Edge) -> io::Result<bool> {
        while !self.rest.is_empty() && to.writable {
            let written = to.write(&self.rest)?;
            self.rest.drain(..written);
        }
        if !self.rest.is_empty() {
            return Ok(false);
        }
        // What a slow reader made necessary is given back with the answer's end.
        self.rest = Vec::new();
        Ok(true)
    }
}
