//! An engine in front of scripted backends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mainstay_http::files::Folder;
use mainstay_http::tls::ServerTls;
use mainstay_http::{
    Address, Config, Counters, Declared, Limits, Listeners, Live, Pool, Route, Server, Settings, Speaks,
};
use tempfile::TempDir;
use tokio::sync::watch;

/// No exchange of these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A running engine; ended when dropped.
pub struct Engine {
    pub address: SocketAddr,
    /// The same over TLS.
    pub secure: SocketAddr,
    /// The same for who runs on this server.
    pub local: PathBuf,
    pub pool: Arc<Pool>,
    pub counters: Arc<Counters>,
    /// What it follows.
    pub config: Arc<ArcSwap<Config>>,
    /// How it is changed.
    pub live: Live,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    _folder: TempDir,
}

/// Short enough that a test can wait for them.
pub fn limits() -> Limits {
    Limits {
        head_within: Duration::from_millis(300),
        answer_within: Duration::from_millis(500),
        progress_within: Duration::from_millis(500),
        hold_within: Duration::from_millis(300),
        drain_within: Duration::from_secs(2),
        last_within: Duration::from_millis(50),
        ..Limits::default()
    }
}

/// A socket on which as many wait to be accepted as may.
pub fn filled(path: &Path) -> (UnixListener, Vec<socket2::Socket>) {
    let socket = || socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let (listener, address) = (socket(), socket2::SockAddr::unix(path).unwrap());
    listener.bind(&address).unwrap();
    listener.listen(1).unwrap();
    let mut waiting = Vec::new();
    loop {
        let next = socket();
        next.set_nonblocking(true).unwrap();
        if next.connect(&address).is_err() {
            return (OwnedFd::from(listener).into(), waiting);
        }
        waiting.push(next);
    }
}

/// A pool of backends, each with at most `requests_max` requests at a time.
pub fn pool(addresses: impl Iterator<Item = Address>, requests_max: u32) -> Arc<Pool> {
    let name = "test".into();
    pool_of(addresses, Settings { name, backend_requests_max: requests_max, waiting_max: 100, ..Settings::default() })
}

/// A pool of backends that are all well.
pub fn pool_of(addresses: impl Iterator<Item = Address>, settings: Settings) -> Arc<Pool> {
    let declared = addresses.enumerate().map(|(number, address)| Declared {
        name: format!("b{number}"),
        weight: 1,
        spare: false,
        address: Some(address),
        well: true,
    });
    Pool::new(settings, declared.collect())
}

impl Engine {
    pub fn new(backends: &[SocketAddr]) -> Engine {
        Engine::with(backends, limits())
    }

    pub fn with(backends: &[SocketAddr], limits: Limits) -> Engine {
        Engine::serving(Vec::new(), backends, limits)
    }

    /// An engine that looks into `folders` before it asks a backend.
    pub fn serving(folders: Vec<Folder>, backends: &[SocketAddr], limits: Limits) -> Engine {
        let pool = pool(backends.iter().map(|address| Address::Tcp(*address)), 100);
        Engine::start(folders, pool, Speaks::Http, limits)
    }

    /// As [`Engine::new`], and over TLS at `secure`.
    pub fn encrypted(backends: &[SocketAddr], tls: ServerTls) -> Engine {
        let pool = pool(backends.iter().map(|address| Address::Tcp(*address)), 100);
        let config = Config { front: true, limits: limits(), tls: Some(tls), ..Config::default() };
        let route =
            Route { host: None, prefix: "/".into(), folders: Vec::new(), pool, speaks: Speaks::Http, cache: None };
        Engine::following(config, route)
    }

    pub fn start(folders: Vec<Folder>, pool: Arc<Pool>, speaks: Speaks, limits: Limits) -> Engine {
        // Only a tier behind another one has scripts.
        let front = matches!(speaks, Speaks::Http);
        let config = Config { front, limits, ..Config::default() };
        Engine::following(config, Route { host: None, prefix: "/".into(), folders, pool, speaks, cache: None })
    }

