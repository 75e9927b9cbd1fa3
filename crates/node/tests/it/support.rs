//! A service with a context of its own, and waiting for what it should come to.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mainstay_node::service::{Asks, Context, Launch, Launches, Purges, Reporter, Shutdown, Sockets};
use mainstay_site::names::{AppName, Domain, Generation, Role, ServerName, ServiceName};
use mainstay_site::plan::{Config, Service};
use mainstay_site::secrets::Secrets;
use mainstay_site::wire::Report;
use tokio::sync::watch;
use tracing_subscriber::fmt::TestWriter;

/// A service that runs in this process until it is dropped.
pub struct Running {
    pub reporter: Reporter,
    pub asks: Asks,
    shutdown: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Runs `service` on a thread of its own.
    pub fn start(launch: Launch, sockets: Sockets, service: impl FnOnce(Context) + Send + 'static) -> Running {
        log();
        let (shutdown, end) = Shutdown::new();
        let reporter = Reporter::default();
        let asks = Asks::default();
        let context = Context {
            launch,
            sockets,
            reporter: reporter.clone(),
            shutdown: end,
            launches: Launches::default(),
            purges: Purges::default(),
            asks: asks.clone(),
            yields: Default::default(),
        };
        let thread = thread::spawn(move || service(context));
        Running { reporter, asks, shutdown, thread: Some(thread) }
    }

    /// Waits until the report satisfies `condition`.
    pub fn until(&self, what: &str, condition: impl Fn(&Report) -> bool) {
        let start = Instant::now();
        while !condition(&self.reporter.current()) {
            let said = self.reporter.current();
            assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}; it says {said:#?}");
            thread::park_timeout(PAUSE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.shutdown.send(true);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(ended.is_none_or(|result| result.is_ok()), "the service ended with a failure");
        }
    }
}

/// Logs to where a test that fails shows it, and where [`logged`] looks.
pub fn log() {
    let _ = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log(TestWriter::new())).try_init();
}

/// Whether a line of the log has all of `words`.
pub fn logged(words: &[&str]) -> bool {
    LOG.lock().unwrap().lines().any(|line| words.iter().all(|word| line.contains(word)))
}

static LOG: Mutex<String> = Mutex::new(String::new());

struct Log(TestWriter);

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().push_str(&String::from_utf8_lossy(line));
        self.0.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The deadline of every wait: far above what anything here takes, so that a slow machine fails no test.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for a condition.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        thread::park_timeout(PAUSE);
    }
}

/// A launch for the service `config`.
pub fn launch(name: &str, role: Role, config: Config, state: &Path) -> Launch {
    Launch {
        site: Domain::from("foobar.com"),
        server: ServerName::from("server1"),
        generation: Generation(1),
        service: Service {
            name: ServiceName::from(name),
            role,
            user: role.user(),
            listens: Vec::new(),
            writes: Vec::new(),
            talks: Vec::new(),
            config,
        },
        state: state.to_owned(),
        secrets: secrets(),
        beside: false,
    }
}

/// The same secrets every time.
pub fn secrets() -> Secrets {
    let mut next = 0;
    Secrets::complete(None, [&AppName::from("site")], |bytes| {
        next += 1;
        bytes.fill(next);
    })
}

/// A listener and a datagram socket on the same free port.
pub fn sockets(name: &str) -> (Sockets, u16) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if let Ok(udp) = UdpSocket::bind(("127.0.0.1", port)) {
            return (Sockets { tcp: vec![(name.into(), tcp)], udp: vec![(name.into(), udp)], local: Vec::new() }, port);
        }
    }
}

/// A program's standard output.
pub fn output(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).output().unwrap_or_else(|why| panic!("{program}: {why}"));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// An address that nobody listens on, from below the ports that the kernel gives to connections (ip(7), `ip_local_port_range`): of
/// those, one may belong to another test's connection by the time it is bound. Each process begins elsewhere.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let candidates = std::iter::repeat_with(|| {
        let next = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        SocketAddr::from(([127, 0, 0, 1], 12_000 + (next % 20_000) as u16))
    });
    candidates.take(20_000).find(|address| TcpListener::bind(address).is_ok()).expect("a port is free")
}
