//! A stream to a backend that speaks HTTP/2: to the engine a connection of HTTP/1.1 with one request.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};

use super::inbound::{Inbound, gone};
use super::io::Io;
use super::outbound::{self, Outbound};
use super::{SEND_BYTES_MAX, STREAM_WINDOW_BYTES, WRITTEN, head};
use crate::codec::{Body, Framing, Method, Request};
use crate::event_loop::spawn;
use crate::patience::within;
use crate::stream::{Address, Stream};
use crate::worker::Worker;

/// What a backend may send of all answers together before their visitors have taken it. Much more than one stream's, since
/// visitors share the connection: those that do not read must not hold up the others. A thousand of them have to stand still
/// before that happens, each with no more than its stream's window.
const BACKEND_WINDOW_BYTES: u32 = 1024 * STREAM_WINDOW_BYTES;

/// A thread's connections to backends; streams share them.
pub(crate) type Peers = RefCell<HashMap<Arc<Address>, SendRequest<Bytes>>>;

/// A stream to `address`, on the connection that is there or a new one.
pub(crate) async fn connect(worker: &Rc<Worker>, address: &Arc<Address>, deadline: Duration) -> io::Result<Stream> {
    let peers = &worker.peers;
    let known = peers.borrow().get(address).cloned();
    if let Some(sender) = known {
        if let Ok(sender) = ready(sender, deadline).await {
            return Ok(Asked::stream(sender));
        }
        peers.borrow_mut().remove(address);
    }
    let stream = Stream::reach(address, true, deadline).await?;
    let shaking = builder().handshake::<_, Bytes>(Io::asked(worker, stream));
    let (sender, connection) = within(deadline, Box::pin(async { shaking.await.map_err(gone) })).await?;
    spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a backend by HTTP/2 ended");
        }
    });
    peers.borrow_mut().insert(address.clone(), sender.clone());
    Ok(Asked::stream(ready(sender, deadline).await?))
}

fn builder() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(BACKEND_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BYTES_MAX)
        .max_header_list_size(u32::from(WRITTEN.size_bytes_max));
    builder
}

/// Waits until the backend takes another stream.
async fn ready(mut sender: SendRequest<Bytes>, deadline: Duration) -> io::Result<SendRequest<Bytes>> {
    within(deadline, poll_fn(|context| sender.poll_ready(context).map_err(gone))).await?;
    Ok(sender)
}

/// The stream.
pub(crate) struct Asked {
    sender: RefCell<SendRequest<Bytes>>,
    /// The request's head as far as it was written.
    head: RefCell<Vec<u8>>,
    outbound: OnceCell<Outbound>,
    answer: RefCell<Answer>,
}

/// What came back.
enum Answer {
    /// Nothing was asked yet.
    Unasked,
    /// Nothing yet.
    Waits { response: ResponseFuture, head_only: bool },
    /// A head, and what follows it.
    Comes(Inbound),
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked(…)")
    }
}

impl Asked {
    fn stream(sender: SendRequest<Bytes>) -> Stream {
        Stream::Asked(Box::new(Asked {
            sender: RefCell::new(sender),
            head: RefCell::default(),
            outbound: OnceCell::new(),
            answer: RefCell::new(Answer::Unasked),
        }))
    }

    /// Writes a part of the request.
    pub(crate) async fn write(&self, bytes: &[u8], deadline: Duration) -> io::Result<()> {
        outbound::write(&self.outbound, bytes, deadline, |bytes| self.begin(bytes)).await
    }

    /// Sends the head once it is whole; what is left belongs to the body.
    fn begin(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut head = self.head.borrow_mut();
        head.extend_from_slice(bytes);
        let mut request = Request::default();
        let read = request.read(&head, &WRITTEN).map_err(|refusal| io::Error::other(refusal.to_string()))?;
        let Some(length) = read else { return Ok(Vec::new()) };
        head.drain(..length);
        let asked = head::request(&request).ok_or(io::ErrorKind::InvalidData)?;
        let over = matches!(request.framing, Framing::None | Framing::Length(0));
        let (response, send) = self.sender.borrow_mut().send_request(asked, over).map_err(gone)?;
        self.answer.replace(Answer::Waits { response, head_only: request.method == Method::Head });
        if !over {
            let _ = self.outbound.set(Outbound::new(send, Body::new(request.framing)));
        }
        Ok(std::mem::take(&mut head))
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut *self.answer.borrow_mut() {
            Answer::Comes(inbound) => inbound.read(buffer),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Whether there is something to read.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut answer = self.answer.borrow_mut();
        if let Answer::Waits { response, head_only } = &mut *answer {
            let (parts, receive) = ready!(std::pin::Pin::new(response).poll(context)).map_err(gone)?.into_parts();
            let mut bytes = Vec::with_capacity(512);
            let chunked = head::write_response(&parts, !receive.is_end_stream(), *head_only, &mut bytes);
            let mut inbound = Inbound::new(Some(receive), chunked, bytes);
            inbound.answers = true;
            *answer = Answer::Comes(inbound);
        }
        let Answer::Comes(inbound) = &mut *answer else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        ready!(inbound.poll(context))?;
        inbound.over = inbound.ready.is_empty();
        Poll::Ready(Ok(()))
    }
}
