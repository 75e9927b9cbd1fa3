//! What the other end of a stream sends, as bytes of HTTP/1.1.

use std::io;
use std::task::{Context, Poll, ready};

use h2::{Reason, RecvStream};
use http::HeaderMap;

use super::head::{write_chunk, write_end};

/// A body on its way in.
#[derive(Debug)]
pub(super) struct Inbound {
    receive: Option<RecvStream>,
    /// It has no length that was said beforehand.
    chunked: bool,
    /// Ready to be read.
    pub(super) ready: Vec<u8>,
    taken: usize,
    /// Nothing more will come.
    pub(super) over: bool,
    /// It is an answer: whoever sends one may end the stream with NO_ERROR behind it, since it wants no more of the request
    /// (RFC 9113 § 8.1).
    pub(super) answers: bool,
    /// What is missing of the length that was said.
    pub(super) left: Option<u64>,
}

impl Inbound {
    /// `ready`: what comes before the body.
    pub(super) fn new(receive: Option<RecvStream>, chunked: bool, ready: Vec<u8>) -> Inbound {
        let receive = receive.filter(|receive| !receive.is_end_stream());
        Inbound { receive, chunked, ready, taken: 0, over: false, answers: false, left: None }
    }

    /// `WouldBlock` if nothing is ready; the end if nothing more comes.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.ready[self.taken..];
        if rest.is_empty() {
            return if self.over { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
        }
        Ok(count)
    }

    /// Waits until there is something to read. What has been read makes room at the sender: at most one frame waits here.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ready.is_empty() {
            let Some(receive) = &mut self.receive else { return Poll::Ready(Ok(())) };
            match ready!(receive.poll_data(context)) {
                Some(Err(error)) if self.answers && error.reason() == Some(Reason::NO_ERROR) => self.end(None),
                Some(data) => {
                    let data = data.map_err(gone)?;
                    receive.flow_control().release_capacity(data.len()).map_err(gone)?;
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    match self.chunked {
                        // An empty chunk would be the last.
                        _ if data.is_empty() => {}
                        true => write_chunk(&data, &mut self.ready),
                        false => self.ready.extend_from_slice(&data),
                    }
                }
                None => {
                    let trailers = ready!(receive.poll_trailers(context)).map_err(gone)?;
                    self.end(trailers.as_ref());
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until the sender has said that a body, which is whole by its length, has come to its end.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let (Some(0), Some(receive)) = (self.left, &mut self.receive) {
            match ready!(receive.poll_data(context)) {
                Some(Ok(data)) if data.is_empty() && !receive.is_end_stream() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) {
        self.receive = None;
        if self.chunked {
            write_end(trailers, &mut self.ready);
        }
    }
}

/// What became of a stream, for those who know connections.
pub(super) fn gone(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
