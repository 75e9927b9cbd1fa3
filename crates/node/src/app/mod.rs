//! The application service: a codebase's workers on this server.
//!
//! It prepares what the workers need (folders, PHP's settings), has the database migrated once per release, keeps the
//! declared number of workers running, each on a Unix socket of its own, and hands them the requests that come in on
//! its sockets. A worker gets requests only while it answers its health check.
//!
//! What a worker finds in its environment is listed in `environment`.

mod board;
mod command;
mod environment;
mod front;
mod health;
mod hold;
mod logs;
mod migrate;
mod php;
mod process;
#[cfg(test)]
mod scene;
mod script;
mod slot;
mod worker;

#[cfg(test)]
mod tests;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_http::{Counters, Listeners, Server};
use mainstay_site::model::AppKind;
use mainstay_site::plan;
use mainstay_site::wire::hold::SOCKET;
use mainstay_site::wire::{PREPARING, Part, Report, State};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::unix_ms;
use crate::service::{Context, Launch, Reporter};
use board::Board;
use environment::Environment;
use migrate::Migration;
use worker::{Crew, Worker};

/// A Unix socket's name has room for 108 bytes with its final zero (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Figures in the report are at most this old.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The name of our sockets in the plan.
const SOCKET_NAME: &str = "http";

/// Why the service could not run at all. What befalls a worker is in the report instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or file of the service's own.
    #[error("cannot write {}: {source}; the supervisor should have made it writable", .path.display())]
    Write {
        /// The culprit.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The state directory's name is too long.
    #[error("{} is longer than a Unix socket's name may be ({SOCKET_PATH_BYTES_MAX} bytes): choose a shorter state directory", .0.display())]
    LongPath(PathBuf),
    /// The release is not there.
    #[error("there is no release at {}: start the site again to have it built", .0.display())]
    NoRelease(PathBuf),
    /// The listening sockets could not be served.
    #[error("cannot serve the listening sockets")]
    Listen(#[source] std::io::Error),
    /// The runtime could not be made.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
}

/// Runs the service until `context.shutdown` asks it to end and its workers have ended.
///
/// # Errors
/// See [`Error`]: only what no retry would mend.
pub fn run(context: Context, config: &plan::App) -> Result<(), Error> {
    if !context.launch.beside {
        process::end_leftovers(&context.launch.run_folder());
        forget_successors(&context.launch.run_folder());
    }
    let folders = Folders::prepare(&context.launch, config)?;
    // The workers die with the thread that starts them, hence one runtime on this very thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(serve(context, config, &folders))
}

/// Those whose workers' folders these were have ended.
fn forget_successors(run: &Path) {
    let Ok(entries) = fs::read_dir(run) else { return };
    let is_successors = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    for entry in entries.flatten().filter(|entry| is_successors(&entry.file_name())) {
        // Sockets that nobody listens on: in nobody's way.
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Where things lie on this server.
struct Folders {
    code: PathBuf,
    venv: Option<PathBuf>,
    run: PathBuf,
    data: PathBuf,
    temporary: PathBuf,
}

impl Folders {
    fn prepare(launch: &Launch, config: &plan::App) -> Result<Folders, Error> {
        let mut run = launch.run_folder();
        if launch.beside {
            // The workers of the one before have their sockets there still.
            run.push(std::process::id().to_string());
        }
        let folders = Folders {
            code: launch.state.join(&config.code),
            venv: config.venv.as_ref().map(|venv| launch.state.join(venv)),
            data: launch.state.join("data").join(launch.service.name.as_str()),
            temporary: run.join("tmp"),
            run,
        };
        folders.check()?;
        for folder in [&folders.run, &folders.data, &folders.temporary, &folders.sessions()] {
            private_folder(folder).map_err(|source| Error::Write { path: folder.clone(), source })?;
        }
        folders.write_starters(&config.kind)?;
        Ok(folders)
    }

    fn check(&self) -> Result<(), Error> {
        let longest = self.run.join("w65535.sock");
        if longest.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(Error::LongPath(longest));
        }
        if self.code.is_dir() { Ok(()) } else { Err(Error::NoRelease(self.code.clone())) }
    }

    fn sessions(&self) -> PathBuf {
        self.data.join("sessions")
    }

    fn write_starters(&self, kind: &AppKind) -> Result<(), Error> {
        match kind {
            AppKind::Wsgi { .. } | AppKind::Asgi { .. } => write(&command::starter(&self.run), command::PYTHON_STARTER),
            AppKind::Php { .. } => {
                let folders = php::Folders { sessions: &self.sessions(), temporary: &self.temporary };
                write(&command::php_settings(&self.run), &php::settings(&folders))
            }
            AppKind::Http { .. } => Ok(()),
        }
    }
}

/// For this user alone: whoever may connect to a PHP worker may have it run anything.
fn private_folder(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::Write { path: path.to_owned(), source })
}

async fn serve(mut context: Context, config: &plan::App, folders: &Folders) -> Result<(), Error> {
    let environment = environment::common(&context.launch, config, &folders.data, &folders.temporary);
    let stop = context.shutdown.watch();
    let pool = front::pool(config);
    let board = Board::new(usize::from(config.workers), pool.clone());
    let server = Server::new(front::config(&context.launch, config, folders, pool.clone()));
    let holding = config.database.is_some().then(|| {
        let socket = context.launch.state.join(SOCKET);
        tokio::spawn(async move { hold::follow(&socket, &pool).await })
    });
    let counters = server.counters();
    // From the beginning: requests that come early are held until a worker is there. Beside one that serves, not before.
    let (http, until) = (context.sockets.take_tcp(SOCKET_NAME), stop.clone());
    let listeners = Listeners { http, local: std::mem::take(&mut context.sockets.local), ..Listeners::default() };
    let beside = context.launch.beside;
    let engine = async {
        if beside && !board.until_served(&stop).await {
            return Ok(Ok(()));
        }
        tokio::task::spawn_blocking(move || server.run(listeners, &until)).await
    };
    let (end_workers, workers_end) = watch::channel(false);
    let served = async {
        let ended = engine.await.map_err(std::io::Error::other).flatten();
        // Workers end after the requests that they work on.
        end_workers.send_replace(true);
        ended.map_err(Error::Listen)
    };
    let worked = async {
        if migrated(&context, config, folders, &environment, &stop).await {
            let crew = crew(&context.launch, config, folders, environment);
            tokio::join!(
                run_workers(&crew, &board, usize::from(config.workers), &workers_end),
                publish(&board, &counters, &context.reporter, config, workers_end.clone()),
            );
        }
        Ok(())
    };
    tokio::try_join!(served, worked)?;
    holding.inspect(tokio::task::JoinHandle::abort);
    context.reporter.publish(report(State::Stopped, "ended as asked".into(), config));
    Ok(())
}

async fn migrated(
    context: &Context,
    config: &plan::App,
    folders: &Folders,
    environment: &Environment,
    stop: &watch::Receiver<bool>,
) -> bool {
    let Some(command) = config.migrate.clone() else { return true };
    let password = context.launch.secrets.database.get(&config.app).cloned().unwrap_or_default();
    let migration = Migration {
        app: config.app.clone(),
        release: config.release.clone(),
        command,
        code: folders.code.clone(),
        environment: environment::worker(environment, Path::new(""), None, &folders.run.join("migration")),
        database: config.database.clone().map(|database| (database, password)),
        data: folders.data.clone(),
    };
    let say = |state: State, because: String, failed: bool| {
        tracing::info!(state = state.as_str(), because, "migration");
        let mut report = report(state, because.clone(), config);
        // What has failed once is tried again, but nobody has to wait for it.
        report.facts.extend((!failed).then(|| (PREPARING.to_owned(), because)));
        context.reporter.publish(report);
    };
    migration.until_done(stop, &say).await
}

fn crew(launch: &Launch, config: &plan::App, folders: &Folders, environment: Environment) -> Crew {
    Crew {
        kind: config.kind.clone(),
        code: folders.code.clone(),
        venv: folders.venv.clone(),
        run: folders.run.clone(),
        environment,
        health: config.health.clone(),
        host: launch.site.as_str().to_owned(),
    }
}

async fn run_workers(crew: &Crew, board: &Board, workers: usize, stop: &watch::Receiver<bool>) {
    let drivers = (0..workers).map(|number| Worker::new(number, crew, board).drive(stop.clone()));
    all(drivers.collect()).await;
}

/// Publishes the report at every change and each second, until the service ends.
async fn publish(
    board: &Board,
    counters: &Counters,
    reporter: &Reporter,
    config: &plan::App,
    mut stop: watch::Receiver<bool>,
) {
    let mut changes = board.changes();
    loop {
        let mut report = board.report();
        report.counters.extend(counters.totals());
        report.facts.insert(0, ("release".into(), config.release.to_string()));
        reporter.publish(report);
        tokio::select! {
            _ = timeout(REPORT_EVERY, changes.changed()) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// The report while there are no workers.
fn report(state: State, because: String, config: &plan::App) -> Report {
    let part = Part { name: "migration".into(), state, since_ms: unix_ms(), because: because.clone(), pid: None };
    Report {
        state,
        because,
        facts: vec![("release".into(), config.release.to_string())],
        parts: if state == State::Stopped { Vec::new() } else { vec![part] },
        counters: Default::default(),
    }
}

/// Drives all of `futures` on this task: they borrow what they share.
async fn all<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut running: Vec<_> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    std::future::poll_fn(|context| {
        for place in &mut running {
            if place.as_mut().is_some_and(|future| future.as_mut().poll(context).is_ready()) {
                *place = None;
            }
        }
        if running.iter().all(Option::is_none) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
