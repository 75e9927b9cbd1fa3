//! Connections: TCP or Unix, read and written without giving buffers away.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{SendFlags, sockopt};
use rustix::pipe::{SpliceFlags, splice};

use crate::event_loop::{self, Descriptor, Side, sleep, timeout};
use crate::http2::{Asked, Served};
use crate::patience::when_writable;
use crate::spares::JOINED_BYTES_MAX;
use crate::tls::{Encrypted, Session};
use crate::wire::Ends;

/// Where a backend listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
    /// A tier on this server, which is also at a TCP address.
    Local(Local),
    /// A TCP address at which TLS is spoken, by somebody in particular.
    Tls(Encrypted),
}

/// Two ways to a tier on this server: a round trip through a Unix socket costs two thirds of one over TCP. It need not be there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Local {
    /// The Unix sockets, one for each of its cores.
    pub paths: Vec<PathBuf>,
    /// Where everyone else connects.
    pub address: SocketAddr,
}

/// Connections made by way of [`Local`]: they are spread over the cores, as the kernel does over sockets that share a port.
static SPREAD: AtomicUsize = AtomicUsize::new(0);

impl Local {
    async fn connect(&self) -> io::Result<Stream> {
        let next = SPREAD.fetch_add(1, Ordering::Relaxed).checked_rem(self.paths.len());
        match next.map(|next| event_loop::unix(&self.paths[next])) {
            Some(Ok(stream)) => Ok(Stream::Unix(stream)),
            // Not there, of an older process, or full: connections over TCP wait.
            _ => tcp(&self.address).await.map(Stream::Tcp),
        }
    }
}

impl Address {
    /// Whether it leads to this machine, which cannot be off.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Address::Unix(_) | Address::Local(_))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
            Address::Local(local) => local.address.fmt(f),
            Address::Tls(encrypted) => encrypted.fmt(f),
        }
    }
}

async fn tcp(address: &SocketAddr) -> io::Result<Descriptor> {
    let stream = event_loop::tcp(address).await?;
    // A request is written in one piece; waiting for more would only delay it.
    sockopt::set_tcp_nodelay(&stream, true)?;
    Ok(stream)
}

/// Between two looks whether there is room in a full queue: little at first, and so much that thousands who look need a fifth of a core.
const FULL_PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(64)];

/// Connects to a Unix socket. If as many wait there already as may, the kernel says so, and tells nobody when that changes (connect(2),
/// `EAGAIN`): somebody is there, and behind.
async fn unix(path: &Path) -> io::Result<Descriptor> {
    let [mut pause, longest] = FULL_PAUSES;
    loop {
        match event_loop::unix(path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(pause).await,
            connected => return connected,
        }
        pause = longest.min(2 * pause);
    }
}

/// A machine whose kernel acknowledges nothing for so long is off, or cut off: on the networks between tiers an acknowledgement
/// takes milliseconds, and a virtual machine that moves to another host pauses for up to two seconds.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(3);
/// How often a connection on which nothing happens is asked whether somebody is there; the least that the kernel takes.
const ASKED_EACH: Duration = Duration::from_secs(1);
/// What waits in the kernel until it can be sent, where answers share a connection: two frames, so that there is something to send
/// while the next is made.
const UNSENT_BYTES: u32 = 32 * 1024;

/// A connection that sends whole segments alone, until this is dropped.
pub(crate) struct Corked<'a>(&'a Descriptor);

impl Drop for Corked<'_> {
    fn drop(&mut self) {
        let _ = socket2::SockRef::from(self.0).set_tcp_cork(false);
    }
}

/// A connection. Reading and writing borrow it shared, so that both directions can be served at once.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(Descriptor),
    Unix(Descriptor),
    Tls(Box<Session>),
    /// A stream of a connection by HTTP/2, which has a task of its own.
    Http2(Box<Served>),
    /// The same, of a connection to a backend.
    Asked(Box<Asked>),
}

/// The socket below; a stream of HTTP/2 has none of its own.
macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::Tls(session) => {
                let $stream = &session.tcp;
                $call
            }
            Stream::Http2(_) | Stream::Asked(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    };
}

impl Stream {
    /// Connects within `deadline`, to speak HTTP/1.1 or FastCGI.
    pub(crate) async fn connect(address: &Address, deadline: Duration) -> io::Result<Stream> {
        Stream::reach(address, false, deadline).await
    }

    /// Connects within `deadline`; `two`: to speak HTTP/2.
    pub(crate) async fn reach(address: &Address, two: bool, deadline: Duration) -> io::Result<Stream> {
        let connecting = async {
            match address {
                Address::Tcp(address) => tcp(address).await.map(Stream::Tcp),
                Address::Unix(path) => unix(path).await.map(Stream::Unix),
                Address::Local(local) => local.connect().await,
                Address::Tls(backend) => {
                    let tcp = tcp(&backend.address).await?;
                    Ok(Stream::Tls(Session::connect(tcp, backend, two, deadline).await?))
                }
            }
        };
        timeout(deadline, connecting).await?
    }

