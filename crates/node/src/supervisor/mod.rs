//! The supervisor of one server: `mainstay serve --server NAME`.
//!
//! It executes a [`Plan`] and leaves no choice of its own in it: binds the sockets, makes the folders, starts a process
//! per service under the service's user, restarts it with [bounded back-off](mainstay_machines::backoff) when it
//! crashes, collects its log, asks it every second how it is, and answers on the control socket ([`crate::control`]).
//!
//! Services survive it. Sockets, log pipes and pidfds are put away with whoever started it (`platform::notify`); the
//! next supervisor finds them there and goes on where this one was killed. Without such a parent everything works but
//! that: the next supervisor then ends what it finds running, and starts afresh.
//!
//! `POST /v1/upgrade` has it replaced by the program that its file holds now.
//!
//! Exit codes: 0 stopped as asked (SIGTERM, SIGINT, `POST /v1/stop`); 1 it failed, and starting it again may help;
//! 2 it cannot run like this, and starting it again will not help.

mod addresses;
mod desk;
mod fence;
mod filter;
mod health;
mod house;
mod inherited;
mod journal;
mod keeper;
mod post;
mod purge;
mod rollout;
mod rotation;
mod run;
mod sockets;
mod strays;
mod upgrade;
mod upkeep;
mod yielding;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mainstay_site::model::FORMAT;
use mainstay_site::names::{Domain, Generation, ServerName};
use mainstay_site::plan::Plan;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::clock::unix_ms;
use crate::control;
use crate::platform::notify::Notify;
use crate::platform::spawn::hurry_session;
use crate::platform::{folder, inherit};
use crate::store::embedded::{self, Embedded, PlanSwap};
use desk::{Desk, Leave, StopSignals};
use house::House;
use inherited::Inherited;
pub use post::{Handle, Refused};
use post::{InForce, View};
pub use sockets::Unbindable;

/// For questions that are being answered when the supervisor leaves: they are answered from memory.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// Where the plan comes from.
pub enum Source {
    /// The store.
    Stored,
    /// This one, if it is newer than the stored one.
    Given(Box<Plan>),
    /// Derived from a declaration: as the stored plan's generation if nothing has changed, else as the next one.
    Declared(Box<dyn Fn(Generation) -> Plan>),
}

/// What to supervise.
pub struct Options {
    /// Which server this is.
    pub server: ServerName,
    /// Its state directory; made if it is not there.
    pub state: PathBuf,
    /// The plan.
    pub plan: Source,
}

/// Where a server's state is kept if nobody says otherwise: `/var/lib/mainstay/SITE/SERVER` for root, else below
/// `$XDG_STATE_HOME` or `~/.local/state` (XDG Base Directory Specification).
pub fn default_state(site: &Domain, server: &ServerName) -> PathBuf {
    let base = if geteuid().is_root() {
        PathBuf::from("/var/lib")
    } else {
        let home = || std::env::home_dir().unwrap_or_else(|| "/".into()).join(".local/state");
        std::env::var_os("XDG_STATE_HOME").map_or_else(home, PathBuf::from)
    };
    base.join("mainstay").join(site.as_str()).join(server.as_str())
}

