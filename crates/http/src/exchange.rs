//! A request's trip to a backend and back.
//!
//! Both directions run at once: a backend may answer before it has read the whole body, and a client that goes away
//! while it waits frees its backend. Bodies pass through in pieces and are never held whole.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::time::Instant;

use crate::codec::{Body, Forwarding, Framing, Refusal, Request, Response, ResponseContext};
use crate::config::{Config, Limits};
use crate::counters::count;
use crate::page::{self, Page};
use crate::pool::{Lease, Pool};
use crate::stream::Stream;
use crate::wire::{Wire, fill, read};
use crate::worker::Worker;

/// Interim responses that one request may get: a few 103s are usual, more are a loop.
const INTERIM_MAX: u32 = 16;

/// Where a request stands when its connection is looked at again.
pub(crate) struct Outcome {
    /// What the client was told; 499, nginx's word for it, if it went away before.
    pub(crate) status: u16,
    /// Bytes of the answer's body that were sent.
    pub(crate) bytes: u64,
    /// The client's connection may carry another request.
    pub(crate) persists: bool,
    /// Index of the backend that answered.
    pub(crate) backend: Option<usize>,
    /// At how many backends it was tried.
    pub(crate) tries: u32,
}

/// A client that went away before it was answered, in nginx's log.
pub(crate) const CLIENT_GONE: u16 = 499;

/// A request and all that it needs on its way.
pub(crate) struct Trip<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) config: &'a Config,
    pub(crate) request: &'a Request,
    pub(crate) client: &'a str,
    pub(crate) id: &'a str,
}

/// How one attempt ended.
enum Attempt {
    /// The client has its answer, or a part of it.
    Answered { status: u16, bytes: u64, persists: bool },
    /// The client went away.
    ClientGone,
    /// The client's body is not acceptable; nothing was answered yet.
    ClientWrong(Refusal),
    /// No byte of an answer came. `again`: it is safe to try elsewhere.
    Failed { page: Page, again: bool },
}

/// How the answer's direction ended.
enum Download {
    Complete {
        bytes: u64,
        persists: bool,
    },
    /// Cut off after it had begun.
    Truncated {
        bytes: u64,
    },
    ClientGone,
    /// Nothing came.
    Nothing {
        late: bool,
    },
    /// What came is no proper response.
    Wrong(Refusal),
}

/// How the request's direction ended.
enum Upload {
    ClientGone,
    ClientWrong(Refusal),
    /// The backend takes no more; it may have answered all the same.
    BackendGone,
}

