//! A TLS connection over TCP, read and written as any other.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::task::{Poll, ready};
use std::time::Duration;

use rustls::{ClientConnection, Connection, HandshakeKind, ServerConnection};

use super::{Encrypted, H2, ServerTls};
use crate::event_loop::{Descriptor, Side};
use crate::patience::{when_writable, within};

/// What may wait in clear to be encrypted and sent: a few records, so that a slow reader costs no more memory than over
/// TCP.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// A connection. Both directions borrow it shared, and never across a wait.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) tcp: Descriptor,
    session: RefCell<Connection>,
    /// The last read from the socket emptied it.
    drained: Cell<bool>,
}

/// The socket, for rustls.
struct Socket<'s>(&'s Descriptor, &'s Cell<bool>);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.set(count > 0 && count < buffer.len());
        Ok(count)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Session {
    /// Lets a visitor in, within `deadline` for each wait.
    pub(crate) async fn accept(tcp: Descriptor, tls: ServerTls, deadline: Duration) -> io::Result<Box<Session>> {
        let session = ServerConnection::new(tls).map_err(io::Error::other)?;
        Session::new(tcp, session.into()).shake_hands(deadline).await
    }

    /// Meets a backend and makes sure that it is who it must be; `two`: it is to speak HTTP/2.
    pub(crate) async fn connect(
        tcp: Descriptor,
        backend: &Encrypted,
        two: bool,
        deadline: Duration,
    ) -> io::Result<Box<Session>> {
        let session = ClientConnection::new(backend.config(two), backend.name.clone()).map_err(io::Error::other)?;
        let session = Session::new(tcp, session.into()).shake_hands(deadline).await?;
        if two && !session.is_h2() {
            return Err(io::Error::other("it does not speak HTTP/2 over TLS"));
        }
        Ok(session)
    }

    fn new(tcp: Descriptor, mut session: Connection) -> Box<Session> {
        session.set_buffer_limit(Some(WAITING_BYTES_MAX));
        Box::new(Session { tcp, session: RefCell::new(session), drained: Cell::new(false) })
    }

    async fn shake_hands(self: Box<Session>, deadline: Duration) -> io::Result<Box<Session>> {
        loop {
            self.flush(deadline).await?;
            if !self.session.borrow().is_handshaking() {
                return Ok(self);
            }
            match self.receive(&mut self.session.borrow_mut()) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => {
                    other?;
                    continue;
                }
            }
            within(deadline, poll_fn(|_| self.tcp.poll(Side::Reading).map(Ok))).await?;
        }
    }

    /// Whether HTTP/2 was agreed on.
    pub(crate) fn is_h2(&self) -> bool {
        self.session.borrow().alpn_protocol() == Some(H2)
    }

    /// Whether the session of an earlier connection was gone on with.
    pub(crate) fn is_resumed(&self) -> bool {
        self.session.borrow().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Takes in what the socket has, once.
    fn receive(&self, session: &mut Connection) -> io::Result<usize> {
        let count = session.read_tls(&mut Socket(&self.tcp, &self.drained))?;
        if self.drained.take() {
            self.tcp.drained();
        }
        if let Err(error) = session.process_new_packets() {
            // The alert that says why.
            let _ = session.write_tls(&mut Socket(&self.tcp, &self.drained));
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(count)
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        let mut filled = 0;
        loop {
            match session.reader().read(&mut buffer[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(count) => {
                    filled += count;
                    // A record has up to 16 KiB: several of them fill a buffer.
                    if filled == buffer.len() {
                        return Ok(filled);
                    }
                    continue;
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return if filled > 0 { Ok(filled) } else { Err(error) };
                }
                Err(_) => {}
            }
            match self.receive(&mut session) {
                Ok(_) => {}
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
        }
    }

    /// Encrypts and sends what fits; how much of `bytes` that was. Some of it may still wait to be sent: [`Session::flush`].
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        let taken = session.writer().write(bytes)?;
        match self.send(&mut session) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && taken > 0 => Ok(taken),
            sent => sent.map(|_| taken),
        }
    }

    /// Sends what waits; whether that was all. It blocks only where nothing could be sent.
    fn send(&self, session: &mut Connection) -> io::Result<bool> {
        let mut some = false;
        while session.wants_write() {
            match session.write_tls(&mut Socket(&self.tcp, &self.drained)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && some => return Ok(false),
                sent => some = sent? > 0,
            }
        }
        Ok(true)
    }

    fn push(&self) -> io::Result<bool> {
        self.send(&mut self.session.borrow_mut())
    }

    /// Sends all that waits; each wait for room at most `deadline`.
    async fn flush(&self, deadline: Duration) -> io::Result<()> {
        while !when_writable(&self.tcp, deadline, || self.push()).await? {}
        Ok(())
    }

    pub(crate) async fn write(&self, mut bytes: &[u8], deadline: Duration) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = when_writable(&self.tcp, deadline, || self.try_write(bytes)).await?;
            bytes = &bytes[taken..];
        }
        self.flush(deadline).await
    }

    /// Writes both as if they were one: a small answer is one record and one packet.
    pub(crate) async fn write_both(&self, head: &[u8], body: &[u8], deadline: Duration) -> io::Result<()> {
        let together = [io::IoSlice::new(head), io::IoSlice::new(body)];
        let taken = self.session.borrow_mut().writer().write_vectored(&together)?;
        if let Some(rest) = taken.checked_sub(head.len()) {
            return self.write(&body[rest..], deadline).await;
        }
        self.write(&head[taken..], deadline).await?;
        self.write(body, deadline).await
    }

    /// Says that nothing more will be written (RFC 8446 § 6.1): the other end can tell it from a connection that was cut.
    pub(crate) fn finish(&self) {
        let mut session = self.session.borrow_mut();
        session.send_close_notify();
        let _ = self.send(&mut session);
    }

    /// For HTTP/2, whose crate polls. What is written waits until its bound is reached or [`Session::poll_flush`] sends it: frames that
    /// follow each other go out together.
    pub(crate) fn poll_write_vectored(&self, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let taken = self.session.borrow_mut().writer().write_vectored(pieces)?;
            if taken > 0 || pieces.iter().all(|piece| piece.is_empty()) {
                return Poll::Ready(Ok(taken));
            }
            ready!(self.poll_flush())?;
        }
    }

    pub(crate) fn poll_flush(&self) -> Poll<io::Result<()>> {
        loop {
            match self.push() {
                Ok(true) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                _ => ready!(self.tcp.poll(Side::Writing)),
            }
        }
    }
}

/// A visitor that is left without a word may take its last answer for cut.
impl Drop for Session {
    fn drop(&mut self) {
        self.finish();
    }
}
