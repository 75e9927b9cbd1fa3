//! The codebase's own preparation of its database: once per release, before the release gets requests, on one server.
//!
//! With a database, the servers of the application tier agree through it: whoever holds the named lock (MariaDB's
//! `GET_LOCK`, released when its connection ends) runs the command and then writes the release into
//! `mainstay_releases`; the others find it there. A connection lost in between means that the lock is lost, and the
//! command is ended. Such a half-done migration is run again, so the command must bear that; most tools do.
//!
//! Without a database, a file in the service's folder says that it was done.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mainstay_machines::Time;
use mainstay_machines::backoff::{Backoff, Policy};
use mainstay_site::names::{AppName, ReleaseId};
use mainstay_site::plan::AppDatabase;
use mainstay_site::wire::State;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use super::command::shell;
use super::environment::Environment;
use super::process::{Running, not_started};

/// An `ALTER TABLE` of a large table; beyond that someone should look.
const COMMAND_MAX: Duration = Duration::from_secs(1800);
/// Connecting through the endpoint, which holds a connection while there is no primary.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// One of our own statements.
const STATEMENT_MAX: Duration = Duration::from_secs(15);
/// `GET_LOCK`'s own patience, after which we say that another server is at it. Less than [`STATEMENT_MAX`].
const LOCK_WAIT_SECONDS: u32 = 5;
/// A database is up within seconds of its server; after that its absence is a failure and not a start.
const DATABASE_WAIT_MAX: Duration = Duration::from_secs(60);
/// How often the connection that holds the lock is tried while the command runs.
const LOCK_CHECK_EVERY: Duration = Duration::from_secs(5);
/// For the command to end by itself when the service is asked to.
const STOP_MAX: Duration = Duration::from_secs(5);

/// MariaDB's error for a table that does not exist, `ER_NO_SUCH_TABLE`.
const NO_SUCH_TABLE: u16 = 1146;

const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS mainstay_releases (\
     app VARCHAR(63) NOT NULL, `release` VARCHAR(64) NOT NULL, at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
     PRIMARY KEY (app, `release`)) ENGINE=InnoDB DEFAULT CHARSET=ascii";

/// What is to be run, where, and how the servers agree.
pub(super) struct Migration {
    /// The application.
    pub app: AppName,
    /// The release.
    pub release: ReleaseId,
    /// The shell command.
    pub command: String,
    /// The working directory.
    pub code: PathBuf,
    /// Its environment.
    pub environment: Environment,
    /// The database with the account's password, if there is one.
    pub database: Option<(AppDatabase, String)>,
    /// The folder for the file that says that it was done.
    pub data: PathBuf,
}

/// Why it is not done yet.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error("waiting for the database at {at}: {because}")]
    NoDatabase { at: std::net::SocketAddr, because: String },
    #[error("another server is migrating the database")]
    Elsewhere,
    #[error("`{command}` {because}")]
    Command { command: String, because: String },
    #[error("lost the database connection that kept other servers from migrating too: {0}")]
    LockLost(String),
    #[error("cannot note in {} that the migration was done: {source}", .path.display())]
    Note { path: PathBuf, source: std::io::Error },
}

impl Migration {
    /// Returns `true` once the release is migrated, `false` if `stop` became `true` before. Until then it tries again
    /// after a pause and tells `say` how it stands, and whether it has failed before.
    pub async fn until_done(&self, stop: &watch::Receiver<bool>, say: &dyn Fn(State, String, bool)) -> bool {
        let began = Instant::now();
        let now = || Time::ZERO + began.elapsed();
        let (mut backoff, mut failed) = (Backoff::new(Policy::PROCESS), false);
        loop {
            say(State::Starting, format!("migrating: `{}`", self.command), failed);
            let mut asked = stop.clone();
            let Err(undone) = self.attempt(stop).await else { return true };
            if *asked.borrow() {
                return false;
            }
            let (again, state) = (backoff.ended(now()), severity(&undone, began.elapsed()));
            failed |= state == State::Failed;
            say(state, told(&undone), failed);
            tokio::select! {
                () = sleep(again.since(now())) => {}
                _ = asked.wait_for(|stop| *stop) => return false,
            }
        }
    }

    async fn attempt(&self, stop: &watch::Receiver<bool>) -> Result<(), Undone> {
        match &self.database {
            Some((database, password)) => self.with_database(database, password, stop).await,
            None if self.marker().exists() => Ok(()),
            None => {
                self.run(None, stop).await?;
                self.mark()
            }
        }
    }

    /// The file that says that this server saw the migration done.
    fn marker(&self) -> PathBuf {
        self.data.join(format!("migrated-{}", self.release))
    }

    fn mark(&self) -> Result<(), Undone> {
        let path = self.marker();
        std::fs::write(&path, "").map_err(|source| Undone::Note { path, source })
    }

