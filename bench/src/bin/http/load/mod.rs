//! The clients and the backends, as one loop: on one core two threads would wait for each other.
//!
//! Requests have times; what is late because nobody was free counts from its time, so that a slow contender cannot hide
//! its queue (Tene's coordinated omission).

mod backends;

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustls::ClientConfig;

use backends::Backends;

use super::arena::HAPROXY;
use super::cases::{Case, From, Wire};
use super::channel::{self, Channel};
use super::contender::Contender;
use super::http2;

const BUFFER_BYTES: usize = 256 * 1024;
/// How long one contender is measured at a time, and how long it is loaded before.
const MEASURE: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_millis(300);
/// For h2load, which counts and does not time.
const H2_REQUESTS: u32 = 30_000;
/// A request that takes longer is a failure of the contender.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen of one contender in one round.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub cpu_us: f64,
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// Memory for each connection.
    pub bytes: f64,
}

pub struct Load {
    epoll: OwnedFd,
    backends: Backends,
    clients: HashMap<u64, Client>,
    idle: VecDeque<u64>,
    buffer: Vec<u8>,
    /// A closed loop asks again at once.
    closed_loop: bool,
    request: Vec<u8>,
    latencies: Vec<u32>,
    failed: Option<String>,
    expected: usize,
    tls: Arc<ClientConfig>,
    /// Each request has a connection of its own, to this address.
    anew: Option<SocketAddr>,
}

struct Client {
    channel: Channel,
    due: Instant,
    /// Of the answer's head, until it is complete.
    head: Vec<u8>,
    /// Of the answer's body; `None` while the head is read.
    left: Option<usize>,
    waits: bool,
    /// Bytes of its request.
    unsent: usize,
}

