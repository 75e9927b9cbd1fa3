//! One endpoint: accept, choose, hold, connect, copy.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::health::Servers;
use super::{choice, packet, relay};

/// Connections at once. MariaDB takes 500: enough for both endpoints of two application servers on one server when the
/// others are gone, less what replicas, checks and the administration need.
const CONNECTIONS_MAX: usize = 120;
/// Connections that may wait for a server at once. More would all arrive in the moment that it is back.
const HELD_MAX: usize = 60;
/// How long a connection waits: longer than a restart of MariaDB with recovery (0.1 s to some seconds), shorter than a
/// visitor's or a worker's patience (usually 30 s).
const HOLD: Duration = Duration::from_secs(10);
/// How long one attempt to connect and be greeted may take.
const REACH: Duration = Duration::from_secs(1);
/// How long an error may take to be sent to a client that does not read.
const FAREWELL: Duration = Duration::from_secs(1);
/// The pause after an accept failed for want of descriptors: it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A server whose cable was pulled is given up after this, instead of after the kernel's quarter of an hour.
const SILENCE: Duration = Duration::from_secs(15);

/// What an endpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Takes every write.
    Writer,
    /// Serves reads.
    Reader,
}

impl Kind {
    /// The name of its listener in the plan.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Writer => "writer",
            Kind::Reader => "reader",
        }
    }
}

/// Totals since the start.
#[derive(Default)]
pub struct Counters {
    /// Connections that reached a server.
    pub connections: AtomicU64,
    /// Connections that had to wait.
    pub held: AtomicU64,
    /// Connections that waited in vain.
    pub given_up: AtomicU64,
    /// Connections that were too many.
    pub refused: AtomicU64,
    /// Bytes to servers.
    pub sent: AtomicU64,
    /// Bytes from servers.
    pub received: AtomicU64,
}

/// One endpoint.
pub struct Endpoint {
    /// What it is for.
    pub kind: Kind,
    /// What it did.
    pub counters: Counters,
    servers: Arc<Servers>,
    places: Arc<Semaphore>,
    waiting: Semaphore,
}

/// Why a client is sent away.
struct Farewell(u16, String);

impl Endpoint {
    /// An endpoint over these servers.
    pub fn new(kind: Kind, servers: Arc<Servers>) -> Endpoint {
        Endpoint {
            kind,
            counters: Counters::default(),
            servers,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            waiting: Semaphore::new(HELD_MAX),
        }
    }

    /// Connections now, held ones included.
    pub fn open(&self) -> usize {
        CONNECTIONS_MAX - self.places.available_permits()
    }

    /// Returns when no connection is left, and takes no more.
    pub async fn closed(&self) {
        let _ = self.places.acquire_many(CONNECTIONS_MAX as u32).await;
    }

