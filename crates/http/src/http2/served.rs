//! A stream that a client opened: to the engine a connection of HTTP/1.1 with one request.

use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;

use super::inbound::{Inbound, gone};
use super::outbound::{self, Outbound};
use super::{WRITTEN, head};
use crate::codec::{Body, Framing, Response, ResponseContext};
use crate::patience::within;

/// The stream.
#[derive(Debug)]
pub(crate) struct Served {
    inbound: RefCell<Inbound>,
    respond: RefCell<SendResponse<Bytes>>,
    /// The answer's head as far as it was written.
    head: RefCell<Vec<u8>>,
    outbound: OnceCell<Outbound>,
    /// The request is HEAD.
    head_only: bool,
    pub(crate) proto: &'static str,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(outbound) = self.outbound.get() {
            outbound.break_off();
        }
    }
}

impl Served {
    /// `chunked`: the request's body has no length that was said.
    pub(super) fn new(
        receive: RecvStream,
        chunked: bool,
        respond: SendResponse<Bytes>,
        head_only: bool,
        proto: &'static str,
    ) -> Served {
        Served {
            inbound: RefCell::new(Inbound::new(Some(receive), chunked, Vec::new())),
            respond: RefCell::new(respond),
            head: RefCell::default(),
            outbound: OnceCell::new(),
            head_only,
            proto,
        }
    }

    /// The length that its body has by what was said.
    pub(super) fn of_length(self, length: Option<u64>) -> Served {
        self.inbound.borrow_mut().left = length;
        self
    }

    /// Waits until the client has ended the request, if all of it is there. Many say the end in a frame of its own, behind
    /// the body: whoever is answered and reset before may take that for a failure.
    pub(super) async fn ended(&self, deadline: Duration) {
        let _ = within(deadline, poll_fn(|context| self.inbound.borrow_mut().poll_end(context))).await;
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inbound.borrow_mut().read(buffer)
    }

    /// Whether there is something to read: the body, or that the client has gone.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inbound = self.inbound.borrow_mut();
        let filled = inbound.poll(context)?;
        if filled.is_pending() || !inbound.ready.is_empty() {
            return filled.map(Ok);
        }
        let reset = match self.outbound.get() {
            Some(outbound) => outbound.poll_reset(context),
            None => self.respond.borrow_mut().poll_reset(context).map(|_| ()),
        };
        inbound.over = reset.is_ready();
        reset.map(Ok)
    }

    /// Writes a part of the answer.
    pub(crate) async fn write(&self, bytes: &[u8], deadline: Duration) -> io::Result<()> {
        outbound::write(&self.outbound, bytes, deadline, |bytes| self.begin(bytes)).await
    }

    /// Sends the heads that are whole, interim ones first; what is left belongs to the body.
    fn begin(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut head = self.head.borrow_mut();
        head.extend_from_slice(bytes);
        let mut response = Response::default();
        let context = ResponseContext { head: self.head_only, upgrade: false };
        loop {
            let read = response.read(&head, &WRITTEN, context);
            let Some(length) = read.map_err(|refusal| io::Error::other(refusal.to_string()))? else {
                return Ok(Vec::new());
            };
            head.drain(..length);
            let answer = head::response(&response).ok_or(io::ErrorKind::InvalidData)?;
            let mut respond = self.respond.borrow_mut();
            if response.is_interim() {
                respond.send_informational(answer).map_err(gone)?;
                continue;
            }
            let over = matches!(response.framing, Framing::None | Framing::Length(0));
            let send = respond.send_response(answer, over).map_err(gone)?;
            if !over {
                let _ = self.outbound.set(Outbound::new(send, Body::new(response.framing)));
            }
            return Ok(std::mem::take(&mut head));
        }
    }
}
