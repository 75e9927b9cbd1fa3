//! A request's trip to a backend and back.
//!
//! Both directions run at once: a backend may answer before it has read the whole body, and a client that goes away
//! while it waits frees its backend. Bodies pass through in pieces; held until they are whole are only answers of the usual
//! size, so that another backend can be asked when one dies within them.

mod answer;
mod cached;
mod choice;
mod coded;
mod fastcgi;
mod fetch;
mod gathered;
mod hedge;
mod http;
mod reach;
mod refresh;
mod script;
mod silence;
mod spliced;
mod stages;
mod tunnel;
mod unheard;

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mainstay_machines::health::Failure;

use crate::codec::{Framing, Refusal, Request};
use crate::config::{Config, Limits, Route, Speaks};
use crate::connection::boxed;
use crate::counters::count;
use crate::page::{self, Page};
use crate::pool::{Lease, Pool, Refused, Wanted};
use crate::spares::LARGE_BYTES;
use crate::stream::Stream;
use crate::trace::Trace;
use crate::wire::{Wire, fill};
use crate::worker::Worker;

use fetch::Fetch;
pub use gathered::Spool;
use silence::Silence;
pub(crate) use stages::{Stages, micros};

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
#[derive(Clone, Copy)]
pub(crate) struct Trip<'a> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) config: &'a Config,
    pub(crate) request: &'a Request,
    pub(crate) client: &'a str,
    /// What the client's connection is: `http` or `https`.
    pub(crate) proto: &'static str,
    pub(crate) id: &'a str,
    pub(crate) trace: &'a Trace,
    /// When its head was there.
    pub(crate) began: Instant,
    pub(crate) stages: &'a Stages,
    /// The cache, if it has sent for the answer.
    pub(crate) fetch: Option<&'a Fetch<'a>>,
}

/// What a backend is given.
enum Given<'r> {
    /// The request as it came.
    Request,
    /// The request, on a stream of HTTP/2.
    Stream,
    /// A script to run.
    Script(&'r fastcgi::Job),
}

/// How one attempt ended.
enum Attempt {
    /// The client has its answer, or a part of it.
    Answered { status: u16, bytes: u64, persists: bool },
    /// The client went away.
    ClientGone,
    /// The client's body is not acceptable; nothing was answered yet.
    ClientWrong(Refusal),
    /// The client has heard nothing of an answer.
    Failed { page: Page, again: Again, because: String },
}

/// Whether a request that failed may be tried elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// It might be carried out twice.
    No,
    /// By the retry budget: somebody has had work with it already.
    Resent,
    /// Nothing of it was sent: that costs no backend anything.
    Unsent,
}

/// How the answer's direction ended.
enum Download {
    Complete {
        status: u16,
        bytes: u64,
        persists: bool,
    },
    /// Cut off after it had begun; `late`: by us, since nothing came for too long.
    Truncated {
        status: u16,
        bytes: u64,
        late: bool,
    },
    ClientGone,
    /// The client was told that the connection is another protocol's now.
    Switched {
        status: u16,
    },
    /// Nothing came.
    Nothing {
        late: bool,
    },
    /// It broke off before the client heard of it.
    Short,
    /// What came is no proper response, for this reason.
    Wrong(String),
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

