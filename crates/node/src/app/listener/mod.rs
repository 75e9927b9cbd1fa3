//! Takes requests on the service's sockets and hands them to the workers.
//!
//! One thread and runtime per socket. It stands on hyper, not on `crates/http`: the web tier has already refused what is
//! ambiguous, and a worker costs far more than hyper does.

mod answer;
mod fastcgi;
mod files;
mod forward;
mod pool;
mod proxy;
mod records;

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use mainstay_site::names::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::board::Counters;
use super::cgi::{Asked, Script, parameters};
use super::script::{Root, Target};
use answer::{Answer, line, page};
use pool::{Lease, Nobody};

pub(super) use pool::Pool;

/// For a worker on the same machine to accept: it does at once, or its backlog is full.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// For the head of an answer, and between its pieces. Shorter than the time after which a silent worker is replaced
/// (`slot`).
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// For the head of a request and between requests: longer than the web tier keeps a connection for later use, so that
/// it is the one who closes.
const IDLE_MAX: Duration = Duration::from_secs(90);
/// Of one socket; the web tier pools its connections and has far fewer.
const CONNECTIONS_MAX: usize = 2048;
/// A request's head: as much as the front door lets through.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Accepting fails for want of descriptors or memory, which others must give back first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// For requests under way when the service ends; with the workers' own time it stays below the 10 s of the service.
const DRAIN_MAX: Duration = Duration::from_secs(6);
/// Workers that one request is tried on, if none of them has begun to work on it or it may be repeated.
const TRIES_MAX: usize = 3;

/// What the workers speak.
pub(super) enum Upstream {
    /// HTTP.
    Http,
    /// FastCGI, and where scripts lie.
    FastCgi {
        /// Which script answers.
        root: Root,
        /// The document root.
        code: PathBuf,
    },
}

/// What every connection needs.
pub(super) struct Front {
    /// The workers.
    pub pool: Arc<Pool>,
    /// What they speak.
    pub upstream: Upstream,
    /// This server's name, which is added to the request.
    pub server: ServerName,
    /// What is counted.
    pub counters: Arc<Counters>,
}

/// Why a worker did not answer.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// Nothing was sent: another worker may be asked.
    #[error("no connection: {0}")]
    Unsent(io::Error),
    /// It may have begun to work on it.
    #[error("broke off: {0}")]
    Broken(String),
    /// It took too long.
    #[error("no answer in {} s", ANSWER_MAX.as_secs())]
    Late,
}

/// Serves `sockets` until `stop` is `true` and requests under way are answered. Returns once threads are started;
/// the receiver ends when they have.
pub(super) fn start(
    sockets: Vec<TcpListener>,
    front: Arc<Front>,
    stop: &watch::Receiver<bool>,
) -> io::Result<mpsc::Receiver<()>> {
    let (running, ended) = mpsc::channel(1);
    for (number, socket) in sockets.into_iter().enumerate() {
        socket.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (front, stop, running) = (front.clone(), stop.clone(), running.clone());
        std::thread::Builder::new().name(format!("listener-{number}")).spawn(move || {
            runtime.block_on(accept(socket, front, stop));
            drop(running);
        })?;
    }
    Ok(ended)
}

