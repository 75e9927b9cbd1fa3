//! Datagrams: each client gets a socket of its own towards one front server, so that answers find their way back.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Publication;

/// Clients at a time; the oldest makes room. Each takes one descriptor for [`SILENCE_MAX`].
const CLIENTS_MAX: usize = 500;

/// A client whose server is silent for so long is forgotten. dig and resolvers ask again after 5 s at most.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The largest datagram there is.
const DATAGRAM_BYTES: usize = 65_535;

struct Client {
    upstream: Arc<Upstream>,
    answers: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

struct Upstream {
    socket: UdpSocket,
    targets: Arc<[SocketAddr]>,
    /// Which front server is asked.
    turn: AtomicUsize,
    /// Questions since the last answer.
    unanswered: AtomicUsize,
}

pub async fn relay(publication: Publication, socket: std::net::UdpSocket) {
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => Arc::new(socket),
        Err(error) => return tracing::error!(%error, what = publication.what, "the published port cannot be served"),
    };
    let (mut clients, mut turn) = (Clients::default(), 0_usize);
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        // An ICMP error of an earlier answer shows here; it is about a client that has gone.
        let Ok((bytes, from)) = socket.recv_from(&mut buffer).await else { continue };
        let upstream = match clients.find(&from) {
            Some(known) => known,
            None => match Upstream::open(&publication.targets.now(), turn).await {
                Ok(upstream) => clients.add(from, upstream, &socket),
                Err(error) => {
                    tracing::warn!(%error, "a client's datagram cannot be relayed");
                    continue;
                }
            },
        };
        turn = turn.wrapping_add(1);
        upstream.ask(&buffer[..bytes]).await;
    }
}

/// The clients with a socket, oldest first.
#[derive(Default)]
struct Clients {
    known: HashMap<SocketAddr, Client>,
    order: VecDeque<SocketAddr>,
}

impl Clients {
    fn find(&self, from: &SocketAddr) -> Option<Arc<Upstream>> {
        let client = self.known.get(from).filter(|client| !client.answers.is_finished())?;
        Some(Arc::clone(&client.upstream))
    }

    fn add(&mut self, from: SocketAddr, upstream: Upstream, back: &Arc<UdpSocket>) -> Arc<Upstream> {
        self.make_room();
        let upstream = Arc::new(upstream);
        let answers = tokio::spawn(answers(Arc::clone(&upstream), Arc::clone(back), from));
        if self.known.insert(from, Client { upstream: Arc::clone(&upstream), answers }).is_none() {
            self.order.push_back(from);
        }
        upstream
    }

    fn make_room(&mut self) {
        let known = &mut self.known;
        known.retain(|_, client| !client.answers.is_finished());
        self.order.retain(|from| known.contains_key(from));
        if self.order.len() >= CLIENTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Upstream {
    async fn open(targets: &Arc<[SocketAddr]>, turn: usize) -> io::Result<Upstream> {
        let v4 = targets.first().is_none_or(SocketAddr::is_ipv4);
        let any = if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
        Ok(Upstream { socket, targets: Arc::clone(targets), turn: turn.into(), unanswered: 0.into() })
    }

    /// Sends a question on. A client that asks again without an answer to the last gets the next server.
    async fn ask(&self, datagram: &[u8]) {
        if self.unanswered.fetch_add(1, Relaxed) > 0 {
            self.turn.fetch_add(1, Relaxed);
        }
        for _ in 0..self.targets.len() {
            let target = self.targets[self.turn.load(Relaxed) % self.targets.len()];
            match self.socket.send_to(datagram, target).await {
                Ok(_) => return,
                // Another family than the socket's, or no way there.
                Err(_) => self.turn.fetch_add(1, Relaxed),
            };
        }
    }
}

/// Carries answers back until the server has been silent for [`SILENCE_MAX`].
async fn answers(upstream: Arc<Upstream>, back: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    while let Ok(answer) = timeout(SILENCE_MAX, upstream.socket.recv_from(&mut buffer)).await {
        // Only the site's own servers are listened to.
        let Ok((bytes, from)) = answer else { continue };
        if upstream.targets.contains(&from) {
            upstream.unanswered.store(0, Relaxed);
            let _ = back.send_to(&buffer[..bytes], client).await;
        }
    }
}
