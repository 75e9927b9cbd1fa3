//! The contract between the supervisor and a service, seen from the service.
//!
//! A service is the process `mainstay service NAME`. It is given, by inheritance:
//! - a [`Launch`] as JSON in the file descriptor that `MAINSTAY_LAUNCH_FD` names (a memfd: secrets touch no disk);
//! - its listening sockets from descriptor 3 on, counted by `LISTEN_FDS` and named by `LISTEN_FDNAMES`, as
//!   sd_listen_fds(3) has it;
//! - standard output and error: its log stream, a JSON object a line from Mainstay, anything from foreign programs.
//!
//! It answers on `run/NAME/report.sock`, which only its own user and root may connect to (unix(7): it takes the permission to
//! write): `GET /v1/report` with its [`Report`]; `PUT /v1/launch` with a [`Launch`] that is to take the place of the one that
//! it has, to which it says 204 once it follows it, 409 if it must be restarted for that, and 422 if nobody could follow it.
//! `POST /v1/database` with an [`Ask`] is for the database alone, `POST /v1/vip` with a [`Wish`] for who speaks for floating addresses.
//! `POST /v1/purge` with a [`Purge`] takes answers out of its cache, if it has one, and says how many. SIGTERM asks it to
//! finish what it has and end with 0.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use mainstay_site::names::{Domain, Generation, ServerName};
use mainstay_site::plan::Service;
use mainstay_site::secrets::Secrets;
use mainstay_site::wire::upkeep::{Ask, Told};
use mainstay_site::wire::vip::{View, Wish};
use mainstay_site::wire::{Purge, Refusal, Report, State};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

/// Everything that a service must know at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    /// The site.
    pub site: Domain,
    /// The server that it runs on.
    pub server: ServerName,
    /// The plan's generation.
    pub generation: Generation,
    /// Its part of the plan.
    pub service: Service,
    /// The server's state directory, absolute.
    pub state: PathBuf,
    /// Only the secrets that it needs.
    pub secrets: Secrets,
    /// The process that it is to replace runs still, and is asked to end once this one serves.
    #[serde(default)]
    pub beside: bool,
}

impl Launch {
    /// The folder for its own sockets and pid files: `run/NAME`.
    pub fn run_folder(&self) -> PathBuf {
        self.state.join("run").join(self.service.name.as_str())
    }
}

/// What a service runs with.
pub struct Context {
    /// What it is.
    pub launch: Launch,
    /// What it listens on.
    pub sockets: Sockets,
    /// Where it says how it is.
    pub reporter: Reporter,
    /// When to end.
    pub shutdown: Shutdown,
    /// Where it is told that its launch has changed.
    pub launches: Launches,
    /// Where it is told to forget.
    pub purges: Purges,
    /// Where it is asked what takes its time.
    pub asks: Asks,
    /// Where it is told to hand over what floats.
    pub yields: Yields,
}

/// The listening sockets that were handed over, with the name of their [`mainstay_site::plan::Listen`].
#[derive(Default)]
pub struct Sockets {
    /// Streams, already listening.
    pub tcp: Vec<(String, TcpListener)>,
    /// Datagrams.
    pub udp: Vec<(String, UdpSocket)>,
    /// For the other tiers of this server, one per core: [`mainstay_site::plan::local_sockets`].
    pub local: Vec<UnixListener>,
}

impl Sockets {
    /// Takes every TCP listener called `name`: one per core where the plan says so.
    pub fn take_tcp(&mut self, name: &str) -> Vec<TcpListener> {
        let (taken, kept) = std::mem::take(&mut self.tcp).into_iter().partition(|(is, _)| is == name);
        self.tcp = kept;
        Vec::into_iter(taken).map(|(_, socket)| socket).collect()
    }

    /// Takes every UDP socket called `name`.
    pub fn take_udp(&mut self, name: &str) -> Vec<UdpSocket> {
        let (taken, kept) = std::mem::take(&mut self.udp).into_iter().partition(|(is, _)| is == name);
        self.udp = kept;
        Vec::into_iter(taken).map(|(_, socket)| socket).collect()
    }
}

/// Where a service says how it is; cheap to clone, swapped whole.
#[derive(Clone)]
pub struct Reporter(Arc<ArcSwap<Report>>, Arc<ArcSwap<Annex>>);

/// What a part of a service with a thread of its own adds to the report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annex {
    /// Further facts.
    pub facts: Vec<(String, String)>,
    /// What degrades a service that serves.
    pub fault: Option<String>,
}

impl Default for Reporter {
    fn default() -> Self {
        let report = Report {
            state: State::Starting,
            because: "just started".into(),
            facts: Vec::new(),
            parts: Vec::new(),
            counters: Default::default(),
        };
        Reporter(Arc::new(ArcSwap::from_pointee(report)), Arc::default())
    }
}

impl Reporter {
    /// Replaces the report.
    pub fn publish(&self, report: Report) {
        self.0.store(Arc::new(report));
    }

    /// Replaces the report, and logs what it says if that is new.
    pub fn announce(&self, report: Report) {
        let (state, because) = (report.state.as_str(), &report.because);
        if self.current().because != report.because {
            match report.state {
                State::Failed => tracing::error!(state, "{because}"),
                _ => tracing::info!(state, "{because}"),
            }
        }
        self.publish(report);
    }

    /// Replaces what is added to it.
    pub fn annex(&self, annex: Annex) {
        self.1.store(Arc::new(annex));
    }

