//! One endpoint: accept, choose, hold, connect, copy.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::choice::{Lack, Route};
use super::ferry::{End, Ended, Ferry};
use super::pair::{Pair, Tally};
use super::servers::Servers;
use super::{fresh, packet};

/// Connections at once that write, and as many that read. MariaDB takes 500: enough for both kinds of two application servers
/// on one server when the others are gone, less what replicas, checks and the administration need.
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
/// A server whose cable was pulled is given up after this, instead of after the kernel's quarter of an hour: its kernel has
/// acknowledged nothing, or answered no sign of life. Whoever waits for it is told so by the end of his connection. (One that is
/// up and does not read what a client sends for as long looks the same: statements are read whole before they are carried out,
/// only a stream such as `LOAD DATA LOCAL` could meet that.)
const SILENCE: Duration = Duration::from_secs(6);
/// The same for who only reads: he sends little, and another server has the same.
const SILENCE_READING: Duration = Duration::from_secs(3);

/// What an endpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Takes every write.
    Writer,
    /// Serves reads, possibly a moment behind.
    Reader,
    /// Serves reads that see everything written before.
    Fresh,
}

impl Kind {
    /// The name of its listener in the plan.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Writer => "writer",
            Kind::Reader => "reader",
            Kind::Fresh => "fresh",
        }
    }

    /// Those who share the room.
    const fn crowd(self) -> &'static str {
        match self {
            Kind::Writer => "writer",
            Kind::Reader | Kind::Fresh => "readers",
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
    /// Connections that were cut because somebody else leads.
    pub cut: AtomicU64,
    /// Of those, the ones with a statement under way.
    pub cut_within: AtomicU64,
    /// Connections that ended because the server's machine was not heard of any more.
    pub lost: AtomicU64,
    /// Bytes.
    pub tally: Arc<Tally>,
}

/// One endpoint.
pub struct Endpoint {
    /// What it is for.
    pub kind: Kind,
    /// What it did.
    pub counters: Counters,
    servers: Arc<Servers>,
    places: Places,
    ferry: Arc<Ferry>,
    open: AtomicUsize,
    waiting: Semaphore,
}

/// Room for connections; the endpoints for reads share one.
#[derive(Clone)]
pub struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Places {
        Places(Arc::new(Semaphore::new(CONNECTIONS_MAX)))
    }
}

impl Places {
    /// Returns when no connection is left.
    pub async fn empty(&self) {
        let _ = self.0.acquire_many(CONNECTIONS_MAX as u32).await;
    }
}

/// Why a client is sent away.
struct Farewell(u16, String);

impl Endpoint {
    /// An endpoint over these servers.
    pub fn new(kind: Kind, servers: Arc<Servers>, places: Places, ferry: Arc<Ferry>) -> Endpoint {
        Endpoint {
            kind,
            ferry,
            counters: Counters::default(),
            servers,
            places,
            open: AtomicUsize::new(0),
            waiting: Semaphore::new(HELD_MAX),
        }
    }

