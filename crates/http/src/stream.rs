//! Connections: TCP or Unix, read and written without giving buffers away.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::patience::within;
use crate::tls::Session;

/// Where a backend listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A connection. Reading and writing borrow it shared, so that both directions can be served at once.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<Session>),
}

/// The socket below.
macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::Tls(session) => {
                let $stream = &session.tcp;
                $call
            }
        }
    };
}

impl Stream {
    /// Connects within `deadline`.
    pub(crate) async fn connect(address: &Address, deadline: Duration) -> io::Result<Stream> {
        let connecting = async {
            match address {
                Address::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    // A request is written in one piece; waiting for more would only delay it.
                    stream.set_nodelay(true)?;
                    Ok(Stream::Tcp(stream))
                }
                Address::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
            }
        };
        timeout(deadline, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The addresses of the other end and of ours; `None` over a Unix socket, or if the other end is gone.
    pub(crate) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let stream = match self {
            Stream::Tcp(stream) => stream,
            Stream::Tls(session) => &session.tcp,
            Stream::Unix(_) => return None,
        };
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Some((canonical(stream.peer_addr().ok()?), canonical(stream.local_addr().ok()?)))
    }

    /// What is spoken on it, as URLs name it.
    pub(crate) fn proto(&self) -> &'static str {
        if self.is_encrypted() { "https" } else { "http" }
    }

    /// Whether what passes is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tls(session) => session.try_read(buffer),
            _ => each!(self, stream => stream.try_read(buffer)),
        }
    }

    /// A read that brought less than there was room for has emptied the socket: the next one need not ask the kernel until
    /// epoll reports more (epoll(7) on `EPOLLET`). That the other end closed is remembered apart, and not forgotten here.
    pub(crate) fn drained(&self) {
        if self.is_encrypted() {
            return;
        }
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = each!(self, stream => stream.try_io(Interest::READABLE, nothing));
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        each!(self, stream => stream.readable().await)
    }

    /// Writes all of `bytes`; each wait for room at most `deadline`.
    pub(crate) async fn write(&self, mut bytes: &[u8], deadline: Duration) -> io::Result<()> {
        if let Stream::Tls(session) = self {
            return session.write(bytes, deadline).await;
        }
        while !bytes.is_empty() {
            let written = self.when_writable(deadline, || each!(self, stream => stream.try_write(bytes))).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Writes `head` and then `body`, in one packet if they fit, without copying either.
    pub(crate) async fn write_both(&self, head: &[u8], body: &[u8], deadline: Duration) -> io::Result<()> {
        if let Stream::Tls(session) = self {
            return session.write_both(head, body, deadline).await;
        }
        let both = [IoSlice::new(head), IoSlice::new(body)];
        let written = self.when_writable(deadline, || each!(self, stream => stream.try_write_vectored(&both))).await?;
        if let Some(rest) = written.checked_sub(head.len()) {
            return self.write(&body[rest..], deadline).await;
        }
        self.write(&head[written..], deadline).await?;
        self.write(body, deadline).await
    }

    /// Whether the kernel can send a file on this connection by itself.
    pub(crate) fn takes_files(&self) -> bool {
        !self.is_encrypted()
    }

    /// Writes `head`, which more follows at once: it waits to go out together with that.
    pub(crate) async fn begin(&self, mut head: &[u8], deadline: Duration) -> io::Result<()> {
        if !self.takes_files() {
            return self.write(head, deadline).await;
        }
        while !head.is_empty() {
            let send = |fd: BorrowedFd<'_>| Ok(rustix::net::send(fd, head, SendFlags::MORE | SendFlags::NOSIGNAL)?);
            let written = self.when_writable(deadline, || self.with_fd(send)).await?;
            head = &head[written..];
        }
        Ok(())
    }

    /// Sends up to `length` bytes of `file` from `offset` on, past user space (sendfile(2)); how many. Zero at its end.
    pub(crate) async fn send_file(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
        deadline: Duration,
    ) -> io::Result<usize> {
        let send = |fd: BorrowedFd<'_>| {
            let mut offset = offset;
            Ok(rustix::fs::sendfile(fd, file, Some(&mut offset), length)?)
        };
        self.when_writable(deadline, || self.with_fd(send)).await
    }

    fn with_fd<T>(&self, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        each!(self, stream => stream.try_io(Interest::WRITABLE, || call(stream.as_fd())))
    }

    async fn when_writable<T>(&self, deadline: Duration, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    within(deadline, async { each!(self, stream => stream.writable().await) }).await?;
                }
                done => return done,
            }
        }
    }

    /// Says that nothing more will be written. A connection that is gone already needs no telling.
    pub(crate) fn finish(&self) {
        if let Stream::Tls(session) = self {
            session.finish();
        }
        let _ = each!(self, stream => socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write));
    }

    /// Whether an idle connection may be used again, as far as epoll has told: what is not quiet has an event waiting, and
    /// a request that finds out too late is repeated.
    pub(crate) fn seems_quiet(&self) -> bool {
        let mut byte = [0];
        matches!(self.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The same, asked of the kernel: for a request that must not be repeated.
    pub(crate) fn is_quiet(&self) -> bool {
        if !self.seems_quiet() {
            return false;
        }
        let mut byte = [MaybeUninit::uninit()];
        let peeked = each!(self, stream => socket2::SockRef::from(stream).peek(&mut byte));
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}
