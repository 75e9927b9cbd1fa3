//! The process around a service: `mainstay service NAME`.
//!
//! It takes over what the supervisor hands down (see [`crate::service`]), turns SIGTERM and SIGINT into
//! [`Shutdown`], answers `GET /v1/report` on a thread of its own, so that a busy or frozen
//! service is noticed, and runs the service on the main thread.
//!
//! Exit codes: 0 ended as asked; 1 the service failed, and the last line of its log says why; 2 what was handed down
//! cannot be used; 101 a panic, which is the last line of the log too.

mod dispatch;
mod side;

use std::io::{self, Read};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::side::Heard;
use crate::platform::inherit::{self, Socket};
use crate::service::{Asks, Context, Launch, Launches, Purges, Reporter, Shutdown, Sockets, Yields};

/// The environment variable that names the descriptor of the [`Launch`].
pub const LAUNCH_FD: &str = "MAINSTAY_LAUNCH_FD";

/// Descriptors that a service may have open if the machine allows as many: two for each of 30,000 requests under way,
/// and some files.
const OPEN_FILES: u64 = 65_536;

/// Why a service process cannot begin.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("`mainstay service` is started by `mainstay serve`, not by hand: {0}")]
    NoLaunch(#[source] io::Error),
    #[error("the launch that was handed down cannot be read: {0}")]
    Launch(#[from] serde_json::Error),
    #[error("asked to be the service {asked:?}, but the launch that was handed down is for {given:?}")]
    Name { asked: String, given: String },
    #[error("the sockets that were handed down cannot be used: {0}")]
    Sockets(#[source] io::Error),
    #[error("the report socket {path} cannot be opened: {source}")]
    Report { path: String, source: io::Error },
}

/// Runs the service called `name` until it ends, and returns its exit code.
///
/// To be called by `main` before it starts any thread.
pub fn run(name: &str) -> ExitCode {
    crate::log::start();
    let code = match prepare(name) {
        Ok(context) => work(context),
        Err(unusable) => {
            tracing::error!("{unusable}");
            2
        }
    };
    ExitCode::from(code)
}

fn work(context: Context) -> u8 {
    let service = context.launch.service.name.clone();
    tracing::info!(generation = context.launch.generation.0, "{service} starts");
    match dispatch::run(context) {
        Ok(()) => {
            tracing::info!("{service} ended");
            0
        }
        Err(error) => {
            tracing::error!("{}", chain(&*error));
            1
        }
    }
}

fn prepare(name: &str) -> Result<Context, Unusable> {
    // SAFETY: `main` has started no thread yet, and whatever is open above standard error was handed down to us.
    let (mut file, handed) = unsafe {
        let file = inherit::file_from_environment(LAUNCH_FD).map_err(Unusable::NoLaunch)?;
        (file, inherit::named_descriptors().map_err(Unusable::Sockets)?)
    };
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(Unusable::NoLaunch)?;
    let launch: Launch = serde_json::from_slice(&text)?;
    if launch.service.name.as_str() != name {
        return Err(Unusable::Name { asked: name.to_owned(), given: launch.service.name.to_string() });
    }
    name_thread(name);
    raise_open_files();
    let sockets = sort(handed).map_err(Unusable::Sockets)?;
    let (sender, shutdown) = Shutdown::new();
    let reporter = Reporter::default();
    let path = launch.run_folder().join("report.sock");
    let (launches, purges, asks) = (Launches::default(), Purges::default(), Asks::default());
    let yields = Yields::default();
    let heard =
        Heard { launches: launches.clone(), purges: purges.clone(), asks: asks.clone(), yields: yields.clone() };
    side::start(&path, reporter.clone(), heard, sender)
        .map_err(|source| Unusable::Report { path: path.display().to_string(), source })?;
    Ok(Context { launch, sockets, reporter, shutdown, launches, purges, asks, yields })
}

fn sort(handed: Vec<(String, std::os::fd::OwnedFd)>) -> io::Result<Sockets> {
    let mut sockets = Sockets::default();
    for (name, fd) in handed {
        match inherit::socket(fd)? {
            Socket::Tcp(listener) => sockets.tcp.push((name, listener)),
            Socket::Unix(listener) => sockets.local.push(listener),
            Socket::Udp(socket) => sockets.udp.push((name, socket)),
        }
    }
    Ok(sockets)
}

/// The process's name in `ps` and `top`, of which the kernel keeps 15 bytes (prctl(2), `PR_SET_NAME`).
fn name_thread(service: &str) {
    let name: Vec<u8> = format!("ms-{service}").into_bytes().into_iter().filter(|byte| *byte != 0).take(15).collect();
    let named = std::ffi::CString::new(name).map(|name| rustix::thread::set_name(&name));
    if !matches!(named, Ok(Ok(()))) {
        tracing::debug!("the process could not be named");
    }
}

/// The soft limit is 1,024 for the sake of programs that still use select(2); Mainstay does not.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
        if let Err(error) = raised {
            tracing::warn!("the limit on open files stays at {:?}: {error}", limit.current);
        }
    }
}

/// An error with all that it came from, since a log line has no second line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let reason = error.to_string();
        // Some errors repeat their source in their own text.
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        source = error.source();
    }
    text
}
