//! The keeper of one service: looks at what is wanted and what is, and makes them the same.
//!
//! ```text
//! start ──→ running ──ends──→ pause ──→ start
//!   └─cannot──→ pause           │
//! running, pause ──wanted otherwise──→ (stopped) ──→ start, or the end
//! running ──wanted otherwise, and it can──→ running, by telling it or beside its successor ([`change`])
//! ```

mod change;
mod wait;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::backoff::{Backoff, Policy};
use mainstay_site::names::{Generation, Role, ServiceName};
use mainstay_site::plan::{Config, Service};
use mainstay_site::wire::{Report, ServiceStatus, State};
use rustix::net::sockopt::socket_peercred;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::health::Health;
use super::house::{House, Stamp};
use super::post::Post;
use super::run::{self, Run};
use crate::clock::unix_ms;
use crate::platform::process::{self, Exit, Process};
use change::Way;

/// How long a service may take to end: the 10 s that it may give to requests under way, and something to notice.
const STOP_DEADLINE: Duration = Duration::from_secs(12);

/// How long a database may take: a large buffer pool has to be written.
const STOP_DEADLINE_DATABASE: Duration = Duration::from_secs(60);

/// Between two questions to a service that is well.
const LOOK: Duration = Duration::from_secs(1);

/// Between two questions to one that starts: `up` waits for it.
const LOOK_STARTING: Duration = Duration::from_millis(100);

/// What is to be.
#[derive(Clone)]
pub(super) struct Wanted {
    /// `None`: it is to end.
    pub(super) service: Option<Arc<Service>>,
    pub(super) generation: Generation,
    /// Rises with every wish for a restart.
    pub(super) restarts: u64,
}

/// See the module.
pub(super) struct Keeper {
    house: Arc<House>,
    post: Arc<Post>,
    wanted: watch::Receiver<Wanted>,
    service: Arc<Service>,
    /// The plan that the service was last told of.
    generation: Generation,
    restarts_asked: u64,
    restarts: u32,
    backoff: Backoff,
    /// Why it is started again.
    crash: Option<String>,
    /// Why what runs is not what is wanted: the next wish is tried again.
    declined: Option<String>,
    /// The secrets as they were when they were last looked at.
    secrets: Option<Stamp>,
    /// It runs the program of before an upgrade.
    other_build: bool,
    /// An adopted one is in the state that it was in, for as long as it was.
    adopted_since: Option<u64>,
}

/// Where the service is between two steps.
pub(super) enum Phase {
    Start,
    Running(Box<Run>),
    Pause { until: Time, because: String },
    End,
}

/// Why watching ended.
enum Turn {
    /// The process has.
    Ended(Exit),
    /// Something else is wanted than what runs.
    Wanted,
}

/// Asks a process to end, then makes it.
async fn end(process: &Process, name: &ServiceName, role: Role) {
    let deadline = if role == Role::Database { STOP_DEADLINE_DATABASE } else { STOP_DEADLINE };
    for signal in [Signal::TERM, Signal::KILL] {
        if let Err(error) = process.signal(signal) {
            tracing::error!("{name} cannot be ended: {error}");
        }
        if timeout(deadline, process.ended()).await.is_ok() {
            return;
        }
        tracing::error!("{name} did not end within {deadline:?}");
    }
}

impl Keeper {
    /// A keeper for what is wanted; `None` if nothing is.
    pub(super) fn new(house: Arc<House>, post: Arc<Post>, wanted: watch::Receiver<Wanted>) -> Option<Keeper> {
        let first = wanted.borrow().clone();
        Some(Keeper {
            house,
            post,
            service: first.service?,
            generation: first.generation,
            restarts_asked: first.restarts,
            wanted,
            restarts: 0,
            backoff: Backoff::new(Policy::PROCESS),
            crash: None,
            declined: None,
            other_build: false,
            secrets: None,
            adopted_since: None,
        })
    }

    /// Keeps the service until it is no longer wanted, and has ended.
    pub(super) async fn keep(mut self, adopted: Option<Run>) {
        self.house.keep_fence(&self.service);
        self.house.keep_addresses(&self.service);
        let mut phase = match adopted {
            Some(run) => self.adopt(run),
            None => {
                self.end_leftover().await;
                Phase::Start
            }
        };
        loop {
            phase = match phase {
                Phase::Start => self.start(),
                Phase::Running(mut run) => match self.watch(&run).await {
                    Turn::Ended(exit) => self.crashed(&run, exit),
                    Turn::Wanted => match self.change(&mut run).await {
                        Way::Follows => Phase::Running(run),
                        Way::Beside => self.hand_over(run).await,
                        Way::Anew => self.stop(&run).await,
                    },
                },
                Phase::Pause { until, because } => self.pause(until, because).await,
                Phase::End => return self.publish(State::Stopped, "stopped as asked", None, None),
            };
        }
    }