    /// Serves every connection.
    pub async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((client, _)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                let text =
                    format!("Mainstay: {CONNECTIONS_MAX} connections to the {} are open already", self.kind.name());
                refuse_now(&client, &Farewell(packet::TOO_MANY, text));
                continue;
            };
            let endpoint = self.clone();
            tokio::spawn(async move {
                endpoint.serve(client).await;
                drop(place);
            });
        }
    }

    async fn serve(&self, mut client: TcpStream) {
        match self.connect(&client).await {
            Ok(Some((index, server))) => self.relay(&client, &server, index).await,
            Ok(None) => {}
            Err(Farewell(code, text)) => {
                tracing::warn!(endpoint = self.kind.name(), "{text}");
                let _ = timeout(FAREWELL, client.write_all(&packet::error(code, &text))).await;
            }
        }
    }

    /// A connection to a fit server, waiting for one if need be; `None` if the client left meanwhile.
    async fn connect(&self, client: &TcpStream) -> Result<Option<(usize, TcpStream)>, Farewell> {
        if let Ok(index) = self.choose()
            && let Ok(server) = self.reach(index).await
        {
            return Ok(Some((index, server)));
        }
        let Ok(_turn) = self.waiting.try_acquire() else {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            let text = format!("Mainstay: {HELD_MAX} connections wait for a database server already; {}", self.lack());
            return Err(Farewell(packet::TOO_MANY, text));
        };
        self.counters.held.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            server = timeout(HOLD, self.wait()) => server.map(Some).map_err(|_| self.give_up()),
            () = gone(client) => Ok(None),
        }
    }

    async fn wait(&self) -> (usize, TcpStream) {
        let mut changes = self.servers.changes();
        loop {
            changes.borrow_and_update();
            if let Ok(index) = self.choose() {
                if let Ok(server) = self.reach(index).await {
                    return (index, server);
                }
            } else {
                // The other side lives as long as we do.
                let _ = changes.changed().await;
            }
        }
    }

    fn choose(&self) -> Result<usize, String> {
        match self.kind {
            Kind::Writer => choice::writer(&self.servers.checks()),
            Kind::Reader => choice::reader(&self.servers.checks(), &self.servers.connections()),
        }
    }

    /// A server is reached when it greets: the kernel still takes connections for a process that is dying.
    async fn reach(&self, index: usize) -> io::Result<TcpStream> {
        let attempt = async {
            let server = TcpStream::connect(self.servers.server(index).address).await?;
            match server.peek(&mut [0]).await? {
                0 => Err(io::Error::other("it closed the connection without a greeting")),
                _ => Ok(server),
            }
        };
        let reached = timeout(REACH, attempt).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(why) = &reached {
            self.servers.failed(index, why);
        }
        reached
    }

    fn lack(&self) -> String {
        let primary = &self.servers.server(0).name;
        let what = match self.kind {
            Kind::Writer => "takes writes",
            Kind::Reader => "can be read",
        };
        match self.choose() {
            Ok(index) => format!("{} does not take connections", self.servers.server(index).name),
            Err(why) => format!("no database server {what}: {primary} is the primary, and {why}"),
        }
    }

    fn give_up(&self) -> Farewell {
        self.counters.given_up.fetch_add(1, Ordering::Relaxed);
        Farewell(packet::NO_SERVER, format!("Mainstay: waited {} s, but {}", HOLD.as_secs(), self.lack()))
    }

    async fn relay(&self, client: &TcpStream, server: &TcpStream, index: usize) {
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        prepare(client, server);
        let open = Open::new(&self.servers, index);
        let down = async {
            let ended = relay::copy(server, client, &self.counters.received).await;
            // The server ended first: perhaps it is dying.
            self.servers.doubt(index);
            ended
        };
        // An end that breaks is the application's to handle; it sees the connection close.
        let _ = tokio::try_join!(relay::copy(client, server, &self.counters.sent), down);
        drop(open);
    }
}

/// A connection that counts.
struct Open<'a>(&'a Servers, usize);

impl<'a> Open<'a> {
    fn new(servers: &'a Servers, index: usize) -> Open<'a> {
        servers.server(index).connections.fetch_add(1, Ordering::Relaxed);
        Open(servers, index)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.server(self.1).connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Statements are small and answered one by one: no Nagle. Silence on the network is noticed.
fn prepare(client: &TcpStream, server: &TcpStream) {
    let alive = TcpKeepalive::new().with_time(SILENCE / 3).with_interval(SILENCE / 3).with_retries(2);
    let settings = [
        client.set_nodelay(true),
        server.set_nodelay(true),
        SockRef::from(server).set_tcp_keepalive(&alive),
        SockRef::from(server).set_tcp_user_timeout(Some(SILENCE)),
    ];
    if let Some(why) = settings.into_iter().find_map(Result::err) {
        tracing::debug!(%why, "a socket option was not taken");
    }
}

/// Returns when a client that waits hangs up: before the greeting it has nothing to say.
async fn gone(client: &TcpStream) {
    let mut byte = [0];
    loop {
        match client.peek(&mut byte).await {
            Ok(1..) => sleep(HOLD).await,
            _ => return,
        }
    }
}

/// Into the socket's empty buffer, without waiting for anybody.
fn refuse_now(client: &TcpStream, Farewell(code, text): &Farewell) {
    let _ = SockRef::from(client).send(&packet::error(*code, text));
}