/// Why the supervisor ended without being asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory cannot be used.
    #[error("the state directory {}: {source}; choose another with --state, or run as root", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another supervisor runs this server.
    #[error("another supervisor (process {pid}) runs {server} in {}; `mainstay down` stops it", state.display())]
    Taken {
        /// The server.
        server: ServerName,
        /// Its state directory.
        state: PathBuf,
        /// The other one, as far as it said.
        pid: String,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] embedded::Error),
    /// No plan was given, and none is stored.
    #[error("there is no plan for {0} yet: give --plan FILE or --declaration FILE")]
    NoPlan(ServerName),
    /// The plan is for another server, or of a newer format.
    #[error("{0}")]
    Foreign(String),
    /// The control socket cannot be opened.
    #[error("the control socket {}: {source}{}", path.display(), control::hint(path))]
    Control {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was asked to make room for another program, and is started again.
    #[error("started again for an upgrade; the services go on meanwhile")]
    Upgrade,
    /// The machine refuses what every process needs.
    #[error("{0}: {1}")]
    Machine(&'static str, #[source] io::Error),
}

impl Error {
    /// The exit code: whether starting again may help.
    pub fn code(&self) -> u8 {
        match self {
            Error::Upgrade
            | Error::Machine(..)
            | Error::Store(embedded::Error::Storage(_) | embedded::Error::Open { .. }) => 1,
            _ => 2,
        }
    }
}

/// Supervises until it is asked to stop, and everything has stopped.
///
/// To be called by `main` before it starts any thread.
///
/// # Errors
/// If the server cannot be supervised at all; a service that cannot be started is no error but a line of the status.
pub fn run(options: Options) -> Result<(), Error> {
    // SAFETY: `main` has started no thread yet, and whatever is open above standard error was handed down to us.
    let handed = unsafe { inherit::named_descriptors() }.map_err(machine("what was handed down"))?;
    let notify = Notify::from_environment().map_err(machine("NOTIFY_SOCKET"))?;
    raise_open_files();
    // Orders about addresses and fences come from services that are urgent, and are late if this is.
    hurry_session();
    let state = prepare_state(&options.state)?;
    let _lock = lock(&state, &options.server)?;
    let store = Arc::new(Embedded::open(&state.join("store.redb"))?);
    let plan = choose_plan(&store, &options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(machine("the event loop"))?;
    runtime.block_on(supervise(state, store, plan, notify, handed))
}

fn machine(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Machine(what, source)
}

async fn supervise(
    state: PathBuf,
    store: Arc<Embedded>,
    plan: Plan,
    notify: Notify,
    handed: Vec<(String, OwnedFd)>,
) -> Result<(), Error> {
    let signals = catch().map_err(machine("catching signals"))?;
    let (sockets, inherited) = Inherited::split(handed);
    let sockets = sockets::Sockets::adopt(sockets, state.clone(), &notify);
    let view = Arc::new(View {
        site: plan.site.clone(),
        server: plan.server.clone(),
        state: state.clone(),
        since_ms: unix_ms(),
        in_force: ArcSwap::from_pointee(InForce { plan: Arc::new(plan.clone()), lacking: None, posts: Vec::new() }),
        stopping: AtomicBool::new(false),
        upgrading: AtomicBool::new(false),
    });
    let path = state.join("control.sock");
    let control = control::listen(&path).map_err(|source| Error::Control { path: path.clone(), source })?;
    if !notify.keeps() {
        tracing::info!("nobody keeps the sockets of this supervisor: its services will not survive it");
    }
    let house = Arc::new(House {
        state,
        site: plan.site.clone(),
        server: plan.server.clone(),
        notify,
        root: geteuid().is_root(),
        origin: Instant::now(),
        sockets: Mutex::new(sockets),
        addresses: std::sync::OnceLock::new(),
        left: tokio::sync::watch::Sender::new(()),
    });
    let books = Arc::new(rollout::Books::new(&store, &house.server));
    let desk = Desk::open(Arc::clone(&house), Arc::clone(&view), store, plan, inherited).await;
    let (handle, orders) = Handle::new(view, Arc::clone(&books));
    let follower = rollout::Follower::new(handle.clone(), Arc::clone(&house), books);
    let following = tokio::spawn(follower.follow());
    let (end, ended) = oneshot::channel::<()>();
    let mut server = tokio::spawn(control::serve(control, handle, async move { drop(ended.await) }));
    house.notify.ready();
    let leave = desk.work(orders, signals).await;
    following.abort();
    if leave == Leave::Upgrade {
        // Whoever asked for it is told.
        drop(end);
        let _ = timeout(ANSWERED_WITHIN, &mut server).await;
        return Err(Error::Upgrade);
    }
    server.abort();
    // A leftover is replaced by the next supervisor.
    let _ = fs::remove_file(&path);
    tracing::info!("everything is stopped");
    Ok(())
}

fn catch() -> io::Result<StopSignals> {
    Ok(StopSignals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
}

/// Makes the state directory and the folders that root keeps in it.
fn prepare_state(path: &Path) -> Result<PathBuf, Error> {
    let unusable = |source| Error::State { path: path.to_owned(), source };
    // Services reach their own folders through it.
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(unusable)?;
    let state = path.canonicalize().map_err(unusable)?;
    for (name, mode) in [("run", 0o755), ("data", 0o755), ("log", 0o750)] {
        folder::make(&state, name, mode, None).map_err(unusable)?;
    }
    Ok(state)
}

/// One supervisor per state directory; the kernel gives the lock back when its holder dies, however it dies.
fn lock(state: &Path, server: &ServerName) -> Result<File, Error> {
    let path = state.join("run/supervisor.lock");
    let unusable = |source| Error::State { path: path.clone(), source };
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(unusable)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
        return Err(Error::Taken { server: server.clone(), state: state.to_owned(), pid });
    }
    // The number is for people; that it could not be written costs a word in a message.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// The newer of the given and the stored plan.
fn choose_plan(store: &Embedded, options: &Options) -> Result<Plan, Error> {
    let stored = store.plan()?;
    let declared;
    let given = match &options.plan {
        Source::Stored => return stored.ok_or_else(|| Error::NoPlan(options.server.clone())),
        Source::Given(given) => given.as_ref(),
        Source::Declared(derive) => {
            declared = renumber(&**derive, stored.as_ref());
            &declared
        }
    };
    check(given, options, stored.as_ref())?;
    match (store.put_plan(given), stored) {
        (Ok(PlanSwap::Done), _) => Ok(given.clone()),
        // As after every `mainstay apply`: what a server was first started with is not what it follows since.
        (Ok(PlanSwap::Stale(_)), Some(stored)) => {
            tracing::info!(
                "generation {} is stored and stays in force; {} was given",
                stored.generation,
                given.generation
            );
            Ok(stored)
        }
        (Err(error), Some(stored)) if stored == *given => {
            tracing::warn!("{error}");
            Ok(stored)
        }
        (Ok(PlanSwap::Stale(_)), None) => Err(Error::NoPlan(options.server.clone())),
        (Err(error), _) => Err(error.into()),
    }
}

fn renumber(derive: &dyn Fn(Generation) -> Plan, stored: Option<&Plan>) -> Plan {
    let Some(stored) = stored else { return derive(Generation(1)) };
    let same = derive(stored.generation);
    if same == *stored { same } else { derive(Generation(stored.generation.0 + 1)) }
}

fn check(given: &Plan, options: &Options, stored: Option<&Plan>) -> Result<(), Error> {
    if given.format > FORMAT {
        let text = format!("the plan has format {}, and this build knows up to {FORMAT}", given.format);
        return Err(Error::Foreign(format!("{text}: install the newer mainstay")));
    }
    if given.server != options.server {
        let text = format!("the plan is for {}, not for {}", given.server, options.server);
        return Err(Error::Foreign(format!("{text}: correct --server or --plan")));
    }
    match stored {
        Some(stored) if stored.site != given.site => Err(Error::Foreign(format!(
            "{} holds the state of {}, and the plan is for {}: choose another --state",
            options.state.display(),
            stored.site,
            given.site
        ))),
        _ => Ok(()),
    }
}

/// Sockets per core, pipes and pidfds of every service: the soft limit of 1,024 is for programs that use select(2).
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(error) = raised {
        tracing::warn!("the limit on open files stays at {:?}: {error}", limit.current);
    }
}
