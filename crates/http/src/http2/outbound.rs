//! What the engine writes as HTTP/1.1, sent on a stream.

use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::head::trailers;
use super::inbound::gone;
use crate::codec::Body;
use crate::patience::within;

/// Writes the next bytes of a message: to `begin`, which makes the body once the head is whole and gives back what belongs
/// to it, then to that.
pub(super) async fn write(
    body: &OnceCell<Outbound>,
    bytes: &[u8],
    deadline: Duration,
    begin: impl FnOnce(&[u8]) -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    if let Some(body) = body.get() {
        return body.write(bytes, deadline).await;
    }
    let rest = begin(bytes)?;
    match body.get() {
        Some(body) if !rest.is_empty() => body.write(&rest, deadline).await,
        _ => Ok(()),
    }
}

/// A body on its way out.
#[derive(Debug)]
pub(super) struct Outbound {
    send: RefCell<SendStream<Bytes>>,
    body: RefCell<Body>,
    trailer: RefCell<Vec<u8>>,
}

impl Outbound {
    pub(super) fn new(send: SendStream<Bytes>, body: Body) -> Outbound {
        Outbound { send: RefCell::new(send), body: RefCell::new(body), trailer: RefCell::default() }
    }

    /// Sends the next bytes of the body, with their framing of HTTP/1.1; each wait for room at most `deadline`.
    pub(super) async fn write(&self, bytes: &[u8], deadline: Duration) -> io::Result<()> {
        let mut data = Vec::with_capacity(bytes.len());
        let taken = self.body.borrow_mut().decode_with(
            bytes,
            |piece| data.extend_from_slice(piece),
            |piece| self.trailer.borrow_mut().extend_from_slice(piece),
        );
        taken.map_err(|refusal| io::Error::other(refusal.to_string()))?;
        let (over, trailer) =
            (self.body.borrow().is_done(), !self.trailer.borrow().iter().all(u8::is_ascii_whitespace));
        self.send(data.into(), over && !trailer, deadline).await?;
        if over && trailer {
            let lines = self.trailer.take();
            self.send.borrow_mut().send_trailers(trailers(&lines)).map_err(gone)?;
        }
        Ok(())
    }

    async fn send(&self, mut data: Bytes, end: bool, deadline: Duration) -> io::Result<()> {
        while !data.is_empty() {
            self.send.borrow_mut().reserve_capacity(data.len());
            let room = poll_fn(|context| {
                let room = self.send.borrow_mut().poll_capacity(context);
                room.map(|room| room.transpose().map_err(gone))
            });
            let room = within(deadline, room).await?;
            let room = room.ok_or(io::ErrorKind::BrokenPipe)?.min(data.len());
            let piece = data.split_to(room);
            let last = end && data.is_empty();
            self.send.borrow_mut().send_data(piece, last).map_err(gone)?;
            if last {
                return Ok(());
            }
        }
        if end {
            self.send.borrow_mut().send_data(Bytes::new(), true).map_err(gone)?;
        }
        Ok(())
    }

    /// Says that what is missing will not come. Without a word `h2` would say CANCEL, which gRPC takes for the caller's wish.
    pub(super) fn break_off(&self) {
        if !self.body.borrow().is_done() {
            self.send.borrow_mut().send_reset(Reason::INTERNAL_ERROR);
        }
    }

    /// Ready when the other end wants no more of it.
    pub(super) fn poll_reset(&self, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.send.borrow_mut().poll_reset(context).map(|_| ())
    }
}
