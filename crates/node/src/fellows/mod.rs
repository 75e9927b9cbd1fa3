//! What the front doors of a site tell each other, so that they hold to declared rates together: datagrams, ten times a second,
//! in which each says what it has admitted and whom it has banned (`machines::limiter` says how far off that is).

mod datagram;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use mainstay_http::{Live, Rate};
use mainstay_site::names::ServerName;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use self::datagram::{Seal, decode, encode, split};

/// Between two times that the others are told: what is admitted twice is what comes in within it, and ten small datagrams a second
/// cost nothing. Rates are of seconds at least.
pub(crate) const PERIOD: Duration = Duration::from_millis(100);

/// After so many periods something is said even if there is nothing to say, so that a door that is not heard can be named.
const SIGN_OF_LIFE: u32 = 10;

/// How sharing goes, for the report.
#[derive(Default)]
pub(crate) struct Shared {
    fellows: ArcSwap<Vec<(ServerName, SocketAddr)>>,
    /// When each was heard last.
    heard: ArcSwap<BTreeMap<IpAddr, Instant>>,
    disbelieved: AtomicU64,
}

impl Shared {
    /// Whom to tell from now on.
    pub(crate) fn follow(&self, fellows: &[(ServerName, SocketAddr)]) {
        self.fellows.store(Arc::new(fellows.to_vec()));
    }

    /// `rates shared with`: `lb2 (heard 0.1 s ago)`; nothing where nobody is to be told.
    pub(crate) fn fact(&self) -> Option<(String, String)> {
        let (fellows, heard) = (self.fellows.load(), self.heard.load());
        let told = |(name, at): &(ServerName, SocketAddr)| match heard.get(&at.ip()) {
            Some(when) => format!("{name} (heard {:.1} s ago)", when.elapsed().as_secs_f64()),
            None => format!("{name} (not heard yet)"),
        };
        let all: Vec<String> = fellows.iter().map(told).collect();
        (!all.is_empty()).then(|| ("rates shared with".to_owned(), all.join(", ")))
    }

    /// Datagrams that were not believed: forged, replayed, or of somebody whose clock is far behind.
    pub(crate) fn disbelieved(&self) -> u64 {
        self.disbelieved.load(Ordering::Relaxed)
    }
}

/// The seed by which all doors number visitors alike.
pub(crate) fn seed(secret: &str) -> u64 {
    let hash = sign(&Key::new(HMAC_SHA256, secret.as_bytes()), b"numbers of visitors");
    let mut seed = [0; 8];
    seed.copy_from_slice(&hash.as_ref()[..8]);
    u64::from_be_bytes(seed)
}

/// Tells and hears on a thread of its own until asked to end.
///
/// # Errors
/// The socket cannot be used, or the thread not be started.
pub(crate) fn spawn(
    socket: UdpSocket,
    secret: &str,
    live: Live,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let own = socket.local_addr()?.ip();
    socket.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut exchange = Exchange { seal: Seal::new(secret, own), live, shared, silent: 0 };
    std::thread::Builder::new().name("limits".into()).spawn(move || {
        runtime.block_on(async {
            let socket = match tokio::net::UdpSocket::from_std(socket) {
                Ok(socket) => socket,
                Err(error) => return tracing::error!("rates are not shared with the other doors: {error}"),
            };
            tokio::select! {
                () = exchange.run(&socket) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            exchange.leave(&socket);
        });
    })
}

struct Exchange {
    seal: Seal,
    live: Live,
    shared: Arc<Shared>,
    /// Periods in which nothing was said.
    silent: u32,
}

impl Exchange {
    async fn run(&mut self, socket: &tokio::net::UdpSocket) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut datagram = [0; 2048];
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tell(socket),
                got = socket.recv_from(&mut datagram) => match got {
                    Ok((length, from)) => self.hear(from.ip(), &datagram[..length]),
                    // What an earlier datagram came to: nobody listens there.
                    Err(error) => tracing::debug!("a fellow door cannot be told: {error}"),
                },
            }
        }
    }

    /// The last words have all bans: whoever takes this process's place, and that of a fellow who begins anew at the same time, asks
    /// the others.
    fn leave(&mut self, socket: &tokio::net::UdpSocket) {
        self.live.config().rates.iter().for_each(|rate| rate.repeat());
        self.tell(socket);
    }

    fn tell(&mut self, socket: &tokio::net::UdpSocket) {
        let (config, fellows) = (self.live.config(), self.shared.fellows.load_full());
        let now = Instant::now();
        // Who has not heard everybody yet goes on asking.
        let complete = fellows.iter().all(|(_, at)| self.seal.has_heard(at.ip()));
        let due = !complete || self.silent + 1 >= SIGN_OF_LIFE;
        self.silent = if due { 0 } else { self.silent + 1 };
        for rate in &config.rates {
            rate.share(!fellows.is_empty());
            let message = rate.tell(now);
            if message.is_empty() && !due {
                continue;
            }
            for part in split(&message) {
                for (_, at) in fellows.iter() {
                    let new = !self.seal.has_heard(at.ip());
                    let datagram = self.seal.put(encode(rate.number(), new, &part));
                    // A full buffer loses it, as the network may.
                    let _ = socket.try_send_to(&datagram, *at);
                }
            }
        }
    }

    fn hear(&mut self, from: IpAddr, datagram: &[u8]) {
        let fellow = self.shared.fellows.load().iter().any(|(_, at)| at.ip() == from);
        let opened = self.seal.open(from, datagram).filter(|_| fellow).and_then(decode);
        let Some((number, new, message)) = opened else {
            self.shared.disbelieved.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut heard = BTreeMap::clone(&self.shared.heard.load());
        heard.insert(from, Instant::now());
        self.shared.heard.store(Arc::new(heard));
        if new {
            self.live.config().rates.iter().for_each(|rate| rate.repeat());
        }
        // A rate that only one of us knows yet: the other follows another generation.
        let config = self.live.config();
        if let Some(rate) = config.rates.iter().find(|rate: &&Arc<Rate>| rate.number() == number) {
            rate.hear(Instant::now(), &message);
        }
    }
}