impl Trip<'_> {
    fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Asks the pool until somebody answers, and passes the answer on. An answer of our own is written as well.
    pub(crate) async fn run(&self, pool: &std::sync::Arc<Pool>, wire: &mut Wire) -> Outcome {
        let mut tried = Vec::new();
        loop {
            let Ok(lease) = pool.lease(&tried, self.limits().hold_within).await else {
                return self.page(page::UNAVAILABLE, wire, tried.len()).await;
            };
            let backend = lease.backend;
            let attempt = self.attempt(&lease, wire).await;
            tried.push(backend);
            let tries = tried.len() as u32;
            match attempt {
                Attempt::Failed { again: true, .. } if tries < self.limits().tries_max => {
                    lease.failed();
                    count(&self.worker.counters.retries);
                }
                Attempt::Failed { page, .. } => {
                    lease.failed();
                    return self.page(page, wire, tried.len()).await;
                }
                Attempt::ClientGone => {
                    count(&self.worker.counters.client_aborts);
                    let (status, backend) = (CLIENT_GONE, Some(backend));
                    return Outcome { status, bytes: 0, persists: false, backend, tries };
                }
                Attempt::ClientWrong(refusal) => {
                    self.worker.counters.refused(refusal);
                    return self.page(Page::refusal(refusal.status()), wire, tried.len()).await;
                }
                Attempt::Answered { status, bytes, persists } => {
                    return Outcome { status, bytes, persists, backend: Some(backend), tries };
                }
            }
        }
    }

    /// Writes an answer of our own. The connection goes on only if no body is in the way.
    pub(crate) async fn page(&self, page: Page, wire: &mut Wire, tries: usize) -> Outcome {
        let persists = self.request.persists && self.request.framing == Framing::None && !self.worker.is_stopping();
        let mut out = Vec::new();
        page.write(Some(self.request), self.id, persists, &mut out);
        let written = wire.stream.write(&out, self.limits().progress_within).await.is_ok();
        let (status, bytes) = (page.status, out.len() as u64);
        Outcome { status, bytes, persists: persists && written, backend: None, tries: tries as u32 }
    }

    async fn attempt(&self, lease: &Lease, wire: &mut Wire) -> Attempt {
        let backend = match self.worker.idle.take(lease) {
            Some(stream) => stream,
            None => match Stream::connect(&lease.address, self.limits().connect_within).await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(address = %lease.address, %error, "cannot connect to a backend");
                    return Attempt::Failed { page: page::BAD_GATEWAY, again: true };
                }
            },
        };
        let mut head = Vec::with_capacity(1024);
        self.request.forward(&self.forwarding(), &mut head);
        let body_begun = Cell::new(false);
        // What fails here is seen by the download, which may still find an answer (RFC 9112 § 9.5).
        let _ = backend.write(&head, self.limits().progress_within).await;
        let mut back = Wire::new(backend);
        let mut response = Response::default();
        let ended = self.both_ways(wire, &mut back, &mut response, &body_begun).await;
        self.settle(ended, lease, back, &response, body_begun.get())
    }

    fn forwarding(&self) -> Forwarding<'_> {
        Forwarding {
            front: self.config.front,
            client: self.client,
            proto: "http",
            via: &self.config.via,
            id: self.id,
            host: "localhost",
        }
    }

    /// Runs upload and download until the answer is through or nothing can come any more.
    async fn both_ways(
        &self,
        wire: &mut Wire,
        back: &mut Wire,
        response: &mut Response,
        body_begun: &Cell<bool>,
    ) -> Result<Download, Upload> {
        let uploaded = Cell::new(None);
        let progress = UploadProgress { uploaded: &uploaded, body_begun };
        let mut upload = pin!(self.upload(&wire.stream, &mut wire.pending, &back.stream, progress));
        let mut download = pin!(self.download(&back.stream, &mut back.pending, &wire.stream, response, &uploaded));
        let mut uploading = true;
        loop {
            tokio::select! {
                biased;
                ended = &mut download => return Ok(ended),
                ended = &mut upload, if uploading => match ended {
                    Upload::BackendGone => uploading = false,
                    wrong => return Err(wrong),
                },
            }
        }
    }

    /// What follows from how both directions ended.
    fn settle(
        &self,
        ended: Result<Download, Upload>,
        lease: &Lease,
        back: Wire,
        response: &Response,
        body_begun: bool,
    ) -> Attempt {
        match ended {
            Ok(Download::Complete { bytes, persists }) => {
                if response.persists && persists && back.pending.is_empty() {
                    self.worker.idle.keep(lease, back.stream);
                }
                Attempt::Answered { status: response.status, bytes, persists }
            }
            Ok(Download::Truncated { bytes }) => {
                lease.failed();
                count(&self.worker.counters.truncated);
                Attempt::Answered { status: response.status, bytes, persists: false }
            }
            Ok(Download::ClientGone) | Err(Upload::ClientGone) => Attempt::ClientGone,
            Err(Upload::ClientWrong(refusal)) => Attempt::ClientWrong(refusal),
            Err(Upload::BackendGone) => Attempt::Failed { page: page::BAD_GATEWAY, again: false },
            Ok(Download::Nothing { late: true }) => Attempt::Failed { page: page::GATEWAY_TIMEOUT, again: false },
            Ok(Download::Nothing { late: false }) => {
                // RFC 9110 § 9.2.2: only what is idempotent may be sent twice, also on a connection that was idle before: a
                // backend that closes it may have read the request.
                let again = self.request.method.is_idempotent() && !body_begun;
                tracing::debug!(address = %lease.address, "a backend closed the connection without an answer");
                Attempt::Failed { page: page::BAD_GATEWAY, again }
            }
            Ok(Download::Wrong(refusal)) => {
                self.worker.counters.refused(refusal);
                tracing::warn!(address = %lease.address, refusal = refusal.name(), "a backend's answer was refused");
                Attempt::Failed { page: page::BAD_GATEWAY, again: false }
            }
        }
    }
}

/// What the upload tells the download and the retry.
#[derive(Clone, Copy)]
struct UploadProgress<'c> {
    /// Since when the whole body is with the backend.
    uploaded: &'c Cell<Option<Instant>>,
    /// Some of it is: the request cannot be sent again.
    body_begun: &'c Cell<bool>,
}

