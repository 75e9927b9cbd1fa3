//! A connection as the `h2` crate wants it: polled, and watched for floods.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use mainstay_machines::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flood::Flood;
use crate::counters::{Counters, count};
use crate::stream::Stream;

/// A connection.
pub(super) struct Io {
    stream: Stream,
    /// Read before it was known to be HTTP/2.
    before: Vec<u8>,
    /// `None` where the other end is a backend of ours.
    watch: Option<Watch>,
}

pub(super) struct Watch {
    flood: Flood,
    began: Instant,
    counters: Arc<Counters>,
}

impl Watch {
    pub(super) fn new(counters: Arc<Counters>) -> Watch {
        Watch { flood: Flood::new(Time::ZERO), began: Instant::now(), counters }
    }

    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.flood.received(bytes, Time::ZERO + self.began.elapsed()) {
            return Ok(());
        }
        count(&self.counters.http2_floods);
        Err(io::Error::new(io::ErrorKind::InvalidData, "more frames without contents than any honest client sends"))
    }
}

impl Io {
    pub(super) fn new(stream: Stream, before: Vec<u8>, watch: Option<Watch>) -> Io {
        Io { stream, before, watch }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buffer.initialize_unfilled();
        let count = if this.before.is_empty() {
            ready!(this.stream.poll_read(context, room))?
        } else {
            let count = this.before.len().min(room.len());
            room[..count].copy_from_slice(&this.before[..count]);
            this.before.drain(..count);
            count
        };
        if let Some(watch) = &mut this.watch {
            watch.received(&room[..count])?;
        }
        buffer.advance(count);
        Poll::Ready(Ok(()))
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
        let count = ready!(this.stream.poll_write_vectored(pieces))?;
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
        self.stream.poll_flush()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.finish();
        Poll::Ready(Ok(()))
    }
}
