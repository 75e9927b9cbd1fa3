//! HTTP/2 (RFC 9113) by the crate `h2`, at the engine's edges: each stream is translated into a connection of HTTP/1.1 with
//! one request, so that files, cache, pools and limits are the same for both, and so is what is refused.

mod asked;
mod flood;
mod head;
mod inbound;
mod io;
mod outbound;
mod served;
mod windows;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Connection, SendResponse};

use crate::codec::{HEADERS_CEILING, HeadLimits, Refusal, Request};
use crate::config::Config;
use crate::connection::{answer, boxed, close, refuse};
use crate::counters::count;
use crate::event_loop::spawn;
use crate::guard::survive;
use crate::patience::{pause, within};
use crate::stream::Stream;
use crate::wire::{Ends, Wire};
use crate::worker::Worker;

pub(crate) use asked::{Asked, Peers, connect};
pub(crate) use flood::PREFACE;
pub(crate) use served::Served;
pub(crate) use windows::Wide;

use io::{Io, Line};
use windows::Windows;

/// Streams of a connection at a time, as nginx and HAProxy: 128 and 100; browsers open a hundred.
const STREAMS_MAX: u32 = 128;
/// What a client may send of one body before we have taken it, unless that is large ([`windows`]): 64 KiB, RFC 9113's own default.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// And of all bodies of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// What may wait to be sent on one stream: about as much as a socket takes.
const SEND_BYTES_MAX: usize = 128 * 1024;
/// Streams that a client has opened and cancelled and that are not looked at yet. Beyond that it is a rapid reset
/// (CVE-2023-44487), and the connection ends.
const RESETS_MAX: usize = 32;
/// For a client to say that its request is over, when all of it is there: it does so at once, and the rest is the way.
const END_WITHIN: Duration = Duration::from_secs(5);
/// For heads that the engine writes: what is in them has been through its limits already.
const WRITTEN: HeadLimits =
    HeadLimits { size_bytes_max: u16::MAX, line_bytes_max: u16::MAX, headers_max: HEADERS_CEILING };

/// Serves a connection until it ends.
pub(crate) async fn serve(worker: &Rc<Worker>, wire: Wire, client: String) {
    let peer = Peer { worker: worker.clone(), client, ends: wire.ends().cloned(), proto: wire.stream.proto() };
    wire.stream.keeps_little_unsent();
    // In boxes of their own: what greeting takes need not be held for the connection's life, nor the connection moved.
    let Some((connection, line)) = boxed(|| greeted(worker, wire)).await else { return };
    drive(connection, &line, &Rc::new(peer)).await;
}

/// A connection whose client has said that it speaks HTTP/2.
async fn greeted(worker: &Rc<Worker>, wire: Wire) -> Option<(Box<Connection<Io, Bytes>>, Rc<Line>)> {
    let config = worker.config.get();
    let io = Io::served(worker, wire);
    let line = io.line();
    let shaking = builder(&config).handshake::<_, Bytes>(io);
    let shaking = pin!(async { shaking.await.map(Box::new).map_err(std::io::Error::other) });
    let connection = within(config.limits.head_within, shaking).await.ok()?;
    count(&worker.counters.http2_connections);
    Some((connection, line))
}

fn builder(config: &Config) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BYTES_MAX)
        .max_header_list_size(u32::from(config.limits.head.size_bytes_max))
        .max_concurrent_reset_streams(RESETS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX);
    builder
}

/// Who is at the other end.
struct Peer {
    worker: Rc<Worker>,
    client: String,
    ends: Option<Rc<Ends>>,
    proto: &'static str,
}

/// Accepts streams until the client goes, is idle for too long or the engine ends; then those that are open come to
/// their end (GOAWAY, RFC 9113 § 6.8).
async fn drive(mut connection: Box<Connection<Io, Bytes>>, line: &Line, peer: &Rc<Peer>) {
    let (mut stop, idle_within) =
        (peer.worker.stop.clone(), peer.worker.config.look(|config| config.limits.idle_within));
    let (mut ending, mut busy, mut windows) = (*stop.borrow(), Instant::now(), Windows::default());
    if ending {
        connection.graceful_shutdown();
    }
    line.waits();
    loop {
        let accepting = poll_fn(|context| match connection.poll_accept(context) {
            Poll::Pending => match line.poll_flush() {
                Poll::Ready(Err(_)) => Poll::Ready(None),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            },
            accepted => accepted,
        });
        tokio::select! {
            biased;
            accepted = accepting => match accepted {
                Some(Ok((request, respond))) => {
                    busy = Instant::now();
                    windows.asked(&request);
                    open(peer, request, respond);
                    windows.set(&mut connection, &peer.worker.wide);
                }
                Some(Err(_)) | None => return,
            },
            _ = stop.wait_for(|stop| *stop), if !ending => {
                ending = true;
                connection.graceful_shutdown();
            }
            () = pause(windows.within()), if !ending => {
                windows.set(&mut connection, &peer.worker.wide);
                if connection.has_streams() {
                    busy = Instant::now();
                }
                if busy.elapsed() > idle_within {
                    ending = true;
                    connection.graceful_shutdown();
                }
            }
        }
    }
}

fn open(peer: &Rc<Peer>, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
    let peer = peer.clone();
    spawn(async move {
        let client = peer.client.clone();
        survive(&peer.worker.counters, &client, pin!(one(&peer, request, respond))).await;
    });
}

/// Bytes of a body, as its head says.
fn length(headers: &http::HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Answers one request.
async fn one(peer: &Peer, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
    let config: Arc<Config> = peer.worker.config.get();
    let (parts, receive) = request.into_parts();
    let (body, head_only) = (!receive.is_end_stream(), parts.method == http::Method::HEAD);
    let chunked = body && !parts.headers.contains_key(http::header::CONTENT_LENGTH);
    let served = Served::new(receive, chunked, respond, head_only, peer.proto);
    let served = served.of_length(length(&parts.headers));
    let mut wire = Wire::between(peer.ends.clone(), Stream::Http2(Box::new(served)));
    let (mut bytes, mut request) = (Vec::with_capacity(512), Request::default());
    let read = head::write_request(&parts, body, &mut bytes).and_then(|()| request.read(&bytes, &config.limits.head));
    match read {
        Ok(Some(length)) if length == bytes.len() => {
            // A body that nobody wanted is read for a moment all the same: some clients take the reset that would follow an early
            // answer (RFC 9113 § 8.1) for a failure, curl 7.88 among them.
            if !answer(&peer.worker, &config, &mut wire, &request, &peer.client).await && body {
                close(&mut wire, &peer.worker).await;
            }
        }
        Ok(_) => refuse(&peer.worker, &mut wire, Refusal::RequestLineInvalid, &peer.client).await,
        Err(refusal) => refuse(&peer.worker, &mut wire, refusal, &peer.client).await,
    }
    if let Stream::Http2(served) = &wire.stream {
        served.ended(END_WITHIN).await;
    }
}