    fn adopt(&mut self, run: Run) -> Phase {
        tracing::info!(pid = run.process.pid(), "{} goes on under this supervisor", self.service.name);
        (self.restarts, self.generation) = (run.record.restarts, run.record.generation);
        self.other_build = run.is_other_build();
        self.adopted_since = Some(run.record.since_ms);
        self.backoff.started(self.house.now());
        self.house.note_use(&run.record.service);
        Phase::Running(Box::new(run))
    }

    /// Ends a process of this service that an earlier supervisor left behind without anyone keeping hold of it: it
    /// would answer beside the new one. It is known by the report socket that it listens on.
    async fn end_leftover(&self) {
        let listener = UnixStream::connect(self.house.report_socket(&self.service));
        let Some(pid) = listener.ok().and_then(|stream| socket_peercred(stream).ok()).map(|peer| peer.pid) else {
            return;
        };
        let pid = pid.as_raw_nonzero().get().cast_unsigned();
        let is_ours = process::arguments(pid).get(1..) == Some(&["service".to_owned(), self.service.name.to_string()]);
        if let Some(process) = is_ours.then(|| Process::open(pid).ok()).flatten() {
            tracing::warn!(pid, "ending the {} that an earlier supervisor left behind", self.service.name);
            self.end(&process).await;
        }
    }

    /// ## Start => (Running | Pause)
    fn start(&mut self) -> Phase {
        let wanted = self.wanted.borrow_and_update().clone();
        (self.restarts_asked, self.generation) = (wanted.restarts, wanted.generation);
        let Some(service) = wanted.service else { return Phase::End };
        self.service = service;
        self.house.keep_addresses(&self.service);
        (self.adopted_since, self.declined, self.other_build) = (None, None, false);
        self.secrets = self.house.secrets_stamp();
        self.backoff.started(self.house.now());
        match Run::start(&self.house, &self.service, wanted.generation, &self.post.journal, self.restarts) {
            Ok(run) => {
                tracing::info!(pid = run.process.pid(), "{} started", self.service.name);
                let because = self.crash.take().map(|crash| format!("started again, since it {crash}"));
                self.publish(State::Starting, because.as_deref().unwrap_or("just started"), Some(&run), None);
                Phase::Running(Box::new(run))
            }
            Err(obstacle) => self.rest(obstacle.to_string()),
        }
    }

    /// Looks at a running service until something is to be done.
    async fn watch(&mut self, run: &Run) -> Turn {
        let socket = self.house.report_socket(&self.service);
        let mut health = Health::new(socket, self.house.now());
        loop {
            // Questions are dropped half-way when something else happens; a process that ended needs no answer.
            let look = async {
                let answer = health.ask().await;
                let verdict = health.judge(self.house.now(), answer);
                let pause = if verdict.state == State::Starting { LOOK_STARTING } else { LOOK };
                let (state, because) = self.with_declined(verdict.state, verdict.because);
                self.publish(state, &because, Some(run), verdict.report);
                sleep(pause).await;
            };
            tokio::select! {
                biased;
                exit = run.process.ended() => return Turn::Ended(exit),
                () = self.until_due() => return Turn::Wanted,
                () = look => {}
            }
            if self.has_new_secrets(run) {
                return Turn::Wanted;
            }
        }
    }

    /// Whether the secrets are others than the process has, and it may be able to take them over.
    fn has_new_secrets(&mut self, run: &Run) -> bool {
        let stamp = self.house.secrets_stamp();
        if !change::may_follow(&self.service) || stamp == self.secrets {
            return false;
        }
        self.secrets = stamp;
        self.has_other_secrets(run)
    }

    fn has_other_secrets(&self, run: &Run) -> bool {
        match self.house.secrets_for(&self.service) {
            Ok(secrets) => run::fingerprint(&secrets) != run.record.secrets,
            Err(obstacle) => {
                tracing::warn!("{} goes on with the secrets that it has: {obstacle}", self.service.name);
                false
            }
        }
    }

    /// Whether something else is wanted than what runs. A new generation alone changes nothing; who can be told of it is.
    fn is_due(&self) -> bool {
        let wanted = self.wanted.borrow();
        wanted.service.as_ref() != Some(&self.service)
            || wanted.restarts != self.restarts_asked
            || (wanted.generation != self.generation && change::may_follow(&self.service))
    }

