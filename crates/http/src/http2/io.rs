//! A connection as the `h2` crate wants it: polled, and watched for floods.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use mainstay_machines::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flood::Flood;
use crate::counters::count;
use crate::stream::Stream;
use crate::wire::Wire;
use crate::worker::Worker;

/// What is written goes out when it is so much, at the latest: about a record of TLS.
const TOGETHER_BYTES: usize = 16 * 1024;

/// A connection.
pub(super) struct Io {
    line: Rc<Line>,
    /// Read before it was known to be HTTP/2.
    before: Vec<u8>,
    worker: Rc<Worker>,
    /// `None` where the other end is a backend of ours.
    watch: Option<Watch>,
}

/// What is shared with who drives it. The crate flushes behind each frame that has contents, so that of fifty answers at a time each
/// would be a packet, and a system call: told to wait, frames go out once everybody has said what there is to say.
pub(super) struct Line {
    stream: Stream,
    waits: Cell<bool>,
    /// Bytes that were written and may not have gone out.
    behind: Cell<usize>,
}

impl Line {
    fn new(stream: Stream) -> Line {
        Line { stream, waits: Cell::new(false), behind: Cell::new(0) }
    }

    /// From now on nothing goes out by itself but what [`TOGETHER_BYTES`] are exceeded by: [`Line::poll_flush`] is to be called when
    /// nobody has more to say.
    pub(super) fn waits(&self) {
        self.waits.set(true);
    }

    /// Sends what was written.
    pub(super) fn poll_flush(&self) -> Poll<io::Result<()>> {
        ready!(self.stream.poll_flush())?;
        self.behind.set(0);
        Poll::Ready(Ok(()))
    }
}

struct Watch {
    flood: Flood,
    began: Instant,
}

impl Watch {
    fn received(&mut self, bytes: &[u8], worker: &Worker) -> io::Result<()> {
        if self.flood.received(bytes, Time::ZERO + self.began.elapsed()) {
            return Ok(());
        }
        count(&worker.counters.http2_floods);
        Err(io::Error::new(io::ErrorKind::InvalidData, "more frames without contents than any honest client sends"))
    }
}

impl Io {
    /// To a client.
    pub(super) fn served(worker: &Rc<Worker>, wire: Wire) -> Io {
        let watch = Watch { flood: Flood::new(Time::ZERO), began: Instant::now() };
        Io { line: Rc::new(Line::new(wire.stream)), before: wire.pending, worker: worker.clone(), watch: Some(watch) }
    }

    /// To a backend.
    pub(super) fn asked(worker: &Rc<Worker>, stream: Stream) -> Io {
        Io { line: Rc::new(Line::new(stream)), before: Vec::new(), worker: worker.clone(), watch: None }
    }

    pub(super) fn line(&self) -> Rc<Line> {
        self.line.clone()
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Io { line, before, worker, watch } = self.get_mut();
        let stream = &line.stream;
        let room = buffer.remaining();
        let mut received = |bytes: &[u8]| {
            buffer.put_slice(bytes);
            watch.as_mut().map_or(Ok(()), |watch| watch.received(bytes, worker))
        };
        if before.is_empty() {
            // Not at once into the buffer, all of which would have to be written over first.
            return stream.poll_come(context, || stream.copied(&worker.scratch, room, &mut received)?);
        }
        let rest = before.split_off(before.len().min(room));
        Poll::Ready(received(&std::mem::replace(before, rest)))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.line.behind.get() >= TOGETHER_BYTES {
            ready!(this.line.poll_flush())?;
        }
        let count = ready!(this.line.stream.poll_write_vectored(pieces))?;
        this.line.behind.set(this.line.behind.get() + count);
        if let Some(watch) = &mut this.watch {
            let mut left = count;
            for piece in pieces {
                let sent = left.min(piece.len());
                watch.flood.sent(&piece[..sent]);
                left -= sent;
            }
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.line.waits.get() { Poll::Ready(Ok(())) } else { self.line.poll_flush() }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.line.poll_flush())?;
        self.line.stream.finish();
        Poll::Ready(Ok(()))
    }
}
