//! The loop.

use std::fs;
use std::time::Duration;

use mainstay_machines::database::{self, Observed, Step, Thread, Wanted};
use mainstay_site::plan;
use mainstay_site::secrets::Secrets;
use mainstay_site::wire::State;

use super::admin::{Admin, Fault};
use super::engine::{Engine, Seen, Start};
use super::errors::{self, Errors};
use super::places::Places;
use super::process::Process;
use super::report::{self, Around};
use super::{Error, RESTARTS, configuration, install, steps};
use crate::clock::{boot_time, unix_ms};
use crate::platform::process::{self, Exit};
use crate::service::{Context, Reporter};
use crate::tended::{Crashes, Tended, tend};

/// Between two looks at a server that is as wanted.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at one that is starting: it takes about 80 ms.
const LOOK_STARTING: Duration = Duration::from_millis(20);
/// Until a fault is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// What `mariadbd` gets for a clean end; a service has 10 s in all.
const STOP: Duration = Duration::from_secs(8);
/// Of MariaDB: a wrong password (ER_ACCESS_DENIED_ERROR).
const ACCESS_DENIED: u16 = 1045;

/// Looks after the server until asked to end.
pub async fn serve(context: Context, config: &plan::Database, places: Places) {
    let Context { launch, reporter, shutdown, .. } = context;
    tend(Role::new(config, places, launch.secrets, reporter), shutdown).await;
}

struct Role<'a> {
    config: &'a plan::Database,
    wanted: Wanted,
    places: Places,
    secrets: Secrets,
    reporter: Reporter,
    errors: Errors,
    process: Option<Process>,
    admin: Option<Admin>,
    accounts: bool,
    crashes: Crashes<String>,
    alone_since_ms: Option<u64>,
    last_step: Option<Step>,
}

