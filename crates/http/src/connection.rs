//! A client's connection: one request after the other.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::Entry;
use crate::codec::{Refusal, Request};
use crate::config::{Config, Logged};
use crate::exchange::{CLIENT_GONE, Outcome, Stages, Trip};
use crate::guard;
use crate::http2::{self, PREFACE};
use crate::page::{self, Page};
use crate::stream::Stream;
use crate::trace::Trace;
use crate::wire::{Wire, fill, fill_idly};
use crate::worker::Worker;

/// Paths below it are answered by whoever receives them, never passed on.
const OWN: &str = "/.mainstay/";
/// Whether this tier can do its work.
const HEALTH: &str = "health";

/// Why no further request comes.
enum End {
    /// The client closed, fell silent between requests, or the engine ends.
    Quiet,
    /// What came is refused.
    Refused(Refusal),
    /// The client speaks HTTP/2 without having asked (RFC 9113 § 3.3).
    Http2,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(worker: &Rc<Worker>, mut wire: Wire, client: String) {
    let mut first = true;
    loop {
        let (config, request) = match next(worker, &mut wire, std::mem::take(&mut first)).await {
            Ok(next) => next,
            Err(End::Http2) => return Box::pin(http2::serve(worker, wire, client)).await,
            Err(End::Quiet) => return,
            Err(End::Refused(refusal)) => return refuse(worker, &mut wire, refusal, &client).await,
        };
        // In a box of its own: a connection that waits for its next request holds none of what answering one takes.
        let goes_on = boxed(|| answer(worker, &config, &mut wire, &request, &client)).await;
        let was_last = request.is_last();
        worker.requests.give(request);
        if !goes_on {
            // Who said that nothing follows is not waited for.
            let is_over = was_last && wire.pending.is_empty() && wire.stream.is_plain() && wire.stream.seems_quiet();
            return if is_over { wire.stream.finish() } else { close(&mut wire, worker).await };
        }
    }
}

/// A future in a box of its own, made where it stays: `Box::pin` makes it on the stack and copies it, which for those of a request
/// are three kilobytes each time.
#[inline(always)]
pub(crate) fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// Waits until the next request begins. When the engine ends, whoever asks within a moment is still answered, and told
/// that the connection closes: a client whose request crosses with the end of its connection cannot know whether it was
/// carried out.
async fn begin(worker: &Worker, wire: &mut Wire) -> io::Result<usize> {
    let (idle, last) = worker.config.look(|config| (config.limits.idle_within, config.limits.last_within));
    let _idle = worker.lane.idle();
    match fill_idly(&wire.stream, &mut wire.pending, (&worker.scratch, &worker.buffers), idle).await {
        Err(error) if error.kind() == io::ErrorKind::TimedOut && worker.is_stopping() => {
            fill(&wire.stream, &mut wire.pending, &worker.scratch, last).await
        }
        first => first,
    }
}

/// Waits for the next request head; that, and what the engine follows since it has begun.
async fn next(worker: &Worker, wire: &mut Wire, first: bool) -> Result<(Arc<Config>, Box<Request>), End> {
    if wire.pending.is_empty() && begin(worker, wire).await.is_none_or_zero() {
        return Err(End::Quiet);
    }
    let (config, mut request) = (worker.config.get(), worker.requests.take());
    let limits = &config.limits;
    let mut began = None;
    loop {
        let http2 = first && wire.pending.starts_with(&PREFACE[..PREFACE.len().min(wire.pending.len())]);
        if http2 && wire.pending.len() >= PREFACE.len() {
            return Err(End::Http2);
        }
        // What may still become the preface is no request until it differs.
        if !http2 && let Some(length) = request.read(&wire.pending, &limits.head).map_err(End::Refused)? {
            worker.buffers.used(&mut wire.pending, length);
            return Ok((config, request));
        }
        let left = limits.head_within.saturating_sub(began.get_or_insert_with(Instant::now).elapsed());
        match fill(&wire.stream, &mut wire.pending, &worker.scratch, left).await {
            Ok(0) => return Err(End::Quiet),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(End::Refused(Refusal::HeadTimeout)),
            Err(_) => return Err(End::Quiet),
        }
    }
}

/// Reading that brought nothing.
trait Nothing {
    fn is_none_or_zero(&self) -> bool;
}

impl Nothing for io::Result<usize> {
    fn is_none_or_zero(&self) -> bool {
        !matches!(self, Ok(1..))
    }
}

/// Answers one request; whether the connection goes on.
pub(crate) async fn answer(
    worker: &Rc<Worker>,
    config: &Arc<Config>,
    wire: &mut Wire,
    request: &Request,
    client: &str,
) -> bool {
    let (began, _busy) = (Instant::now(), worker.lane.busy());
    let said = if config.front { None } else { request.head.of_kind(crate::codec::Kind::RequestId) };
    let fresh = worker.id();
    let id = said.and_then(|id| std::str::from_utf8(id).ok()).unwrap_or(fresh.as_str());
    let trace = Trace::of(request, &fresh, &worker.ids);
    let stages = Stages::default();
    let trip = Trip {
        worker,
        config,
        request,
        client,
        proto: wire.stream.proto(),
        id,
        trace: &trace,
        began,
        stages: &stages,
        fetch: None,
    };
    if let Some(shown) = trip.observe(wire).await {
        return shown.persists;
    }
    if let Some(own) = request.path().strip_prefix(OWN) {
        let page = own_page(config, own);
        return trip.page(page, wire, 0).await.persists;
    }
    let route = config.route(request.host(), request.path());
    let refusal = guard::refusal(config, &worker.counters, request, client, began);
    let outcome = match (refusal, route) {
        (Some(page), _) => trip.page(page, wire, 0).await,
        _ if let Some(location) = trip.elsewhere() => trip.sent_on(&location, wire).await,
        (None, Some(route)) => match trip.file(route, wire).await {
            Some(outcome) => outcome,
            None => trip.ask(route, wire).await,
        },
        (None, None) => trip.page(page::NOT_FOUND, wire, 0).await,
    };
    if outcome.status != CLIENT_GONE {
        worker.lane.status(outcome.status);
    }
    let backend = outcome.backend.and_then(|index| route?.pool.backends().nth(index)).map_or("", |(name, _)| name);
    let took = began.elapsed();
    worker.lane.answered(took, outcome.bytes);
    let version = match request.old {
        true => "1.0",
        false => wire.stream.version(),
    };
    log(worker, &trip, &outcome, backend, took, version);
    outcome.persists
}

fn own_page(config: &Config, own: &str) -> Page {
    match own {
        HEALTH if config.is_well() => Page { status: 200, says: "ok", retry_after: None },
        HEALTH => page::UNAVAILABLE,
        _ => page::NOT_FOUND,
    }
}

fn log(worker: &Worker, trip: &Trip<'_>, outcome: &Outcome, backend: &str, took: Duration, version: &'static str) {
    if trip.config.logged == Logged::Failed && outcome.status < 500 && outcome.tries < 2 {
        return;
    }
    let entry = Entry {
        client: trip.client,
        id: trip.id,
        request: trip.request,
        version,
        status: outcome.status,
        bytes: outcome.bytes,
        trace: trip.trace.id(),
        stages: trip.stages,
        took,
        backend,
        tries: outcome.tries,
    };
    worker.log.log(&entry, trip.config.log);
}

/// Answers what could not be read as a request, and closes.
pub(crate) async fn refuse(worker: &Worker, wire: &mut Wire, refusal: Refusal, client: &str) {
    worker.counters.refused(refusal);
    worker.lane.status(refusal.status());
    tracing::debug!(client, refusal = refusal.name(), "a request was refused");
    let mut out = Vec::new();
    Page::refusal(refusal.status()).write(None, worker.id().as_str(), false, &mut out);
    let within = worker.config.look(|config| config.limits.progress_within);
    if wire.stream.write(&out, within).await.is_ok() {
        close(wire, worker).await;
    }
}

/// Tells a client that it has too many connections, and closes.
pub(crate) async fn turn_away(worker: Rc<Worker>, stream: Stream) {
    let mut out = Vec::new();
    guard::CROWDED.write(None, worker.id().as_str(), false, &mut out);
    let mut wire = Wire::new(stream);
    if wire.stream.write(&out, LINGER).await.is_ok() {
        close(&mut wire, &worker).await;
    }
}

/// How long an answer that closes a connection has to arrive: long enough for a round trip around the world, short enough not
/// to be a way to hold connections.
const LINGER: Duration = Duration::from_millis(500);

/// Closes so that the last answer arrives: what the client still sends is read for a moment, since closing with unread
/// bytes makes the kernel send a reset that can overtake the answer (RFC 9112 § 9.6).
pub(crate) async fn close(wire: &mut Wire, worker: &Worker) {
    wire.stream.finish();
    let began = Instant::now();
    while began.elapsed() < LINGER {
        wire.pending.clear();
        if fill(&wire.stream, &mut wire.pending, &worker.scratch, LINGER).await.is_none_or_zero() {
            return;
        }
    }
}
