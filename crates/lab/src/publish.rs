//! The site reached from the host: relays from a port of 127.0.0.1 to the front servers, through the `internet`
//! namespace, so that the site sees a client from outside.
//!
//! All relays of a lab share one thread that lives in that namespace. The listening sockets were made on the host
//! before and are carried in; whatever the thread opens, it opens as a client on the internet.

mod holder;
mod tcp;
mod udp;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use anyhow::{Context as _, anyhow};
use mainstay_site::plan::Transport;
use tokio::sync::oneshot;

use crate::namespace;

/// One published port.
#[derive(Clone, Debug)]
pub struct Publication {
    /// `http`, `dns`.
    pub what: String,
    /// TCP or UDP.
    pub transport: Transport,
    /// Where on the host; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The front servers; clients are spread over them, and one that does not answer is passed over.
    pub targets: Targets,
}

/// Where clients go; it may change while they come.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<RwLock<Arc<[SocketAddr]>>>);

impl Targets {
    /// Whoever comes from now on goes there.
    pub fn set(&self, targets: &[SocketAddr]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = targets.into();
    }

    /// Where they go now.
    pub fn now(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<Vec<SocketAddr>> for Targets {
    fn from(targets: Vec<SocketAddr>) -> Targets {
        Targets(Arc::new(RwLock::new(targets.into())))
    }
}

/// A port that cannot be had.
#[derive(Debug)]
pub struct Taken {
    /// What it was for.
    pub what: String,
    /// Where.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub transport: Transport,
    /// Who has it, if the kernel says: `nginx (process 812)`.
    pub holder: Option<String>,
    /// What the kernel said.
    pub error: io::Error,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Taken { what, address, holder, error, .. } = self;
        match (error.kind(), holder) {
            (ErrorKind::AddrInUse, Some(holder)) => write!(f, "{address} for {what} is taken by {holder}"),
            (ErrorKind::AddrInUse, None) => write!(f, "{address} for {what} is taken by another process"),
            _ => write!(f, "{address} for {what} cannot be listened on: {error}"),
        }
    }
}

impl std::error::Error for Taken {}

/// Published ports that are held but not served yet; clients wait in the queue.
pub struct Bound(Vec<(Publication, Socket)>);

enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Bound {
    /// Takes the ports, all or none.
    pub fn bind(publications: Vec<Publication>) -> Result<Bound, Taken> {
        let bound = publications.into_iter().map(|publication| {
            let socket = bind(&publication).map_err(|error| Taken::because(&publication, error))?;
            Ok((publication, socket))
        });
        bound.collect::<Result<_, _>>().map(Bound)
    }

    /// What is published where, with the ports that were free in the place of 0.
    pub fn addresses(&self) -> Vec<(String, Transport, SocketAddr)> {
        let address = |publication: &Publication, socket: &Socket| {
            let bound = match socket {
                Socket::Tcp(listener) => listener.local_addr(),
                Socket::Udp(socket) => socket.local_addr(),
            };
            bound.unwrap_or(publication.listen)
        };
        self.0.iter().map(|(one, socket)| (one.what.clone(), one.transport, address(one, socket))).collect()
    }

    /// Serves them from the network namespace `inside`, or from the host's if `None`.
    pub fn serve(self, inside: Option<&str>) -> anyhow::Result<Relays> {
        let (stop, stopped) = oneshot::channel();
        let (ready, outcome) = mpsc::sync_channel(1);
        let inside = inside.map(str::to_owned);
        let thread = std::thread::Builder::new().name("relays".into()).spawn(move || {
            let begun = begin(inside.as_deref());
            let (runtime, outcome) = match begun {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Nobody listens only if the caller is gone, and then so is the reason to serve.
            let _ = ready.send(outcome);
            if let Some(runtime) = runtime {
                runtime.block_on(relay(self.0, stopped));
            }
        })?;
        outcome.recv().context("the relays' thread ended at once")??;
        Ok(Relays { stop: Some(stop), thread: Some(thread) })
    }
}

impl Taken {
    fn because(publication: &Publication, error: io::Error) -> Taken {
        let in_use = error.kind() == ErrorKind::AddrInUse;
        Taken {
            what: publication.what.clone(),
            address: publication.listen,
            transport: publication.transport,
            holder: in_use.then(|| holder::of(publication.listen.port(), publication.transport)).flatten(),
            error,
        }
    }
}

/// Relays at work; dropping them closes the ports and cuts what goes through them.
pub struct Relays {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Relays {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the relays' thread panicked");
        }
    }
}

/// Connections that wait for `accept`, as many as before a service: of the standard library's 128 a crowd's connections wait seconds.
const BACKLOG: i32 = 4096;

fn bind(publication: &Publication) -> io::Result<Socket> {
    Ok(match publication.transport {
        Transport::Tcp => {
            let listener = TcpListener::bind(publication.listen)?;
            rustix::net::listen(&listener, BACKLOG)?;
            listener.set_nonblocking(true)?;
            Socket::Tcp(listener)
        }
        Transport::Udp => {
            let socket = UdpSocket::bind(publication.listen)?;
            socket.set_nonblocking(true)?;
            Socket::Udp(socket)
        }
    })
}

fn begin(inside: Option<&str>) -> anyhow::Result<tokio::runtime::Runtime> {
    if let Some(name) = inside {
        namespace::enter(name)?;
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| anyhow!(error))
}

async fn relay(bound: Vec<(Publication, Socket)>, stopped: oneshot::Receiver<()>) {
    for (publication, socket) in bound {
        match socket {
            Socket::Tcp(listener) => tokio::spawn(tcp::relay(publication, listener)),
            Socket::Udp(socket) => tokio::spawn(udp::relay(publication, socket)),
        };
    }
    // Ends by the sender's going away; nothing is ever sent.
    let _ = stopped.await;
}