    /// Has the connection break if the other end's kernel does not say in time that it is still there while an answer is waited for,
    /// and if what is sent is `small`, that it has it (tcp(7), `SO_KEEPALIVE`, `TCP_USER_TIMEOUT`): a machine that is off says nothing.
    /// Small is what fits into its buffer, whoever reads or not: a full one counts as silence too.
    pub(crate) fn wants_acknowledgement(&self, small: bool) {
        let Some(tcp) = self.tcp() else { return };
        let socket = socket2::SockRef::from(tcp);
        let asked = socket2::TcpKeepalive::new().with_time(ASKED_EACH).with_interval(ASKED_EACH);
        // Without them a request waits for its answer as long as one may take.
        let _ = socket.set_tcp_user_timeout(small.then_some(ACKNOWLEDGED_WITHIN));
        let _ = socket.set_tcp_keepalive(&asked);
    }

    /// Has the kernel take no more than [`UNSENT_BYTES`] that it cannot send yet (ip-sysctl.rst, `tcp_notsent_lowat`): of several
    /// answers on one connection, a small one does not wait behind megabytes of a large one.
    pub(crate) fn keeps_little_unsent(&self) {
        if let Some(tcp) = self.tcp() {
            // Without it they wait longer.
            let _ = socket2::SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT_BYTES);
        }
    }

    /// Has the kernel send whole segments alone until what is returned is dropped (tcp(7), `TCP_CORK`). `MSG_MORE` holds back what
    /// does not fill one only until something is acknowledged: of an answer that takes several writes, a small segment would follow
    /// each large one.
    pub(crate) fn corked(&self) -> Option<Corked<'_>> {
        let tcp = self.tcp()?;
        socket2::SockRef::from(tcp).set_tcp_cork(true).ok()?;
        Some(Corked(tcp))
    }

    /// Its connection, if that is one of TCP and its own.
    fn tcp(&self) -> Option<&Descriptor> {
        match self {
            Stream::Tcp(stream) => Some(stream),
            Stream::Tls(session) => Some(&session.tcp),
            Stream::Unix(_) | Stream::Http2(_) | Stream::Asked(_) => None,
        }
    }

    /// The version of HTTP that its other end speaks, unless that is an old one.
    pub(crate) fn version(&self) -> &'static str {
        match self {
            Stream::Http2(_) | Stream::Asked(_) => "2.0",
            _ => "1.1",
        }
    }

    /// `None` if it is none of TCP of its own, or the other end is gone.
    pub(crate) fn ends(&self) -> Option<Ends> {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let socket = socket2::SockRef::from(self.tcp()?);
        Some((canonical(socket.peer_addr().ok()?.as_socket()?), canonical(socket.local_addr().ok()?.as_socket()?)))
    }

    /// What is spoken on it, as URLs name it.
    pub(crate) fn proto(&self) -> &'static str {
        match self {
            Stream::Tls(_) => "https",
            Stream::Http2(served) => served.proto,
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Asked(_) => "http",
        }
    }

    /// Whether what is written goes to a socket as it is.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Stream::Tcp(_) | Stream::Unix(_))
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tls(session) => session.try_read(buffer),
            Stream::Http2(served) => served.try_read(buffer),
            Stream::Asked(asked) => asked.try_read(buffer),
            _ => each!(self, stream => stream.read(buffer)),
        }
    }

    /// Reads what is there behind what `buffer` has, into the room that it has; of plain streams alone.
    pub(crate) fn try_read_buf(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        each!(self, stream => stream.read_behind(buffer))
    }

    /// A read that brought less than there was room for has emptied the socket: the next one need not ask the kernel until
    /// epoll reports more (epoll(7) on `EPOLLET`). That the other end closed is remembered apart, and not forgotten here.
    pub(crate) fn drained(&self) {
        if let Stream::Tcp(stream) | Stream::Unix(stream) = self {
            stream.drained();
        }
    }

    /// Whether there may be something to read; if not, the task whose turn it is takes another then, and nobody else.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) | Stream::Unix(stream) => stream.poll(Side::Reading).map(Ok),
            Stream::Tls(session) => session.tcp.poll(Side::Reading).map(Ok),
            Stream::Http2(served) => served.poll_readable(context),
            Stream::Asked(asked) => asked.poll_readable(context),
        }
    }

    /// Whether there may be room to write; the same. Streams of HTTP/2 look after that themselves.
    fn poll_writable(&self) -> Poll<()> {
        match self {
            Stream::Tcp(stream) | Stream::Unix(stream) => stream.poll(Side::Writing),
            Stream::Tls(session) => session.tcp.poll(Side::Writing),
            Stream::Http2(_) | Stream::Asked(_) => Poll::Ready(()),
        }
    }

    /// Writes all of `bytes`; each wait for room at most `deadline`.
    pub(crate) async fn write(&self, mut bytes: &[u8], deadline: Duration) -> io::Result<()> {
        match self {
            Stream::Tls(session) => return session.write(bytes, deadline).await,
            Stream::Http2(served) => return served.write(bytes, deadline).await,
            Stream::Asked(asked) => return asked.write(bytes, deadline).await,
            Stream::Tcp(_) | Stream::Unix(_) => {}
        }
        while !bytes.is_empty() {
            let written = self.when_writable(deadline, || each!(self, stream => stream.write(bytes))).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Writes `head` and then `body`, in one packet if they fit, without copying either.
    pub(crate) async fn write_both(&self, head: &[u8], body: &[u8], deadline: Duration) -> io::Result<()> {
        match self {
            Stream::Tls(session) => return session.write_both(head, body, deadline).await,
            Stream::Http2(served) => {
                served.write(head, deadline).await?;
                return served.write(body, deadline).await;
            }
            Stream::Asked(asked) => {
                asked.write(head, deadline).await?;
                return asked.write(body, deadline).await;
            }
            Stream::Tcp(_) | Stream::Unix(_) => {}
        }
        let both = [IoSlice::new(head), IoSlice::new(body)];
        let written = self.when_writable(deadline, || each!(self, stream => stream.write_vectored(&both))).await?;
        if let Some(rest) = written.checked_sub(head.len()) {
            return self.write(&body[rest..], deadline).await;
        }
        self.write(&head[written..], deadline).await?;
        self.write(body, deadline).await
    }

    /// Writes `head` and then `body`: behind it if that is cheaper than a second piece. Behind what is the `last` of a connection its
    /// end follows at once.
    pub(crate) async fn write_behind(
        &self,
        head: &mut Vec<u8>,
        body: &[u8],
        last: bool,
        deadline: Duration,
    ) -> io::Result<()> {
        if body.len() > JOINED_BYTES_MAX {
            return self.write_both(head, body, deadline).await;
        }
        head.extend_from_slice(body);
        self.write_piece(head, last, deadline).await
    }

    /// Writes `bytes`. Behind what is the `last` of a connection its end follows at once.
    pub(crate) async fn write_piece(&self, bytes: &[u8], last: bool, deadline: Duration) -> io::Result<()> {
        if last { self.begin(bytes, deadline).await } else { self.write(bytes, deadline).await }
    }

    /// Whether the kernel can send a file on this connection by itself.
    pub(crate) fn takes_files(&self) -> bool {
        self.is_plain()
    }

    /// Writes `head`, which more follows at once, be it the end of the connection: it waits to go out together with that.
    pub(crate) async fn begin(&self, mut head: &[u8], deadline: Duration) -> io::Result<()> {
        if !self.takes_files() {
            return self.write(head, deadline).await;
        }
        while !head.is_empty() {
            let send = |fd: BorrowedFd<'_>| Ok(rustix::net::send(fd, head, SendFlags::MORE | SendFlags::NOSIGNAL)?);
            let written = self.when_writable(deadline, || self.with_fd(Side::Writing, send)).await?;
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
        self.when_writable(deadline, || self.with_fd(Side::Writing, send)).await
    }

    /// Moves up to `most` of the bytes that have come into a pipe, past user space (splice(2)); how many. Zero at the end.
    pub(crate) fn splice_into(&self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        self.with_fd(Side::Reading, |fd| Ok(splice(fd, None, pipe, None, most, SpliceFlags::NONBLOCK)?))
    }

    /// Sends up to `most` of the bytes in a pipe, past user space; how many.
    pub(crate) async fn splice_from(&self, pipe: BorrowedFd<'_>, most: usize, deadline: Duration) -> io::Result<usize> {
        let send = |fd: BorrowedFd<'_>| Ok(splice(pipe, None, fd, None, most, SpliceFlags::NONBLOCK)?);
        self.when_writable(deadline, || self.with_fd(Side::Writing, send)).await
    }

    fn with_fd<T>(&self, side: Side, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        each!(self, stream => stream.attempt(side, call))
    }

    async fn when_writable<T>(
        &self,
        deadline: Duration,
        attempt: impl FnMut() -> io::Result<T> + Unpin,
    ) -> io::Result<T> {
        each!(self, stream => when_writable(stream, deadline, attempt).await)
    }

    /// Says that nothing more will be written. A connection that is gone already needs no telling.
    pub(crate) fn finish(&self) {
        if let Stream::Tls(session) = self {
            session.finish();
        }
        let _ = each!(self, stream => socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write));
    }

    /// Closes a connection on which nothing is under way, so that it takes no port any more (socket(7), `SO_LINGER`).
    pub(crate) fn reset(self) {
        let _ = each!(self, stream => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
    }

    /// For HTTP/2, whose crate polls.
    pub(crate) fn poll_write_vectored(&self, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let written = match self {
                Stream::Tls(session) => return session.poll_write_vectored(pieces),
                _ => each!(self, stream => stream.write_vectored(pieces)),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(self.poll_writable());
        }
    }

    pub(crate) fn poll_flush(&self) -> Poll<io::Result<()>> {
        match self {
            Stream::Tls(session) => session.poll_flush(),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Whether it may carry another exchange.
    pub(crate) fn is_reusable(&self) -> bool {
        !matches!(self, Stream::Http2(_) | Stream::Asked(_))
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