impl Load {
    pub fn new() -> Result<Load> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // HAProxy's log: taken and forgotten.
        let log = UdpSocket::bind((HAPROXY, 5140))?;
        std::thread::spawn(move || {
            let mut line = [0; 4096];
            while log.recv(&mut line).is_ok() {}
        });
        Ok(Load {
            epoll,
            backends: Backends::default(),
            clients: HashMap::new(),
            idle: VecDeque::new(),
            buffer: vec![0; BUFFER_BYTES],
            closed_loop: false,
            request: Vec::new(),
            latencies: Vec::new(),
            failed: None,
            expected: 0,
            tls: channel::config(&[])?,
            anew: None,
        })
    }

    /// What is behind the contenders from now on, and what is asked of them.
    pub fn stand_behind(&mut self, case: &Case) -> Result<()> {
        self.expected = case.body;
        self.backends.stand(case, &self.epoll)
    }

    /// Lets the backends answer whoever asks.
    pub fn serve_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.step(end)?;
        }
        Ok(())
    }

    /// One request, to see whether the contender serves.
    pub fn once(&mut self, contender: &Contender, case: &Case) -> Result<()> {
        self.begin(contender, case, 1)?;
        self.closed_loop = false;
        let sent = Instant::now();
        self.ask(sent);
        while self.latencies.is_empty() && self.failed.is_none() && sent.elapsed() < Duration::from_secs(1) {
            self.step(sent + Duration::from_secs(1))?;
        }
        let answered = !self.latencies.is_empty();
        let failed = self.end();
        ensure!(answered && failed.is_none(), "no answer: {failed:?}");
        Ok(())
    }

    /// Measures a contender.
    pub fn run(&mut self, contender: &Contender, case: &Case) -> Result<Figures> {
        match case.wire {
            Wire::Http2 => return self.h2load(contender, case),
            Wire::Idle | Wire::IdleTls | Wire::IdleHttp2 => return self.idle(contender, case),
            Wire::Clear | Wire::Anew | Wire::Tls | Wire::Handshake => {}
        }
        self.begin(contender, case, case.connections)?;
        self.closed_loop = case.rate.is_none();
        match case.rate {
            Some(rate) => self.open_loop(rate, WARM_UP)?,
            None => self.closed_loop(WARM_UP)?,
        }
        self.latencies.clear();
        let (cpu, start) = (contender.cpu_ns()?, Instant::now());
        match case.rate {
            Some(rate) => self.open_loop(rate, MEASURE)?,
            None => self.closed_loop(MEASURE)?,
        }
        let (cpu, took) = (contender.cpu_ns()? - cpu, start.elapsed());
        let mut latencies = std::mem::take(&mut self.latencies);
        if let Some(failed) = self.end() {
            bail!("a request failed: {failed}");
        }
        latencies.sort_unstable();
        let count = latencies.len();
        ensure!(count > 0, "no request was answered");
        let share = |share: f64| f64::from(latencies[((count - 1) as f64 * share) as usize]);
        Ok(Figures {
            cpu_us: cpu as f64 / 1e3 / count as f64,
            per_second: count as f64 / took.as_secs_f64(),
            p50_us: share(0.5),
            p99_us: share(0.99),
            p999_us: share(0.999),
            bytes: 0.0,
        })
    }

    /// Many requests at once on each connection, by somebody else's client.
    fn h2load(&mut self, contender: &Contender, case: &Case) -> Result<Figures> {
        let (count, clients) = (H2_REQUESTS.to_string(), case.connections.to_string());
        let url = format!("https://{}{}", contender.address(case), path(case));
        let body = contender.folder.join("posted");
        fs::write(&body, vec![b'x'; case.posted])?;
        let posts = if case.posted > 0 { vec!["-d".into(), body] } else { Vec::new() };
        let mut load = |count: &str| -> Result<()> {
            let mut child = Command::new("h2load")
                .args(["-n", count, "-c", &clients, "-m", "32", &url])
                .args(&posts)
                .stdout(Stdio::piped())
                .spawn()
                .context("h2load is in nghttp2-client")?;
            while child.try_wait()?.is_none() {
                self.serve_for(Duration::from_millis(1))?;
            }
            let said = String::from_utf8(child.wait_with_output()?.stdout)?;
            ensure!(said.contains(&format!("{count} succeeded, 0 failed")), "h2load says: {said}");
            Ok(())
        };
        load("2000")?;
        let (cpu, start) = (contender.cpu_ns()?, Instant::now());
        load(&count)?;
        let (cpu, took) = (contender.cpu_ns()? - cpu, start.elapsed());
        let cpu_us = cpu as f64 / 1e3 / f64::from(H2_REQUESTS);
        let per_second = f64::from(H2_REQUESTS) / took.as_secs_f64();
        Ok(Figures { cpu_us, per_second, p50_us: 0.0, p99_us: 0.0, p999_us: 0.0, bytes: 0.0 })
    }

    /// What connections cost that do nothing.
    fn idle(&mut self, contender: &Contender, case: &Case) -> Result<Figures> {
        self.serve_for(WARM_UP)?;
        let before = contender.memory_bytes()?;
        self.begin(contender, case, 0)?;
        while self.clients.len() < case.connections {
            for _ in 0..50 {
                self.open(contender.address(case), case.wire.is_encrypted())?;
            }
            let asked = self.idle.len();
            (0..asked).for_each(|_| self.ask(Instant::now()));
            let start = Instant::now();
            while self.idle.len() < asked && self.failed.is_none() {
                self.step(start + PATIENCE)?;
                ensure!(start.elapsed() < PATIENCE, "{} connections are all that it takes", self.clients.len());
            }
            self.idle.clear();
        }
        self.serve_for(MEASURE)?;
        let bytes = contender.memory_bytes()?.saturating_sub(before) as f64 / case.connections as f64;
        if let Some(failed) = self.end() {
            bail!("a request failed: {failed}");
        }
        // They close them too.
        self.serve_for(WARM_UP)?;
        Ok(Figures { cpu_us: 0.0, per_second: 0.0, p50_us: 0.0, p99_us: 0.0, p999_us: 0.0, bytes })
    }

    fn begin(&mut self, contender: &Contender, case: &Case, connections: usize) -> Result<()> {
        // Caches keep nothing for who has a cookie, unless they are told to.
        let cookie = if case.from == From::Cache { "" } else { "Cookie: session=0123456789abcdef\r\n" };
        let (method, length) = match case.posted {
            0 => ("GET", String::new()),
            bytes => ("POST", format!("Content-Length: {bytes}\r\n")),
        };
        let close = if case.wire == Wire::Anew { "Connection: close\r\n" } else { "" };
        self.request = format!(
            "{method} {} HTTP/1.1\r\nHost: www.foobar.com\r\nUser-Agent: bench\r\nAccept: */*\r\n\
             Accept-Language: en\r\n{length}{cookie}{close}\r\n",
            path(case)
        )
        .into_bytes();
        self.request.resize(self.request.len() + case.posted, b'x');
        let speaks: &[&str] = if case.wire == Wire::IdleHttp2 { &["h2"] } else { &[] };
        self.tls = channel::config(speaks)?;
        if case.wire == Wire::IdleHttp2 {
            self.request = http2::request();
        }
        self.failed = None;
        self.anew = matches!(case.wire, Wire::Anew | Wire::Handshake).then(|| contender.address(case));
        (0..connections).try_for_each(|_| self.open(contender.address(case), case.wire.is_encrypted()))
    }

    /// Another client.
    fn open(&mut self, to: SocketAddr, encrypted: bool) -> Result<()> {
        let channel = Channel::open(to, encrypted.then_some(&self.tls))?;
        let key = watch(&self.epoll, channel.socket())?;
        let client = Client { channel, due: Instant::now(), head: Vec::new(), left: None, waits: false, unsent: 0 };
        self.clients.insert(key, client);
        self.idle.push_back(key);
        Ok(())
    }

    /// Closes the clients' connections; what went wrong, if anything did.
    fn end(&mut self) -> Option<String> {
        self.clients.clear();
        self.idle.clear();
        self.latencies.clear();
        self.failed.take()
    }

    fn closed_loop(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while !self.idle.is_empty() {
            self.ask(Instant::now());
        }
        while Instant::now() < end && self.failed.is_none() {
            self.step(end)?;
        }
        Ok(())
    }

    fn open_loop(&mut self, rate: u32, time: Duration) -> Result<()> {
        let (gap, start) = (Duration::from_secs(1) / rate, Instant::now());
        let mut due = start;
        while due < start + time && self.failed.is_none() {
            while due <= Instant::now() && !self.idle.is_empty() {
                self.ask(due);
                due += gap;
            }
            // Nobody is free: the request is late, and counts from its time.
            let until = if self.idle.is_empty() { Instant::now() + PATIENCE } else { due };
            self.step(until)?;
            ensure!(due + PATIENCE > Instant::now(), "it does not keep up with {rate} requests a second");
        }
        Ok(())
    }

    fn ask(&mut self, due: Instant) {
        let Some(key) = self.idle.pop_front() else { return };
        let Some(client) = self.clients.get_mut(&key) else { return };
        (client.due, client.left, client.waits) = (due, None, true);
        client.head.clear();
        client.unsent = self.request.len();
        self.send(key);
    }

    /// A client sends what is left of its request.
    fn send(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        while client.unsent > 0 {
            match client.channel.send(&self.request[self.request.len() - client.unsent..]) {
                Ok(count) => client.unsent -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.failed = Some(format!("the request could not be sent: {error}"));
                    return;
                }
            }
        }
    }

    /// Waits for something to happen until `until`, and does what follows.
    fn step(&mut self, until: Instant) -> Result<()> {
        let until = self.backends.due().map_or(until, |due| until.min(due));
        let left = until.saturating_duration_since(Instant::now());
        let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut events = Vec::with_capacity(256);
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&time))?;
        for event in events {
            let key = event.data.u64();
            if self.clients.contains_key(&key) {
                self.send(key);
                self.hear(key);
            } else {
                self.backends.happened(key, &self.epoll, &mut self.buffer)?;
            }
        }
        self.backends.answer_due();
        Ok(())
    }

    /// A client hears.
    fn hear(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        loop {
            let count = match client.channel.read(&mut self.buffer) {
                Ok(0) => {
                    if let (Some(to), false) = (self.anew, client.waits) {
                        return self.another(key, to);
                    }
                    self.failed = Some("the connection was closed".into());
                    return;
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.failed = Some(error.to_string());
                    return;
                }
            };
            let mut bytes = &self.buffer[..count];
            if client.left.is_none() {
                let before = client.head.len();
                client.head.extend_from_slice(bytes);
                if self.request.starts_with(http2::PREFACE) {
                    // Of frames it is enough to see the body: none is in pieces.
                    let body = self.backends.body(self.expected);
                    if find(&client.head, body).is_some() && std::mem::take(&mut client.waits) {
                        self.latencies.push(client.due.elapsed().as_micros() as u32);
                        self.idle.push_back(key);
                    }
                    continue;
                }
                let Some(end) = find(&client.head, b"\r\n\r\n") else { continue };
                bytes = &bytes[end + 4 - before..];
                client.left = length(&client.head[..end]);
                if client.left != Some(self.expected) || !client.head.starts_with(b"HTTP/1.1 200 ") {
                    self.failed = Some(String::from_utf8_lossy(&client.head).into_owned());
                    return;
                }
            }
            let left = client.left.get_or_insert(0);
            *left = left.saturating_sub(bytes.len());
            if *left == 0 && client.waits {
                client.waits = false;
                self.latencies.push(client.due.elapsed().as_micros() as u32);
                if let Some(to) = self.anew {
                    // Who closes first keeps the port for a minute: in clear that is left to the contender, as it was asked to.
                    match client.channel {
                        Channel::Clear(_) => continue,
                        Channel::Tls(..) => return self.another(key, to),
                    }
                }
                self.idle.push_back(key);
                if self.closed_loop {
                    return self.ask(Instant::now());
                }
            }
            if count < self.buffer.len() && matches!(client.channel, Channel::Clear(_)) {
                return;
            }
        }
    }

    /// The next request has a connection of its own.
    fn another(&mut self, old: u64, to: SocketAddr) {
        let encrypted = self.clients.remove(&old).is_some_and(|client| matches!(client.channel, Channel::Tls(..)));
        if let Err(error) = self.open(to, encrypted) {
            self.failed = Some(error.to_string());
        }
        if self.closed_loop {
            self.ask(Instant::now());
        }
    }
}

/// Has the loop hear of a connection; by which number.
fn watch(epoll: &OwnedFd, stream: &TcpStream) -> Result<u64> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let key = stream.as_raw_fd() as u64;
    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
    epoll::add(epoll, stream.as_fd(), EventData::new_u64(key), flags)?;
    Ok(key)
}

/// What is asked for.
fn path(case: &Case) -> &'static str {
    if case.from == From::Files { "/static/file.bin" } else { "/" }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

fn length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}