impl Trip<'_> {
    /// Sends the body on, then watches whether the client stays. Returns only if something went wrong.
    async fn upload(
        &self,
        client: &Stream,
        pending: &mut Vec<u8>,
        backend: &Stream,
        progress: UploadProgress<'_>,
    ) -> Upload {
        if let Err(wrong) = self.send_body(client, pending, backend, progress).await {
            return wrong;
        }
        progress.uploaded.set(Some(Instant::now()));
        // Whoever sends the next request already is still there; more than that is not read ahead.
        while pending.is_empty() {
            match fill(client, pending, &self.worker.scratch, self.limits().answer_within).await {
                Ok(0) => return Upload::ClientGone,
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(_) => return Upload::ClientGone,
            }
        }
        std::future::pending().await
    }

    async fn send_body(
        &self,
        client: &Stream,
        pending: &mut Vec<u8>,
        backend: &Stream,
        progress: UploadProgress<'_>,
    ) -> Result<(), Upload> {
        let mut body = Body::new(self.request.framing);
        let mut left = self.limits().body_bytes_max;
        let mut rest = Vec::new();
        while !body.is_done() {
            progress.body_begun.set(true);
            if pending.is_empty() {
                let within = self.limits().progress_within;
                match fill(client, pending, &self.worker.scratch, within).await {
                    Ok(0) => return Err(Upload::ClientGone),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        return Err(Upload::ClientWrong(Refusal::BodyTimeout));
                    }
                    Err(_) => return Err(Upload::ClientGone),
                }
            }
            let taken = body.advance(pending).map_err(Upload::ClientWrong)?;
            left = left.checked_sub(taken as u64).ok_or(Upload::ClientWrong(Refusal::BodyTooLarge))?;
            rest.clear();
            rest.extend(pending.drain(..taken));
            let sent = backend.write(&rest, self.limits().progress_within).await;
            sent.map_err(|_| Upload::BackendGone)?;
        }
        Ok(())
    }

    /// Reads the answer and passes it on.
    async fn download(
        &self,
        backend: &Stream,
        pending: &mut Vec<u8>,
        client: &Stream,
        response: &mut Response,
        uploaded: &Cell<Option<Instant>>,
    ) -> Download {
        let mut out = Vec::with_capacity(1024);
        for _ in 0..INTERIM_MAX {
            if let Err(ended) = self.response_head(backend, pending, response, uploaded).await {
                return ended;
            }
            out.clear();
            if !response.is_interim() {
                return self.final_answer(backend, pending, client, response, uploaded.get().is_some()).await;
            }
            // An HTTP/1.0 client knows no interim responses (RFC 9110 § 15.2).
            if !self.request.old {
                response.forward(&mut out, false, None);
                if client.write(&out, self.limits().progress_within).await.is_err() {
                    return Download::ClientGone;
                }
            }
        }
        Download::Wrong(Refusal::StatusLineInvalid)
    }

    async fn response_head(
        &self,
        backend: &Stream,
        pending: &mut Vec<u8>,
        response: &mut Response,
        uploaded: &Cell<Option<Instant>>,
    ) -> Result<(), Download> {
        let context = ResponseContext { head: self.request.method == crate::codec::Method::Head };
        loop {
            match response.read(pending, &self.limits().head, context) {
                Ok(Some(length)) => {
                    pending.drain(..length);
                    return Ok(());
                }
                Ok(None) => {}
                Err(refusal) => return Err(Download::Wrong(refusal)),
            }
            match fill(backend, pending, &self.worker.scratch, self.limits().answer_within).await {
                Ok(0) if pending.is_empty() => return Err(Download::Nothing { late: false }),
                Ok(0) => return Err(Download::Wrong(Refusal::StatusLineInvalid)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut && self.has_time(uploaded.get()) => {}
                Err(error) => return Err(Download::Nothing { late: error.kind() == io::ErrorKind::TimedOut }),
            }
        }
    }

    /// Whether the backend may still take its time, which runs from the end of the request; until then the upload watches
    /// the clock.
    fn has_time(&self, uploaded: Option<Instant>) -> bool {
        uploaded.is_none_or(|end| end.elapsed() < self.limits().answer_within)
    }

    async fn final_answer(
        &self,
        backend: &Stream,
        pending: &mut Vec<u8>,
        client: &Stream,
        response: &Response,
        uploaded: bool,
    ) -> Download {
        let dechunk = self.request.old && response.framing == Framing::Chunked;
        let delimited = response.framing != Framing::Close && !dechunk;
        let persists = self.request.persists && uploaded && delimited && !self.worker.is_stopping();
        let connection = match (persists, self.request.old) {
            (false, _) => Some("close"),
            (true, true) => Some("keep-alive"),
            (true, false) => None,
        };
        let mut out = Vec::with_capacity(1024 + pending.len());
        response.forward(&mut out, dechunk, connection);
        let mut body = Body::new(response.framing);
        let head = out.len();
        // What came together with the head goes out together with it.
        let Ok(taken) = pass(&mut body, pending, dechunk, &mut out) else {
            return Download::Wrong(Refusal::ChunkSizeInvalid);
        };
        pending.drain(..taken);
        if client.write(&out, self.limits().progress_within).await.is_err() {
            return Download::ClientGone;
        }
        let mut bytes = (out.len() - head) as u64;
        while !body.is_done() {
            out.clear();
            let piece = read(backend, &self.worker.scratch, self.limits().progress_within, |input| {
                let taken = pass(&mut body, input, dechunk, &mut out)?;
                pending.extend_from_slice(&input[taken..]);
                Ok::<bool, Refusal>(input.is_empty())
            });
            match piece.await {
                Ok(Ok(true)) if body == Body::Close => return Download::Complete { bytes, persists: false },
                Ok(Ok(false)) => {}
                _ => return Download::Truncated { bytes },
            }
            if client.write(&out, self.limits().progress_within).await.is_err() {
                return Download::ClientGone;
            }
            bytes += out.len() as u64;
        }
        Download::Complete { bytes, persists }
    }
}

/// Passes what belongs to the body from `input` to `out`; how much of `input` that was.
fn pass(body: &mut Body, input: &[u8], dechunk: bool, out: &mut Vec<u8>) -> Result<usize, Refusal> {
    if dechunk {
        return body.decode(input, |data| out.extend_from_slice(data));
    }
    let taken = body.advance(input)?;
    out.extend_from_slice(&input[..taken]);
    Ok(taken)
}