    fn progress<'l>(&self, lease: &'l Lease) -> Progress<'l> {
        let silence = Silence::of(self.request, self.limits());
        let (uploaded, body_begun, body_refused, persists, told, is_long) = Default::default();
        Progress {
            lease,
            uploaded,
            body_begun,
            body_refused,
            persists,
            told,
            is_long,
            head_bytes: LARGE_BYTES,
            silence,
        }
    }

    /// Has the backends of `route` answer.
    pub(crate) async fn ask(&self, route: &Route, wire: &mut Wire) -> Outcome {
        match &route.speaks {
            Speaks::Http if let Some(cache) = &route.cache => {
                self.cached(cache, (&route.pool, &Given::Request), wire).await
            }
            Speaks::Http2 if let Some(cache) = &route.cache => {
                self.cached(cache, (&route.pool, &Given::Stream), wire).await
            }
            Speaks::Http => self.run(&route.pool, &Given::Request, wire).await,
            Speaks::Http2 => self.run(&route.pool, &Given::Stream, wire).await,
            Speaks::FastCgi(gateway) => boxed(|| self.script(&route.pool, gateway, wire)).await,
        }
    }

    /// Asks the pool until somebody answers, and passes the answer on. An answer of our own is written as well.
    async fn run(&self, pool: &std::sync::Arc<Pool>, given: &Given<'_>, wire: &mut Wire) -> Outcome {
        // Allocates nothing unless an attempt fails.
        let (wanted, mut tried) = (self.wanted(pool), Vec::new());
        loop {
            let wanted = Wanted { tried: &tried, ..wanted };
            let lease = match self.leased(pool, &wanted, given, wire).await {
                None => return Outcome { tries: tried.len() as u32, ..self.client_gone() },
                Some(Ok(lease)) => lease,
                Some(Err(Refused::Moved)) if let Some(next) = pool.successor() => {
                    // Its backends have other numbers there; the log's names are those of `pool`.
                    let outcome = Box::pin(self.run(next, given, wire)).await;
                    let backend = outcome.backend.and_then(|at| pool.numbered(next.backend_name(at)));
                    return Outcome { backend, ..outcome };
                }
                Some(Err(refused)) => {
                    count(&self.worker.counters.unserved);
                    tracing::warn!(pool = pool.name(), id = self.id, "nobody is free to answer: {refused}");
                    return self.given_up(page::UNAVAILABLE, wire, tried.len()).await;
                }
            };
            let (attempt, backend, address) = match given {
                Given::Request | Given::Stream => {
                    let mut lease = lease;
                    let attempt = self.by_http(&mut lease, given, wire).await;
                    let address = matches!(attempt, Attempt::Failed { .. }).then(|| lease.address.clone());
                    (attempt, lease.backend, address)
                }
                Given::Script(job) => {
                    let (backend, address) = (lease.backend, Some(lease.address.clone()));
                    (self.by_fastcgi(lease, job, wire).await, backend, address)
                }
            };
            let address = address.as_deref().map(tracing::field::display);
            let (name, tries) = (pool.backend_name(backend), tried.len() as u32 + 1);
            match attempt {
                Attempt::Failed { again, because, .. }
                    if tries < self.limits().tries_max && self.may_retry(again, pool) =>
                {
                    tried.push(backend);
                    tracing::debug!(backend = name, address, id = self.id, "a request is tried elsewhere: {because}");
                    count(&self.worker.counters.retries);
                }
                Attempt::Failed { page, because, .. } => {
                    tracing::warn!(
                        backend = name,
                        address,
                        id = self.id,
                        path = self.request.path(),
                        "no answer: {because}"
                    );
                    return self.given_up(page, wire, tries as usize).await;
                }
                Attempt::ClientGone => {
                    let (status, backend) = (CLIENT_GONE, Some(backend));
                    return Outcome { status, backend, tries, ..self.client_gone() };
                }
                Attempt::ClientWrong(refusal) => return self.refused(refusal, wire, tries as usize).await,
                Attempt::Answered { status, bytes, persists } => {
                    return Outcome { status, bytes, persists, backend: Some(backend), tries };
                }
            }
        }
    }

    /// Nobody answers: the client gets what the cache has instead, or `page`.
    async fn given_up(&self, page: Page, wire: &mut Wire, tries: usize) -> Outcome {
        match self.is_spared(tries) {
            Some(spared) => spared,
            None => self.page(page, wire, tries).await,
        }
    }

    fn may_retry(&self, again: Again, pool: &Pool) -> bool {
        match again {
            Again::No => false,
            Again::Unsent => true,
            Again::Resent => {
                let may = pool.may_resend();
                if !may {
                    count(&self.worker.counters.retries_denied);
                }
                may
            }
        }
    }

    fn client_gone(&self) -> Outcome {
        count(&self.worker.counters.client_aborts);
        Outcome { status: CLIENT_GONE, bytes: 0, persists: false, backend: None, tries: 0 }
    }

    /// Answers that the client's body is not acceptable.
    async fn refused(&self, refusal: Refusal, wire: &mut Wire, tries: usize) -> Outcome {
        self.worker.counters.refused(refusal);
        self.page(Page::refusal(refusal.status()), wire, tries).await
    }

    /// Writes an answer of our own. The connection goes on only if no body is in the way.
    pub(crate) async fn page(&self, page: Page, wire: &mut Wire, tries: usize) -> Outcome {
        let persists = self.goes_on();
        let mut out = Vec::new();
        page.write(Some(self.request), self.id, persists, &mut out);
        self.secured(&mut out);
        let written = wire.stream.write(&out, self.limits().progress_within).await.is_ok();
        let (status, bytes) = (page.status, out.len() as u64);
        Outcome { status, bytes, persists: persists && written, backend: None, tries: tries as u32 }
    }

    /// What follows from how both directions ended. `resendable`: what the backend got can be sent again.
    fn settled(&self, ended: Result<Download, Upload>, lease: &Lease, resendable: bool) -> Attempt {
        let failed = |failure, page, again, because: &str| {
            lease.failed(failure);
            Attempt::Failed { page, again, because: because.into() }
        };
        let answered = |status, bytes, persists| {
            lease.answered(status);
            lease.passed(bytes);
            Attempt::Answered { status, bytes, persists }
        };
        // RFC 9110 § 9.2.2: only what is idempotent may be sent twice, also on a connection that was idle before: a backend that
        // closes it may have read the request.
        let again = if self.request.method.is_idempotent() && resendable { Again::Resent } else { Again::No };
        match ended {
            Ok(Download::Complete { status, bytes, persists }) => answered(status, bytes, persists),
            Ok(Download::Truncated { status, bytes, late }) => {
                count(&self.worker.counters.truncated);
                let (backend, path) = (lease.name(), self.request.path());
                if late {
                    // No fault of its own: it had answered, and a stream in which little happens is silent as well.
                    tracing::warn!(
                        backend,
                        id = self.id,
                        path,
                        bytes,
                        "its answer was cut off: nothing came for too long"
                    );
                } else {
                    lease.failed(Failure::BrokeOff);
                    tracing::warn!(backend, id = self.id, path, bytes, "it broke off in the middle of its answer");
                }
                Attempt::Answered { status, bytes, persists: false }
            }
            Ok(Download::Switched { status }) => answered(status, 0, false),
            Ok(Download::ClientGone) | Err(Upload::ClientGone) => Attempt::ClientGone,
            Err(Upload::ClientWrong(refusal)) => Attempt::ClientWrong(refusal),
            Err(Upload::BackendGone) => {
                failed(Failure::Closed, page::BAD_GATEWAY, Again::No, "it took no more of the request")
            }
            Ok(Download::Nothing { late: true }) => {
                failed(Failure::NoAnswer, page::GATEWAY_TIMEOUT, Again::No, "it did not answer in time")
            }
            Ok(Download::Short) => {
                failed(Failure::BrokeOff, page::BAD_GATEWAY, again, "it broke off in the middle of its answer")
            }
            Ok(Download::Nothing { late: false }) => {
                failed(Failure::Closed, page::BAD_GATEWAY, again, "it closed the connection without an answer")
            }
            Ok(Download::Wrong(because)) => failed(Failure::Malformed, page::BAD_GATEWAY, Again::No, &because),
        }
    }

    /// The head of the answer is there.
    fn begins(&self) {
        self.stages.first.set(micros(self.began.elapsed()));
    }

    /// Waits for a piece of the client's body, unless there is one.
    async fn more_body(&self, client: &Stream, pending: &mut Vec<u8>, within: Duration) -> Result<(), Upload> {
        if !pending.is_empty() {
            return Ok(());
        }
        match fill(client, pending, &self.worker.scratch, within).await {
            Ok(1..) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Upload::ClientWrong(Refusal::BodyTimeout)),
            Ok(0) | Err(_) => Err(Upload::ClientGone),
        }
    }

    /// Watches whether the client stays while it waits; returns when it has gone.
    async fn watch(&self, client: &Stream, pending: &mut Vec<u8>) -> Upload {
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

    /// What `doing` comes to, unless the client goes away meanwhile. Not if there is a body that was not `gathered`: what comes of it
    /// is for the backend.
    async fn unless_gone<T>(&self, doing: impl Future<Output = T>, gathered: bool, wire: &mut Wire) -> Option<T> {
        let watched = gathered || self.request.framing == Framing::None;
        tokio::select! {
            biased;
            done = doing => Some(done),
            _ = self.watch(&wire.stream, &mut wire.pending), if watched => None,
        }
    }

    /// Whether the backend may still take its time, which runs from the end of the request; until then the upload watches
    /// the clock. Who takes no more of it has had his.
    fn has_time(&self, progress: &Progress<'_>) -> bool {
        match progress.uploaded.get() {
            Some(end) => end.elapsed() < self.limits().answer_within,
            None => !progress.body_refused.get(),
        }
    }

    /// Our own Connection line for an answer.
    pub(crate) fn connection(&self, persists: bool) -> Option<&'static str> {
        match (persists, self.request.old) {
            (false, _) => Some("close"),
            (true, true) => Some("keep-alive"),
            (true, false) => None,
        }
    }
}