    /// An engine with one route.
    pub fn following(config: Config, route: Route) -> Engine {
        let pool = route.pool.clone();
        let server = Server::new(Config { via: "test=here".into(), routes: [route].into(), ..config });
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (http, https) = (listen(), listen());
        let (address, secure) = (http.local_addr().unwrap(), https.local_addr().unwrap());
        let (stop, stopped) = watch::channel(false);
        let (counters, config, live) = (server.counters(), server.config(), server.live());
        let folder = tempfile::tempdir().unwrap();
        let local = folder.path().join("local.sock");
        let listens = UnixListener::bind(&local).unwrap();
        let listeners = Listeners { http: vec![http], https: vec![https], local: vec![listens] };
        let thread = std::thread::spawn(move || server.run(listeners, &stopped).unwrap());
        Engine { address, secure, local, pool, counters, config, live, stop, thread: Some(thread), _folder: folder }
    }

    pub fn total(&self, name: &str) -> u64 {
        self.counters.totals().get(name).copied().unwrap_or(0)
    }

    /// Requests that backends have now.
    pub fn outstanding(&self) -> u32 {
        self.pool.backends().map(|(_, figures)| figures.outstanding.load(Ordering::SeqCst)).sum()
    }

    /// A connection to the engine.
    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    /// Sends raw bytes on a connection of their own; everything that came back.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut client = self.connect();
        client.send(bytes);
        client.rest()
    }

    /// Ends the engine as its role would be ended.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A client's connection.
pub struct Client(BufReader<TcpStream>);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Client {
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        self.answer()
    }

    /// The status, unless the connection is closed before.
    pub fn try_get(&mut self, path: &str) -> Option<u16> {
        self.0.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).ok()?;
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        line.get(9..12)?.parse().ok()
    }

    /// Reads one answer that says how long it is, or comes in chunks.
    pub fn answer(&mut self) -> Answer {
        let head = self.head();
        let status = head[9..12].parse().unwrap();
        if value(&head, "transfer-encoding").is_some() {
            return Answer { status, head, body: self.chunks() };
        }
        let length = value(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Answer { status, head, body }
    }

    /// Reads a body that comes in chunks.
    pub fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut size = String::new();
            self.0.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.0.read_exact(&mut chunk).unwrap();
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Whether something has arrived.
    pub fn is_answered(&self) -> bool {
        let stream = self.0.get_ref();
        stream.set_nonblocking(true).unwrap();
        let arrived = !self.0.buffer().is_empty() || stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).unwrap();
        arrived
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    pub fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "closed within the head: {head}");
        }
        head
    }

    /// Everything until the engine closes.
    pub fn rest(self) -> String {
        String::from_utf8_lossy(&self.rest_bytes()).into_owned()
    }

    /// As [`Client::rest`], as it came.
    pub fn rest_bytes(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.0.read_to_end(&mut bytes);
        bytes
    }

    pub fn reader(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.0
    }
}

/// The value of a header in a head.
pub fn value<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(is, _)| is.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.trim())
}

/// Where nobody listens: no test, of this process or another, is given a port below 1024, so none comes to listen there.
pub const DEAD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// A backend that handles every connection with `script`, each on a thread.
pub fn backend(script: impl Fn(Client) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let script = script.clone();
            std::thread::spawn(move || script(Client(BufReader::new(stream))));
        }
    });
    address
}

/// The same, and how many connections it had.
pub fn counted(script: impl Fn(Client) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let address = backend(move |client| {
        count.fetch_add(1, Ordering::SeqCst);
        script(client);
    });
    (address, opened)
}

/// A backend that answers every request of a connection with `body` and the head that it got.
pub fn echo(name: &'static str) -> SocketAddr {
    backend(move |mut client| {
        while let Some(head) = request(&mut client) {
            let body = format!("{name}\n{head}");
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Backend: {name}\r\n\r\n{body}", body.len());
            let body =
                if head.starts_with("HEAD") { answer.split_inclusive("\r\n\r\n").next().unwrap() } else { &answer };
            client.send(body.as_bytes());
        }
    })
}

/// The next request's head; `None` at the end.
pub fn request(client: &mut Client) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.reader().read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// Waits until `is`.
pub fn until(what: &str, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// Lets time pass, where that alone is what is tested: nothing that could be asked says more, and a slow machine only makes it longer.
pub fn pass(time: Duration) {
    let began = Instant::now();
    while let Some(left) = time.checked_sub(began.elapsed()) {
        std::thread::park_timeout(left);
    }
}
