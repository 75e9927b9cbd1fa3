//! The engine: an event loop per core, each with listeners of its own.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::access::FLUSH_AFTER;
use crate::checks::{Checked, keep_asking};
use crate::config::Config;
use crate::connection;
use crate::counters::{Counters, count};
use crate::event_loop::{self, Descriptor, Listener, sleep, spawn, spawn_held, timeout, yielded};
use crate::guard::{Place, survive};
use crate::http2;
use crate::observe::Scene;
use crate::patience::{self, pause};
use crate::stream::Stream;
use crate::tls::Session;
use crate::wire::Wire;
use crate::worker::Worker;

/// How often idle connections to backends are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// After an accept that failed for want of descriptors or memory: trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections accepted before those that are there get their turn.
const ACCEPTED_MAX: usize = 64;

/// An engine, not yet running. The handles stay usable while it runs.
pub struct Server {
    config: Arc<ArcSwap<Config>>,
    counters: Arc<Counters>,
    checked: watch::Sender<Vec<Arc<Checked>>>,
}

/// A way to change an engine while it runs.
#[derive(Clone)]
pub struct Live {
    config: Arc<ArcSwap<Config>>,
    checked: watch::Sender<Vec<Arc<Checked>>>,
}

impl Live {
    /// Swaps what the engine follows: requests that are under way end with what they began with, the next ones, also on
    /// connections that are open, go by `config`. Of `checked` those that were there before are asked on, the others begin,
    /// and what is no longer there ends.
    pub fn swap(&self, config: Config, checked: Vec<Arc<Checked>>) {
        self.checked.send_replace(checked);
        self.config.store(Arc::new(config));
    }

    /// What it follows.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }
}

/// Sockets to accept on: with `SO_REUSEPORT` there are several for one address, one for each core, and all must be served.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For HTTP in clear.
    pub http: Vec<TcpListener>,
    /// For HTTP over TLS.
    pub https: Vec<TcpListener>,
    /// For HTTP from who runs on the same server, one for each core. Such connections are taken for what they would be at the first of
    /// `http`.
    pub local: Vec<UnixListener>,
}

impl Listeners {
    fn by_core(self) -> io::Result<Vec<Vec<Entrance>>> {
        let cores = per_address(&self.http).max(per_address(&self.https));
        let mut by_core: Vec<_> = (0..cores).map(|_| Vec::new()).collect();
        if let Some(first) = self.http.first() {
            let address = first.local_addr()?;
            let local = self.local.into_iter().enumerate();
            local.for_each(|(place, listener)| by_core[place % cores].push(Entrance::Local(listener, address)));
        }
        for (listeners, entrance) in [(self.http, Entrance::Http as fn(_) -> _), (self.https, Entrance::Https)] {
            // Those of one address stand one after the other.
            let listeners = listeners.into_iter().enumerate();
            listeners.for_each(|(place, listener)| by_core[place % cores].push(entrance(listener)));
        }
        Ok(by_core)
    }
}

/// Where a thread accepts.
enum Entrance {
    Http(TcpListener),
    Https(TcpListener),
    Local(UnixListener, SocketAddr),
}

impl Entrance {
    fn opened(self) -> io::Result<(Listener, Scheme)> {
        Ok(match self {
            Entrance::Http(listener) => (Listener::tcp(listener)?, Scheme::Http),
            Entrance::Https(listener) => (Listener::tcp(listener)?, Scheme::Https),
            Entrance::Local(listener, address) => (Listener::unix(listener, address)?, Scheme::Local),
        })
    }
}