async fn accept(socket: TcpListener, front: Arc<Front>, mut stop: watch::Receiver<bool>) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!("cannot listen: {error}"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = mpsc::channel::<()>(1);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let stream = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match stream {
            Ok((stream, _)) => {
                let (front, stop, open) = (front.clone(), stop.clone(), connections.0.clone());
                tokio::spawn(async move {
                    connection(stream, front, stop).await;
                    drop((place, open));
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let (open, mut all) = connections;
    drop(open);
    let _ = timeout(DRAIN_MAX, all.recv()).await;
}

async fn connection(stream: TcpStream, front: Arc<Front>, mut stop: watch::Receiver<bool>) {
    // Small answers go at once.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.answer(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        _ = &mut serving => return,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = serving.await;
}

async fn connected<T>(connecting: impl Future<Output = io::Result<T>>) -> Result<T, Failed> {
    match timeout(CONNECT_MAX, connecting).await {
        Ok(connected) => connected.map_err(Failed::Unsent),
        Err(_) => Err(Failed::Unsent(io::ErrorKind::TimedOut.into())),
    }
}

impl Front {
    async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let path = request.uri().path();
        if path.starts_with("/.mainstay/") {
            return self.health(path);
        }
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let (mut parts, body) = request.into_parts();
        forward::prepare(&mut parts, self.server.as_str());
        let mut answer = self.pass(&parts, body).await;
        forward::remove_hop_by_hop(answer.headers_mut());
        if answer.status().is_server_error() {
            self.counters.errors.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// For the web tier's health checks.
    fn health(&self, path: &str) -> Response<Answer> {
        match (path, self.pool.is_open()) {
            ("/.mainstay/health", true) => line(StatusCode::OK, "a worker serves\n"),
            ("/.mainstay/health", false) => line(StatusCode::SERVICE_UNAVAILABLE, "no worker serves\n"),
            _ => line(StatusCode::NOT_FOUND, "no such thing\n"),
        }
    }

    async fn pass(&self, parts: &Parts, body: Incoming) -> Response<Answer> {
        match &self.upstream {
            Upstream::Http => self.ask(parts, body, None).await,
            Upstream::FastCgi { root, code } => match root.resolve(parts.uri.path()) {
                Target::Script { file, name, info } => {
                    let script = Script { root: code, file: &file, name: &name, info: &info };
                    self.run(parts, body, &script).await
                }
                Target::File(file) => match parts.method {
                    Method::GET => files::serve(&file, false).await,
                    Method::HEAD => files::serve(&file, true).await,
                    _ => page(StatusCode::METHOD_NOT_ALLOWED, "This is a file: it can only be read."),
                },
                Target::Redirect(to) => redirect(&to, parts.uri.query()),
                Target::Refused => page(StatusCode::NOT_FOUND, "There is no such page."),
            },
        }
    }

    async fn run(&self, parts: &Parts, body: Incoming, script: &Script<'_>) -> Response<Answer> {
        if !body.is_end_stream() && !parts.headers.contains_key(CONTENT_LENGTH) {
            return page(StatusCode::LENGTH_REQUIRED, "A form must say beforehand how long it is.");
        }
        let headers: Vec<(&str, &[u8])> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let asked = Asked { method: parts.method.as_str(), target, headers: &headers };
        self.ask(parts, body, Some(parameters(&asked, script))).await
    }

    /// Asks a worker; another one if the first was not reached, or fell while reading was all that was asked of it.
    async fn ask(&self, parts: &Parts, body: Incoming, script: Option<Vec<(String, Vec<u8>)>>) -> Response<Answer> {
        let repeatable = parts.method.is_safe() && body.is_end_stream();
        let mut body = Some(body).filter(|body| !body.is_end_stream());
        let mut tries = 0;
        loop {
            tries += 1;
            let lease = match self.pool.lease().await {
                Ok(lease) => lease,
                Err(nobody) => return self.nobody(nobody),
            };
            let address = lease.address.clone();
            let answer = self.ask_worker(lease, parts, &mut body, script.as_deref()).await;
            match answer {
                Ok(answer) => return answer,
                Err(Failed::Unsent(_)) if tries < TRIES_MAX => self.pool.settle().await,
                Err(Failed::Broken(_)) if repeatable && tries < TRIES_MAX => self.pool.settle().await,
                Err(failed) => {
                    tracing::warn!(worker = %address, path = parts.uri.path(), "{failed}");
                    return self.failed(&failed);
                }
            }
        }
    }

    async fn ask_worker(
        &self,
        lease: Lease,
        parts: &Parts,
        body: &mut Option<Incoming>,
        script: Option<&[(String, Vec<u8>)]>,
    ) -> Result<Response<Answer>, Failed> {
        match script {
            Some(parameters) => fastcgi::ask(lease, parameters, body).await,
            None => proxy::ask(lease, parts, body).await,
        }
    }

    fn nobody(&self, nobody: Nobody) -> Response<Answer> {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("no worker for a request: {nobody:?}");
        page(StatusCode::SERVICE_UNAVAILABLE, "The site is busy or just starting. Please try again in a moment.")
    }

    fn failed(&self, failed: &Failed) -> Response<Answer> {
        match failed {
            Failed::Late => page(StatusCode::GATEWAY_TIMEOUT, "The page took too long to make."),
            _ => page(StatusCode::BAD_GATEWAY, "The page could not be made. Please try again."),
        }
    }
}

/// Relative, so that scheme, host and published port stay the visitor's own.
fn redirect(to: &str, query: Option<&str>) -> Response<Answer> {
    let to = query.map_or_else(|| to.to_owned(), |query| format!("{to}?{query}"));
    let mut answer = page(StatusCode::MOVED_PERMANENTLY, "This folder's address ends in a slash.");
    if let Ok(to) = HeaderValue::from_str(&to) {
        answer.headers_mut().insert(LOCATION, to);
    }
    answer
}
