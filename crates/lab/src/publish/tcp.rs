//! Streams: each to one of the front servers, half-closed as its ends do it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval, timeout};

use super::Publication;

/// Connections through one published port at a time; more wait in the listener's queue. Each takes two descriptors,
/// of the 4,096 that a process may have by default (the usual hard limit).
const CONNECTIONS_MAX: usize = 1_000;

/// How long one front server may take to accept before the next is tried: a retransmitted SYN (after 1 s) gets through.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// A connection on which nothing went either way for so long is cut, so that forgotten ones do not use up the bound.
/// Longer than any idle limit of the tiers behind.
const IDLE_MAX: Duration = Duration::from_secs(900);

/// One read: 16 KiB is a TLS record, and a thousand connections with two of them stay at 32 MB.
const BUFFER_BYTES: usize = 16 << 10;

/// How long to wait after an accept that failed for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);

pub async fn relay(publication: Publication, listener: std::net::TcpListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, what = publication.what, "the published port cannot be served"),
    };
    let (targets, turn) = (publication.targets, Arc::new(AtomicUsize::new(0)));
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&free).acquire_owned().await {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        let (targets, first) = (targets.now(), turn.fetch_add(1, Relaxed));
        tokio::spawn(async move {
            carry(client, &targets, first).await;
            drop(place);
        });
    }
}

async fn carry(client: TcpStream, targets: &[SocketAddr], first: usize) {
    match reach(targets, first).await {
        Ok(server) => both_ways(client, server).await,
        Err(error) => {
            tracing::debug!(%error, "no front server takes the connection");
            // Refused rather than ended: a browser then says so instead of showing an empty answer.
            let _ = client.set_zero_linger();
        }
    }
}

/// Connects to the front server whose turn it is, or to the next that takes it.
async fn reach(targets: &[SocketAddr], first: usize) -> io::Result<TcpStream> {
    let mut last = io::Error::other("nothing to relay to");
    for step in 0..targets.len() {
        let target = targets[(first.wrapping_add(step)) % targets.len()];
        match timeout(CONNECT_WITHIN, TcpStream::connect(target)).await {
            Ok(Ok(server)) => return Ok(server),
            Ok(Err(error)) => last = error,
            Err(late) => last = late.into(),
        }
    }
    Err(last)
}

async fn both_ways(mut client: TcpStream, mut server: TcpStream) {
    // Small writes are passed on as they come; both ends are local.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let moved = AtomicUsize::new(0);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let ended = tokio::select! {
        ended = async { tokio::try_join!(pump(from_client, to_server, &moved), pump(from_server, to_client, &moved)) } => ended,
        () = idle(&moved) => Err(io::ErrorKind::TimedOut.into()),
    };
    if ended.is_err() {
        // One side broke off: the other learns it as it was, not as an orderly end.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Copies until the end, then passes the end on while the other way goes on.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, moved: &AtomicUsize) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.shutdown().await,
            read => to.write_all(&buffer[..read]).await?,
        }
        moved.fetch_add(1, Relaxed);
    }
}

/// Returns when nothing has moved for [`IDLE_MAX`].
async fn idle(moved: &AtomicUsize) {
    let (mut before, mut since) = (moved.load(Relaxed), Instant::now());
    let mut clock = interval(IDLE_MAX / 10);
    while since.elapsed() < IDLE_MAX {
        clock.tick().await;
        let now = moved.load(Relaxed);
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
}