    async fn until_due(&self) {
        let mut wanted = self.wanted.clone();
        while !self.is_due() {
            // The desk outlives its keepers; if it is gone, so are we soon.
            if wanted.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn crashed(&mut self, run: &Run, exit: Exit) -> Phase {
        // Its last words may still be in the pipe.
        self.post.journal.pump();
        run::forget(&self.service.name, &self.house.notify);
        let unasked = if exit == Exit::Code(0) { " without being asked" } else { "" };
        let words = self.post.journal.last_words(run.log_mark);
        let words = words.map(|words| format!(": {words}")).unwrap_or_default();
        let because = format!("{exit}{unasked}{words}");
        self.crash = Some(because.clone());
        self.rest(because)
    }

    /// Asks the process to end, then starts what is wanted instead.
    async fn stop(&mut self, run: &Run) -> Phase {
        self.publish(State::Stopping, "asked to end", Some(run), None);
        if self.leaves_its_server(run) {
            let _ = run.process.signal(Signal::KILL);
            run.process.ended().await;
        } else {
            self.end(&run.process).await;
        }
        self.post.journal.pump();
        run::forget(&self.service.name, &self.house.notify);
        self.backoff.forgive();
        Phase::Start
    }

    /// A database role among several, that of a member of the store, and a cache's, are made to be killed: the server under them goes on,
    /// a lease lasts, and the next one adopts both. Asked to end, they would end their servers: with a plan that changes all
    /// members of the store, on all servers at once, and so without a majority.
    fn leaves_its_server(&self, run: &Run) -> bool {
        let is_one_of_several = |service: &Service| match &service.config {
            Config::Database(database) => !database.store.is_empty(),
            Config::Store(_) | Config::Cache(_) => true,
            _ => false,
        };
        let next = self.wanted.borrow().service.clone();
        let floats = |service: &Service| matches!(service.config, Config::Vip(_));
        if floats(&run.record.service) && next.as_deref().is_some_and(floats) {
            // What it holds stays for a while, and is its successor's: nobody notices.
            return true;
        }
        is_one_of_several(&run.record.service) && next.is_some_and(|next| is_one_of_several(&next))
    }

    async fn end(&self, process: &Process) {
        end(process, &self.service.name, self.service.role).await;
    }

    fn rest(&mut self, because: String) -> Phase {
        let now = self.house.now();
        let until = self.backoff.ended(now);
        self.restarts = self.restarts.saturating_add(1);
        tracing::error!(
            restarts = self.restarts,
            pause_ms = (until - now).as_millis() as u64,
            "{} {because}",
            self.service.name
        );
        Phase::Pause { until, because }
    }

    /// ## Pause => Start
    async fn pause(&mut self, until: Time, because: String) -> Phase {
        let pause = until - self.house.now();
        let because = match pause.as_secs_f64() {
            seconds if seconds > 0.0 => format!("{because}; tried again after {seconds:.1} s"),
            _ => because,
        };
        self.publish(State::Failed, &because, None, None);
        tokio::select! {
            () = sleep(pause) => {}
            () = self.until_due() => self.backoff.forgive(),
        }
        Phase::Start
    }

    fn publish(&self, state: State, because: &str, run: Option<&Run>, report: Option<Report>) {
        let known = self.post.status.load();
        let same = known.state == state;
        let pid = run.map(|run| run.process.pid());
        self.post.status.store(Arc::new(ServiceStatus {
            name: self.service.name.clone(),
            role: self.service.role,
            state,
            since_ms: if same { known.since_ms } else { self.adopted_since.unwrap_or_else(unix_ms) },
            because: self.with_log_trouble(&self.with_build(because)),
            pid,
            restarts: self.restarts,
            rss_bytes: pid.map_or(0, process::rss_bytes),
            report,
        }));
        // After the status: who sees that the right service runs sees how that one is.
        self.post.declined.store(self.declined.as_ref().map(|_| Arc::clone(&self.service)));
        let runs = run.map(|run| &run.record.service);
        if self.post.runs.load().as_deref() != runs {
            self.post.runs.store(runs.cloned().map(Arc::new));
        }
    }

    fn with_declined(&self, state: State, because: String) -> (State, String) {
        match &self.declined {
            None => (state, because),
            Some(declined) => {
                let because = format!("goes on as it was, since it cannot be changed: {declined}; {because}");
                (state.max(State::Degraded), because)
            }
        }
    }

    fn with_build(&self, because: &str) -> String {
        let note = if self.other_build { "; it still runs the program of before the upgrade" } else { "" };
        format!("{because}{note}")
    }

    fn with_log_trouble(&self, because: &str) -> String {
        match self.post.journal.trouble() {
            Some(trouble) => format!("{because}; its log is lost: {trouble}"),
            None => because.to_owned(),
        }
    }
}