    /// Connections now, held ones included.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Serves every connection.
    pub async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((client, _)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(place) = self.places.0.clone().try_acquire_owned() else {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                let text =
                    format!("Mainstay: {CONNECTIONS_MAX} connections to the {} are open already", self.kind.crowd());
                refuse_now(&client, &Farewell(packet::TOO_MANY, text));
                continue;
            };
            let endpoint = self.clone();
            tokio::spawn(async move {
                let _open = Open::new(&endpoint.open);
                endpoint.serve(client).await;
                drop(place);
            });
        }
    }

    async fn serve(&self, mut client: TcpStream) {
        match self.connect(&client).await {
            Ok(Some((route, server))) => self.relay(client, server, route).await,
            Ok(None) => {}
            Err(Farewell(code, text)) => {
                tracing::warn!(endpoint = self.kind.name(), "{text}");
                let _ = timeout(FAREWELL, client.write_all(&packet::error(code, &text))).await;
            }
        }
    }

    /// A connection to a fit server, waiting for one if need be; `None` if the client left meanwhile.
    async fn connect(&self, client: &TcpStream) -> Result<Option<(Route, TcpStream)>, Farewell> {
        if let Ok(route) = self.choose()
            && let Ok(reached) = self.reach(route).await
        {
            return Ok(Some(reached));
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

    async fn wait(&self) -> (Route, TcpStream) {
        let mut changes = self.servers.changes();
        loop {
            changes.borrow_and_update();
            if let Ok(route) = self.choose() {
                if let Ok(reached) = self.reach(route).await {
                    return reached;
                }
            } else {
                // The other side lives as long as we do.
                let _ = changes.changed().await;
            }
        }
    }

    fn choose(&self) -> Result<Route, Lack> {
        let world = self.servers.world();
        let index = self.servers.view(&world, |view| match self.kind {
            Kind::Writer => view.writer(),
            Kind::Reader => view.reader(&self.servers.connections()),
            // An open leader has applied all that was ever acknowledged: its position is the one to wait for.
            Kind::Fresh => view.writer().and_then(|_| view.reader(&self.servers.connections())),
        })?;
        Ok(Route::new(index, self.kind == Kind::Writer, world.leadership))
    }

    /// A server is reached when it greets: the kernel still takes connections for a process that is dying.
    async fn reach(&self, route: Route) -> io::Result<(Route, TcpStream)> {
        let route = self.settle(route).await;
        let attempt = async {
            let server = TcpStream::connect(self.servers.server(route.index).address).await?;
            match server.peek(&mut [0]).await? {
                0 => Err(io::Error::other("it closed the connection without a greeting")),
                _ => Ok((route, server)),
            }
        };
        let reached = timeout(REACH, attempt).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(why) = &reached {
            self.servers.failed(route.index, why);
        }
        reached
    }

    /// A replica that does not catch up in time is passed over for the leader.
    async fn settle(&self, route: Route) -> Route {
        let leadership = self.servers.leadership();
        match leadership.leader {
            Some(leader) if self.kind == Kind::Fresh && leader != route.index => {
                let [leading, following] = [leader, route.index].map(|index| &self.servers.server(index).questions);
                let stays = fresh::caught_up(leading, following).await;
                if stays { route } else { Route::new(leader, false, leadership) }
            }
            _ => route,
        }
    }

    fn lack(&self) -> String {
        let what = match self.kind {
            Kind::Writer => "takes writes",
            Kind::Reader | Kind::Fresh => "can be read",
        };
        let name = |index: usize| &self.servers.server(index).name;
        match self.choose() {
            Ok(route) => format!("{} does not take connections", name(route.index)),
            Err(Lack::Leaderless(why)) => format!("no database server {what}: none is the primary, and {why}"),
            Err(Lack::Unfit(leader, why)) => {
                format!("no database server {what}: {} is the primary, and {why}", name(leader))
            }
        }
    }

    fn give_up(&self) -> Farewell {
        self.counters.given_up.fetch_add(1, Ordering::Relaxed);
        Farewell(packet::NO_SERVER, format!("Mainstay: waited {} s, but {}", HOLD.as_secs(), self.lack()))
    }

    async fn relay(&self, client: TcpStream, server: TcpStream, route: Route) {
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        prepare(&client, &server, if route.writes { SILENCE } else { SILENCE_READING });
        // Their descriptors leave this thread's runtime for the other's.
        let (Ok(client), Ok(server)) = (client.into_std(), server.into_std()) else { return };
        let open = Open::new(&self.servers.server(route.index).connections);
        let pair = Pair::new(client, server, self.counters.tally.clone());
        let ended = self.ferry.carry(pair, self.servers.stale(route)).await;
        // Perhaps the server is dying; at a cut, whatever it still does for this connection has ended with it.
        self.servers.doubt(route.index);
        drop(open);
        let Some(Ended { end, plain, client }) = ended else { return };
        let counters = &self.counters;
        let counted: &[&AtomicU64] = match end {
            End::Closed => &[],
            End::CutBetween => &[&counters.cut],
            End::CutWithin => &[&counters.cut, &counters.cut_within],
            End::LostBetween | End::LostWithin => &[&counters.lost],
        };
        for counter in counted {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        // Of a statement under way nobody can say whether it was carried out: no error would be a true answer to it.
        let text = match end {
            End::CutBetween => self.successor(),
            End::LostBetween => {
                let name = &self.servers.server(route.index).name;
                format!("Mainstay: {name} does not answer any more; connect again")
            }
            End::Closed | End::CutWithin | End::LostWithin => return,
        };
        if let Ok(mut client) = TcpStream::from_std(client)
            && plain
        {
            dismiss(&mut client, &text).await;
        }
    }

    /// Who is there for a client whose connection was cut.
    fn successor(&self) -> String {
        match self.servers.leadership().leader.map(|index| &self.servers.server(index).name) {
            Some(name) => format!("Mainstay: {name} is the primary now; connect again"),
            None => "Mainstay: another server becomes the primary; connect again".into(),
        }
    }
}

/// Answers what the client says next, or has just said, with an error, as a server does that ends an idle connection. It
/// is read on until it closes: closing before would take the error away from who is just sending.
async fn dismiss(client: &mut TcpStream, text: &str) {
    let farewell = async {
        client.write_all(&packet::answer(packet::DISCONNECTED, text)).await?;
        client.shutdown().await?;
        tokio::io::copy(client, &mut tokio::io::sink()).await
    };
    let _ = timeout(FAREWELL, farewell).await;
}

/// A connection that counts.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Open<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        Open(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Statements are small and answered one by one: no Nagle. Silence on the network is noticed.
fn prepare(client: &TcpStream, server: &TcpStream, silence: Duration) {
    let alive = TcpKeepalive::new().with_time(silence / 3).with_interval(silence / 3).with_retries(2);
    let settings = [
        client.set_nodelay(true),
        server.set_nodelay(true),
        SockRef::from(server).set_tcp_keepalive(&alive),
        SockRef::from(server).set_tcp_user_timeout(Some(silence)),
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