/// The most listeners that share an address.
fn per_address(listeners: &[TcpListener]) -> usize {
    let mut counts = std::collections::HashMap::new();
    for listener in listeners {
        *counts.entry(listener.local_addr().ok()).or_insert(0) += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// What is spoken on a listener, over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    /// HTTP over a Unix socket.
    Local,
}

impl Server {
    /// An engine that follows `config`, which may be swapped while it runs.
    pub fn new(config: Config) -> Server {
        Server {
            config: Arc::new(ArcSwap::from_pointee(config)),
            counters: Arc::new(Counters::default()),
            checked: watch::Sender::new(Vec::new()),
        }
    }

    /// A way to change it, now and while it runs.
    pub fn live(&self) -> Live {
        Live { config: self.config.clone(), checked: self.checked.clone() }
    }

    /// What the engine follows; store a new value to change it.
    pub fn config(&self) -> Arc<ArcSwap<Config>> {
        self.config.clone()
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Serves on every listener until `stop` says so and what is in flight has ended; one thread for each core's listeners.
    ///
    /// # Errors
    /// If threads or runtimes cannot be made, or a listener is not usable.
    pub fn run(self, listeners: Listeners, stop: &watch::Receiver<bool>) -> io::Result<()> {
        let scene = Arc::new(Scene::new(self.counters.clone(), self.checked.subscribe()));
        let (checked, seen, checks_stop) = (self.checked.subscribe(), scene.clone(), stop.clone());
        let mut threads = vec![thread("checks".into(), move || all_checks(checked, seen, checks_stop))?];
        for (number, entrances) in listeners.by_core()?.into_iter().enumerate() {
            let (config, scene, stop) = (self.config.clone(), scene.clone(), stop.clone());
            let run = move || one_core(entrances, move || Worker::new(config, scene, stop));
            threads.push(thread(format!("core-{number}"), run)?);
        }
        let panicked = |_| Err(io::Error::other("a thread of the engine panicked"));
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
    }
}

fn thread(
    name: String,
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<std::thread::JoinHandle<io::Result<()>>> {
    std::thread::Builder::new().name(name).spawn(run)
}

/// The checks run on a thread of their own: once for the whole process.
fn all_checks(
    checked: watch::Receiver<Vec<Arc<Checked>>>,
    scene: Arc<Scene>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    event_loop::run(async move {
        spawn(keep_asking(checked));
        spawn(async move { scene.keep_sampling().await });
        // Nobody left who could say stop is the same as stop.
        let _ = stop.wait_for(|stop| *stop).await;
    })
}

/// One thread: accepts, serves, drains.
fn one_core(entrances: Vec<Entrance>, worker: impl FnOnce() -> Worker) -> io::Result<()> {
    let worker = Rc::new(worker());
    event_loop::run(async {
        let open = Rc::new(Open::default());
        let mut accepting = Vec::new();
        for entrance in entrances {
            let (listener, scheme) = entrance.opened()?;
            accepting.push(spawn_held(accept(listener, scheme, worker.clone(), open.clone())));
        }
        spawn(keep_flushing(worker.clone()));
        spawn(keep_sweeping(worker.clone()));
        worker.stopped().await;
        // Closes the listeners.
        drop(accepting);
        let drain_within = worker.config.look(|config| config.limits.drain_within);
        let _ = timeout(drain_within, open.none()).await;
        worker.log.flush();
        Ok(())
    })
    .flatten()
}

/// Lets go of what was kept and not used.
async fn keep_sweeping(worker: Rc<Worker>) {
    loop {
        pause(SWEEP_EVERY).await;
        worker.sweep();
    }
}

/// Lets no line of the access log wait for the next.
async fn keep_flushing(worker: Rc<Worker>) {
    loop {
        worker.log.begun.notified().await;
        pause(FLUSH_AFTER).await;
        worker.log.flush();
    }
}

/// The connections of a thread.
#[derive(Default)]
struct Open {
    count: Cell<usize>,
    /// Connections that are being told that they are too many.
    told: Cell<usize>,
    closed: Notify,
}

impl Open {
    async fn none(&self) {
        while self.count.get() > 0 {
            self.closed.notified().await;
        }
    }
}

async fn accept(listener: Listener, scheme: Scheme, worker: Rc<Worker>, open: Rc<Open>) {
    loop {
        for _ in 0..ACCEPTED_MAX {
            match listener.accept().await {
                Ok((stream, client)) => begin(stream, scheme, client, &worker, &open),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        yielded().await;
    }
}

fn begin(stream: Descriptor, scheme: Scheme, client: SocketAddr, worker: &Rc<Worker>, open: &Rc<Open>) {
    let counters = &worker.counters;
    count(&counters.connections);
    let config = worker.config.get();
    if counters.open.load(Ordering::Relaxed) >= config.limits.connections_max as u64 {
        count(&counters.turned_away);
        return;
    }
    let Some(place) = Place::take(&config, counters, client.ip()) else {
        return crowd(stream, scheme, worker, open);
    };
    let (worker, seat) = (worker.clone(), Seat::new(worker, open));
    spawn(async move {
        let _held = (seat, place);
        let name = client.ip().to_canonical().to_string();
        let serving = pin!(async {
            let wire = match scheme {
                Scheme::Http => Wire::new(Stream::Tcp(stream)),
                Scheme::Local => {
                    let ends = Rc::new((SocketAddr::new(client.ip(), 0), client));
                    Wire::between(Some(ends), Stream::Unix(stream))
                }
                Scheme::Https => return encrypted(&worker, stream, name.clone()).await,
            };
            connection::serve(&worker, wire, name.clone()).await;
        });
        survive(&worker.counters, &name, serving).await;
    });
}

/// Agrees on keys and protocol, and serves.
async fn encrypted(worker: &Rc<Worker>, stream: Descriptor, client: String) {
    // Not kept for as long as the connection: it may be swapped.
    let (tls, within) = worker.config.look(|config| (config.tls.clone(), config.limits.tls_within));
    let Some(tls) = tls else { return };
    match patience::within(within, pin!(Session::accept(stream, tls, within))).await {
        Ok(session) => {
            count(if session.is_resumed() { &worker.counters.tls_resumed } else { &worker.counters.tls_full });
            let (two, wire) = (session.is_h2(), Wire::new(Stream::Tls(session)));
            if two {
                Box::pin(http2::serve(worker, wire, client)).await;
            } else {
                connection::serve(worker, wire, client).await;
            }
        }
        Err(error) => {
            count(&worker.counters.tls_failed);
            tracing::debug!(client, %error, "no TLS connection");
        }
    }
}

/// Turns away a connection of an address that has enough. It is told why, unless that takes a handshake or many are being
/// told: a crowd that does not listen must not cost what the bound is to save.
fn crowd(stream: Descriptor, scheme: Scheme, worker: &Rc<Worker>, open: &Rc<Open>) {
    /// At once on a thread, each for half a second at most.
    const TOLD_MAX: usize = 64;
    count(&worker.counters.crowded);
    if scheme == Scheme::Https || open.told.get() >= TOLD_MAX {
        return;
    }
    open.told.set(open.told.get() + 1);
    let (worker, open) = (worker.clone(), open.clone());
    spawn(async move {
        let stream = if scheme == Scheme::Local { Stream::Unix(stream) } else { Stream::Tcp(stream) };
        connection::turn_away(worker, stream).await;
        open.told.set(open.told.get() - 1);
    });
}

/// A connection that is open; given back when dropped, whatever ended it.
struct Seat {
    worker: Rc<Worker>,
    open: Rc<Open>,
}

impl Seat {
    fn new(worker: &Rc<Worker>, open: &Rc<Open>) -> Seat {
        worker.counters.open.fetch_add(1, Ordering::Relaxed);
        open.count.set(open.count.get() + 1);
        Seat { worker: worker.clone(), open: open.clone() }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.worker.counters.open.fetch_sub(1, Ordering::Relaxed);
        self.open.count.set(self.open.count.get() - 1);
        self.open.closed.notify_waiters();
    }
}