/// What both directions tell each other and the retry.
struct Progress<'l> {
    lease: &'l Lease,
    /// Since when the whole body is with the backend.
    uploaded: Cell<Option<Instant>>,
    /// Some of it is: the request cannot be sent again.
    body_begun: Cell<bool>,
    /// The backend takes no more of it.
    body_refused: Cell<bool>,
    /// The backend takes another request on the connection.
    persists: Cell<bool>,
    /// The status that the client was told, or is just told.
    told: Cell<Option<u16>>,
    /// The answer takes long enough that the client may go away meanwhile.
    is_long: Cell<bool>,
    /// Read of the answer at once until its head is there.
    head_bytes: usize,
    silence: Silence,
}

impl Progress<'_> {
    /// All of the body was sent to the backend, which took it or not.
    fn sent(&self, taken: bool) {
        self.body_begun.set(true);
        self.body_refused.set(!taken);
        self.uploaded.set(taken.then(Instant::now));
    }

    /// The answer's head is there. What a slow client's body took is not the backend's.
    fn heard(&self) {
        if let (true, Some(uploaded)) = (self.lease.measures(), self.uploaded.get()) {
            self.lease.took(uploaded.elapsed());
        }
    }
}

/// Runs both directions until the answer is through or nothing can come any more.
async fn both_ways(
    mut upload: Pin<&mut impl Future<Output = Upload>>,
    mut download: Pin<&mut impl Future<Output = Download>>,
    progress: &Progress<'_>,
) -> Result<Download, Upload> {
    loop {
        tokio::select! {
            biased;
            ended = &mut download => return Ok(ended),
            ended = &mut upload, if !progress.body_refused.get() => match ended {
                Upload::BackendGone => progress.body_refused.set(true),
                wrong => return Err(wrong),
            },
        }
    }
}