    /// The report with what is added to it, as others get it.
    pub fn told(&self) -> Report {
        let (mut report, annex) = (Report::clone(&self.current()), self.1.load());
        report.facts.extend(annex.facts.iter().cloned());
        if let (State::Serving, Some(fault)) = (report.state, &annex.fault) {
            (report.state, report.because) = (State::Degraded, fault.clone());
        }
        report
    }

    /// The report as it stands.
    pub fn current(&self) -> Arc<Report> {
        self.0.load_full()
    }
}

/// Tells when to end; cheap to clone.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A switch and what it switches: send `true` to end.
    pub fn new() -> (watch::Sender<bool>, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (sender, Shutdown(receiver))
    }

    /// The switch itself, for whoever watches it in a way of its own.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }

    /// Returns once the service is asked to end (also when whoever would ask is gone).
    pub async fn requested(&mut self) {
        let _ = self.0.wait_for(|end| *end).await;
    }
}

/// Where the database is asked and given orders (`POST /v1/database`).
#[derive(Clone, Default)]
pub struct Asks(Arc<OnceLock<mpsc::Sender<Request>>>);

/// A question, and where its answer goes.
pub struct Request {
    /// What is asked.
    pub ask: Ask,
    /// The answer.
    pub answer: oneshot::Sender<Result<Told, Refusal>>,
}

impl Asks {
    /// Questions that wait. Each is answered within seconds; more than these at once means that somebody runs wild.
    const WAITING_MAX: usize = 16;

    /// Has them come here. Only the first who asks is asked.
    pub fn follow(&self) -> mpsc::Receiver<Request> {
        let (sender, receiver) = mpsc::channel(Asks::WAITING_MAX);
        let _ = self.0.set(sender);
        receiver
    }

    /// Asks; `None` where nobody answers such questions, or too many wait.
    pub async fn ask(&self, ask: Ask) -> Option<Result<Told, Refusal>> {
        let (answer, answered) = oneshot::channel();
        self.0.get()?.try_send(Request { ask, answer }).ok()?;
        answered.await.ok()
    }
}

/// A wish, and where its answer goes.
pub type Wished = (Wish, oneshot::Sender<View>);

/// Where who speaks for floating addresses is told to hand them over (`POST /v1/vip`).
#[derive(Clone, Default)]
pub struct Yields(Arc<OnceLock<mpsc::Sender<Wished>>>);

impl Yields {
    /// Wishes that wait; each is answered at once.
    const WAITING_MAX: usize = 4;

    /// Has them come here. Only the first who asks is asked.
    pub fn follow(&self) -> mpsc::Receiver<Wished> {
        let (sender, receiver) = mpsc::channel(Yields::WAITING_MAX);
        let _ = self.0.set(sender);
        receiver
    }

    /// Tells a wish; `None` where nobody has such addresses, or too many wait.
    pub async fn tell(&self, wish: Wish) -> Option<View> {
        let (answer, answered) = oneshot::channel();
        self.0.get()?.try_send((wish, answer)).ok()?;
        answered.await.ok()
    }
}

/// Takes answers out of a cache and says how many addresses that were; `None` where there is no cache.
type Forget = dyn Fn(&Purge) -> Option<u64> + Send + Sync;

/// Where a service with a cache is told to forget what is stale.
#[derive(Clone, Default)]
pub struct Purges(Arc<OnceLock<Box<Forget>>>);

impl Purges {
    /// Has `forget` answer, in milliseconds: it holds up the thread of signals and reports. Only the first who asks is heard.
    pub fn answer(&self, forget: impl Fn(&Purge) -> Option<u64> + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(forget));
    }

    /// How many addresses were taken out; `None` where there is no cache.
    pub fn ask(&self, purge: &Purge) -> Option<u64> {
        self.0.get()?(purge)
    }
}

/// Where a service is told that its launch has changed. One that does not ask to be told is restarted instead.
#[derive(Clone, Default)]
pub struct Launches(Arc<OnceLock<mpsc::Sender<Offer>>>);

/// A launch that is to take the place of the one before, in the running process.
pub struct Offer {
    /// What it is to be.
    pub launch: Launch,
    /// Whether it is.
    pub answer: oneshot::Sender<Result<(), Declined>>,
}

/// Why a service does not follow a launch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// A new process can.
    #[error("{0}")]
    Restart(String),
    /// Nobody could: it stays with the one before.
    #[error("{0}")]
    Unusable(String),
}

impl Launches {
    /// Offers that wait. There is one supervisor, which asks one thing after the other.
    const WAITING_MAX: usize = 1;

    /// Asks to be told. Only the first who asks is.
    pub fn follow(&self) -> mpsc::Receiver<Offer> {
        let (sender, receiver) = mpsc::channel(Launches::WAITING_MAX);
        let _ = self.0.set(sender);
        receiver
    }

    /// Offers a launch to the service.
    ///
    /// # Errors
    /// [`Declined`].
    pub async fn offer(&self, launch: Launch) -> Result<(), Declined> {
        let deaf = || Declined::Restart("it does not change while it runs".into());
        let (answer, answered) = oneshot::channel();
        let sender = self.0.get().ok_or_else(deaf)?;
        sender.send(Offer { launch, answer }).await.map_err(|_| deaf())?;
        // Dropped without an answer: it is ending.
        answered.await.unwrap_or_else(|_| Err(deaf()))
    }
}