    async fn with_database(
        &self,
        database: &AppDatabase,
        password: &str,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), Undone> {
        let away = |because: String| Undone::NoDatabase { at: database.writer, because };
        let mut session = match Session::open(database, password).await {
            Ok(session) => session,
            // It was done once, and a codebase may have a page of its own for a database that is away.
            Err(_) if self.marker().exists() => return Ok(()),
            Err(because) => return Err(away(because)),
        };
        if !session.is_done(self).await.map_err(away)? {
            if !session.lock(self).await.map_err(away)? {
                return Err(Undone::Elsewhere);
            }
            // It may have been done between the look and the lock.
            if !session.is_done(self).await.map_err(away)? {
                self.run(Some(&mut session), stop).await?;
                session.note(self).await.map_err(Undone::LockLost)?;
            }
        }
        session.close().await;
        self.mark()
    }

    /// Runs the command; with a session, only as long as its connection lives.
    async fn run(&self, session: Option<&mut Session>, stop: &watch::Receiver<bool>) -> Result<(), Undone> {
        let failed = |because: String| Undone::Command { command: self.command.clone(), because };
        let start = shell(&self.command);
        let mut running = Running::start(&start, &self.code, &self.environment, "migration".into())
            .map_err(|error| failed(not_started(&start, &self.code, &error)))?;
        let mut stop = stop.clone();
        tokio::select! {
            (status, words) = running.ended() => return if status.success() { Ok(()) } else { Err(failed(words)) },
            because = lock_lost(session) => return Err(Undone::LockLost(because)),
            () = sleep(COMMAND_MAX) => return Err(failed(format!("took longer than {} s", COMMAND_MAX.as_secs()))),
            _ = stop.wait_for(|stop| *stop) => {}
        }
        running.signal(Signal::TERM);
        let _ = timeout(STOP_MAX, running.ended()).await;
        Err(failed("was interrupted".into()))
    }
}

async fn lock_lost(session: Option<&mut Session>) -> String {
    let Some(session) = session else { return std::future::pending().await };
    let mut ticks = interval(LOCK_CHECK_EVERY);
    loop {
        ticks.tick().await;
        if let Err(because) = within(session.0.ping()).await {
            return because;
        }
    }
}

/// A missing database is a start at first and then a failure; a failed command is one at once.
fn severity(undone: &Undone, waited: Duration) -> State {
    match undone {
        Undone::Elsewhere => State::Starting,
        Undone::NoDatabase { .. } if waited < DATABASE_WAIT_MAX => State::Starting,
        _ => State::Failed,
    }
}

/// With the next step where it is the reader's.
fn told(undone: &Undone) -> String {
    match undone {
        Undone::Command { .. } => format!("{undone}; no requests are taken before it succeeds, tried again"),
        _ => undone.to_string(),
    }
}

/// A connection to the writer, as the application's own account.
struct Session(Conn);

impl Session {
    async fn open(database: &AppDatabase, password: &str) -> Result<Session, String> {
        let options = OptsBuilder::default()
            .ip_or_hostname(database.writer.ip().to_string())
            .tcp_port(database.writer.port())
            .user(Some(&database.schema))
            .pass(Some(password))
            .db_name(Some(&database.schema))
            .prefer_socket(false);
        match timeout(CONNECT_MAX, Conn::new(options)).await {
            Ok(connected) => connected.map(Session).map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer in {} s", CONNECT_MAX.as_secs())),
        }
    }

    async fn is_done(&mut self, migration: &Migration) -> Result<bool, String> {
        let statement = "SELECT COUNT(*) FROM mainstay_releases WHERE app = ? AND `release` = ?";
        let names = (migration.app.as_str(), migration.release.as_str());
        match timeout(STATEMENT_MAX, self.0.exec_first::<u64, _, _>(statement, names)).await {
            Ok(Ok(count)) => Ok(count.is_some_and(|count| count > 0)),
            Ok(Err(mysql_async::Error::Server(error))) if error.code == NO_SUCH_TABLE => Ok(false),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".into()),
        }
    }

    /// Whether the lock was had within [`LOCK_WAIT_SECONDS`].
    async fn lock(&mut self, migration: &Migration) -> Result<bool, String> {
        // The name is for the whole server, hence the application in it; at most 64 characters.
        let name = format!("mainstay-{:.50}", migration.app);
        let got: Option<Option<u8>> =
            within(self.0.exec_first("SELECT GET_LOCK(?, ?)", (name, LOCK_WAIT_SECONDS))).await?;
        Ok(got.flatten() == Some(1))
    }

    async fn note(&mut self, migration: &Migration) -> Result<(), String> {
        let insert = "INSERT IGNORE INTO mainstay_releases (app, `release`) VALUES (?, ?)";
        within(self.0.query_drop(CREATE_TABLE)).await?;
        within(self.0.exec_drop(insert, (migration.app.as_str(), migration.release.as_str()))).await
    }

    async fn close(self) {
        let _ = within(self.0.disconnect()).await;
    }
}

async fn within<T>(answer: impl Future<Output = mysql_async::Result<T>>) -> Result<T, String> {
    match timeout(STATEMENT_MAX, answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} s", STATEMENT_MAX.as_secs())),
    }
}