impl<'a> Role<'a> {
    fn new(config: &'a plan::Database, places: Places, secrets: Secrets, reporter: Reporter) -> Role<'a> {
        let wanted = match steps::source(config) {
            None => Wanted::Primary { semi_sync: report::semi_sync(config) },
            Some(source) => Wanted::Replica { source: source.to_string() },
        };
        let errors = Errors::new(&places);
        Role {
            config,
            wanted,
            places,
            secrets,
            reporter,
            errors,
            process: None,
            admin: None,
            accounts: false,
            crashes: Crashes::new(RESTARTS),
            alone_since_ms: None,
            last_step: None,
        }
    }

    async fn advance(&mut self) -> Result<Duration, Error> {
        self.errors.forward()?;
        if self.process.is_none() {
            self.bring_process().await?;
        }
        let Some(mut admin) = self.connection().await? else { return Ok(LOOK_STARTING) };
        let seen = admin.observe().await?;
        let step = database::next(&self.wanted, &self.observed(&seen).await);
        self.note_step(&step);
        self.publish(&seen, &step);
        steps::carry_out(&step, &mut admin, self.config, &self.secrets).await?;
        self.accounts |= step == Step::Prepare;
        self.admin = Some(admin);
        Ok(if matches!(step, Step::Rest | Step::Wait(_) | Step::Refuse(_)) { LOOK } else { Duration::ZERO })
    }

    /// Adopts what runs, or makes a data directory where there is none and starts.
    async fn bring_process(&mut self) -> Result<(), Error> {
        if let Some((cause, wait_s)) = self.crashes.forbid(boot_time()) {
            return Err(Error::Crashed { cause: cause.clone(), wait_s });
        }
        self.places.prepare()?;
        let text = configuration::render(self.config, &self.places);
        if let Some(process) = Process::find(&self.places)? {
            if fs::read_to_string(&self.places.configuration).is_ok_and(|known| known == text) {
                tracing::info!(pid = process.pid(), "adopted the running mariadbd");
                self.process = Some(process);
                return Ok(());
            }
            tracing::info!(pid = process.pid(), "the configuration changed: mariadbd is restarted");
            process.stop(STOP).await;
        }
        if !self.places.data.exists() {
            self.say(State::Starting, "making a data directory".into());
        }
        install::ensure(&self.places, &self.secrets.database_admin).await?;
        fs::write(&self.places.configuration, text)?;
        self.errors.begin();
        self.process = Some(Process::start(&self.places, Start::Plain)?);
        Ok(())
    }

    /// The connection, if the server takes one yet. However long it recovers: ending it would only start that over.
    async fn connection(&mut self) -> Result<Option<Admin>, Error> {
        if let Some(admin) = self.admin.take() {
            return Ok(Some(admin));
        }
        match Admin::connect(&self.places, &self.secrets.database_admin).await {
            Ok(admin) => Ok(Some(admin)),
            Err(fault) if fault.code() == Some(ACCESS_DENIED) => {
                Err(Error::Password { data: self.places.data.clone() })
            }
            Err(fault) => {
                self.say(State::Starting, self.starting(&fault));
                Ok(None)
            }
        }
    }

    fn starting(&self, fault: &Fault) -> String {
        let again = self.crashes.cause.as_ref().map(|cause| format!("started again: {cause}"));
        match (self.process.as_ref(), again) {
            (Some(process), _) if process.adopted => format!("the adopted mariadbd does not answer: {fault}"),
            (_, Some(again)) => again,
            _ => "mariadbd is starting".into(),
        }
    }

    async fn observed(&self, seen: &Seen) -> Observed {
        let replication = seen.replication.as_ref().map(|replication| database::Replication {
            source: replication.source.clone(),
            io: replication.io,
            sql: replication.sql,
            drained: replication.drained,
        });
        // Asked only where a step may hang on it: the source would log an aborted login each time.
        let connected = replication.as_ref().is_some_and(|replication| {
            replication.io != Thread::Stopped && Some(&replication.source) == self.source_text().as_ref()
        });
        Observed {
            read_only: seen.variables.read_only,
            semi_sync: seen.variables.semi_sync,
            accounts: self.accounts,
            history: !seen.variables.binlog_state.is_empty(),
            replication,
            source_reachable: connected || steps::source_reachable(self.config).await,
        }
    }

    fn source_text(&self) -> Option<String> {
        steps::source(self.config).map(|source| source.to_string())
    }

    fn note_step(&mut self, step: &Step) {
        if self.last_step.as_ref() != Some(step) {
            tracing::info!(?step, "next");
            self.last_step = Some(step.clone());
        }
    }

    fn publish(&mut self, seen: &Seen, step: &Step) {
        let alone = seen.variables.semi_sync
            && !(seen.is_on("Rpl_semi_sync_master_status") && seen.number("Rpl_semi_sync_master_clients") > 0);
        self.alone_since_ms = if alone { self.alone_since_ms.or_else(|| Some(unix_ms())) } else { None };
        let Some(process) = self.process.as_ref() else { return };
        let around = Around {
            config: self.config,
            process,
            step,
            alone_since_ms: self.alone_since_ms,
            data: &self.places.data,
            restarts: self.crashes.total,
        };
        self.reporter.publish(report::running(&around, seen));
    }

    fn say(&self, state: State, because: String) {
        self.reporter.announce(report::without((state, because), self.process.as_ref(), self.crashes.total));
    }
}

impl Tended for Role<'_> {
    async fn turn(&mut self) -> Duration {
        match self.advance().await {
            Ok(pause) => pause,
            Err(error) => {
                self.admin = None;
                self.say(State::Failed, error.to_string());
                if matches!(error, Error::Crashed { .. }) { self.crashes.wait(boot_time()) } else { RETRY }
            }
        }
    }

    fn process(&self) -> Option<&process::Process> {
        self.process.as_ref().map(Process::held)
    }

    fn note_end(&mut self, exit: Exit) {
        let _ = self.errors.forward();
        let Some(process) = self.process.take() else { return };
        let cause = self.errors.cause(exit);
        tracing::error!(pid = process.pid(), remedy = errors::remedy(&cause), "{cause}");
        self.admin = None;
        self.crashes.note(boot_time(), process.held().age(), cause);
    }

    async fn stop(mut self) {
        self.say(State::Stopping, "mariadbd is ending as asked".into());
        if let Some(admin) = self.admin.take() {
            admin.quit().await;
        }
        if let Some(process) = self.process.take() {
            process.stop(STOP).await;
        }
        let _ = self.errors.forward();
        self.say(State::Stopped, "ended as asked".into());
    }
}
