//! The local server: looked at, and acted on one step at a time.
//!
//! A task of its own, so that a statement that hangs holds up nobody's decision. A step that is given up must not take effect
//! later: its connection is ended on the server too, and if that cannot be had, the server is killed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::election::{self, Input, Observed, Recovery, Step, StepId};
use mainstay_site::names::ServerName;
use mainstay_site::plan;
use mainstay_site::secrets::Secrets;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

use super::look::{self, Around};
use crate::clock::boot_time;
use crate::database::admin::{Admin, Fault};
use crate::database::engine::{Engine, Seen, Start};
use crate::database::errors::{self, Errors};
use crate::database::places::Places;
use crate::database::process::Process;
use crate::database::{Error, RESTARTS, accounts, clone, configuration, follow, install, rescue};
use crate::fence::{Answer, Fence};
use crate::platform::process::Exit;
use crate::tended::{Crashes, ended};

/// A look takes a few milliseconds; a server that needs longer than this does not answer.
const LOOK: Duration = Duration::from_millis(1_000);
/// Between two looks at a server that does not answer yet: it takes about 80 ms.
const LOOK_SILENT: Duration = Duration::from_millis(10);
/// What `mariadbd` gets for a clean end; a service has 10 s in all.
const STOP: Duration = Duration::from_secs(7);
/// What a process gets to be gone after SIGKILL: its memory is given back, and dirty pages of files are not waited for.
const KILL: Duration = Duration::from_secs(2);
/// For ending a statement that was given up.
const ABANDON: Duration = Duration::from_millis(300);
/// A commit that waits this long while a replica is connected is helped by another one behind it. That is seen at the second of
/// two looks, a quarter of a second apart; after 1.5 s the replica would be taken out of S for not acknowledging.
const NUDGE_AFTER: Duration = Duration::from_millis(200);

/// What is asked of the hands.
pub struct Act {
    /// The step's number.
    pub id: StepId,
    /// When it is too late.
    pub until: Time,
    /// What.
    pub step: Step,
}

/// The last look, for the report.
#[derive(Clone, Default)]
pub struct Glance {
    /// What was seen, if the server answered.
    pub seen: Option<Seen>,
    /// The process and since when it runs.
    pub process: Option<(u32, u64)>,
    /// How often it ended by itself.
    pub ends: u64,
    /// Why, the last time.
    pub last_end: Option<String>,
    /// Whether the kernel's rule is set, or why not.
    pub fence: Option<Answer>,
    /// Data of before that wait for a person: see [`clone::unread`].
    pub unread: Vec<PathBuf>,
}

/// What the hands are made of.
pub struct Hands {
    pub config: plan::Database,
    pub places: Places,
    pub secrets: Secrets,
    pub fence: Arc<Fence>,
    /// Until when clients may be let in.
    pub open_until: watch::Receiver<Option<Time>>,
    /// How often to look.
    pub pace: watch::Receiver<Duration>,
    pub inputs: mpsc::Sender<Input>,
    pub glance: watch::Sender<Glance>,
    /// Nothing is known yet: the default.
    pub state: Body,
}

/// What the hands know of the server.
pub struct Body {
    process: Option<Process>,
    admin: Option<Admin>,
    prepared: bool,
    rescued: bool,
    after: StepId,
    last: Seen,
    waiting_since: Option<(u64, Instant)>,
    crashes: Crashes<String>,
    /// An order to the fence that is under way.
    fencing: Option<JoinHandle<io::Result<Answer>>>,
}

impl Default for Body {
    fn default() -> Body {
        Body {
            process: None,
            admin: None,
            prepared: false,
            rescued: false,
            after: StepId::default(),
            last: Seen::default(),
            waiting_since: None,
            crashes: Crashes::new(RESTARTS),
            fencing: None,
        }
    }
}

impl Hands {
    /// Works until nobody asks any more, then ends the server: see [`Hands::stop`].
    pub async fn work(mut self, mut acts: mpsc::Receiver<Act>) {
        let mut errors = Errors::new(&self.places);
        self.adopt().await;
        self.note_unread();
        let mut next = Instant::now();
        loop {
            let ended = ended(self.state.process.as_ref().map(Process::held));
            tokio::select! {
                biased;
                exit = ended => {
                    self.note_end(exit, &mut errors);
                    self.tell(election::Process::Stopped).await;
                }
                act = acts.recv() => match act {
                    Some(act) => { self.carry_out(act).await; self.look().await; }
                    None => break,
                },
                // Who was to look in a quarter of a second may be waited for now.
                Ok(()) = self.pace.changed() => {
                    next = next.min(Instant::now() + self.pause());
                    continue;
                }
                () = sleep_until(next) => self.look().await,
            }
            let _ = errors.forward();
            next = Instant::now() + self.pause();
        }
        self.stop().await;
        let _ = errors.forward();
    }

    fn pause(&self) -> Duration {
        let silent = self.state.process.is_some() && self.state.admin.is_none();
        if silent { LOOK_SILENT } else { *self.pace.borrow() }
    }

    /// Goes on with what a role before this one left running. If the plan makes another configuration by now, it is ended.
    async fn adopt(&mut self) {
        let Ok(Some(process)) = Process::find(&self.places) else { return };
        let text = configuration::render(&self.config, &self.places);
        if std::fs::read_to_string(&self.places.configuration).is_ok_and(|known| known == text) {
            tracing::info!(pid = process.pid(), "adopted the running mariadbd");
            self.state.process = Some(process);
            return;
        }
        tracing::info!(pid = process.pid(), "the configuration changed: mariadbd is ended and started again");
        self.state.process = Some(process);
        self.stop().await;
    }

    async fn look(&mut self) {
        let running = self.state.process.is_some();
        let process = match self.seen().await {
            _ if !running => election::Process::Stopped,
            Ok(seen) => {
                self.state.rescued &= seen.replication.as_ref().is_none_or(follow::stands_still);
                self.nudge_if_stuck(&seen);
                self.state.last = seen;
                election::Process::Running
            }
            Err(fault) => {
                tracing::debug!("{fault}");
                self.state.admin = None;
                election::Process::Silent
            }
        };
        self.tell(process).await;
    }

    async fn seen(&mut self) -> Result<Seen, Error> {
        if self.state.process.is_none() {
            return Ok(Seen::default());
        }
        let silent = || Fault::Silent { statement: "look".into(), patience: LOOK };
        let mut admin = self.admin().await?;
        let seen = timeout(LOOK, admin.observe()).await.map_err(|_| silent())??;
        self.state.admin = Some(admin);
        Ok(seen)
    }

    async fn tell(&mut self, process: election::Process) {
        let state = &self.state;
        let around = Around { after: state.after, process, prepared: state.prepared, rescued: state.rescued };
        let observed: Observed = look::observed(&self.config, &self.places.data, around, &state.last);
        let answers = process == election::Process::Running;
        self.glance.send_modify(|glance| {
            glance.seen = answers.then(|| state.last.clone());
            glance.process = state.process.as_ref().map(|process| (process.pid(), process.held().since_ms()));
            (glance.ends, glance.last_end) = (state.crashes.total, state.crashes.cause.clone());
        });
        let _ = self.inputs.send(Input::Observed(Box::new(observed))).await;
    }

    /// The connection; it is taken out, and put back by whoever finds it still good.
    async fn admin(&mut self) -> Result<Admin, Error> {
        if let Some(admin) = self.state.admin.take() {
            return Ok(admin);
        }
        let silent = || Fault::Silent { statement: "login".into(), patience: LOOK };
        let login = Admin::connect(&self.places, &self.secrets.database_admin);
        let mut admin = timeout(LOOK, login).await.map_err(|_| silent())??;
        clone::take_position(&self.places, &mut admin).await?;
        Ok(admin)
    }

    async fn carry_out(&mut self, act: Act) {
        let Act { id, until, step } = act;
        tracing::info!(id = id.0, "{step}");
        let begun = Instant::now();
        let result = match timeout(until.since(boot_time()), self.act(&step)).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err(self.abandon(&step).await),
        };
        match &result {
            Ok(()) => tracing::info!(id = id.0, ms = begun.elapsed().as_millis() as u64, "done: {step}"),
            Err(why) => tracing::warn!(id = id.0, "could not {step}: {why}"),
        }
        self.state.after = id;
        let _ = self.inputs.send(Input::Acted { id, result }).await;
    }

    /// Makes sure that a step that was given up does nothing any more.
    async fn abandon(&mut self, step: &Step) -> String {
        // Its connection was dropped with it; MariaDB may still be at the statement.
        let ended = timeout(ABANDON, async { self.admin().await?.end_others().await.map_err(Error::from) }).await;
        if matches!(ended, Ok(Ok(()))) {
            return "it took too long".into();
        }
        if let Some(process) = self.state.process.take() {
            tracing::warn!(pid = process.pid(), "mariadbd may still be about to {step}: it is killed");
            let _ = process.kill(KILL).await;
        }
        "it took too long, and mariadbd was killed so that it does not happen later".into()
    }

    async fn act(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::Start(recovery) => self.start(*recovery).await,
            Step::Kill => self.kill().await,
            Step::Clone { from } => {
                self.kill().await?;
                self.state.rescued = false;
                let copied = clone::fetch(&self.config, &self.places, &self.secrets, &ServerName::from(from)).await;
                self.note_unread();
                copied
            }
            _ => {
                let mut admin = self.admin().await?;
                let done = self.act_on(step, &mut admin).await;
                if !matches!(&done, Err(Error::Statement(fault)) if !fault.leaves_connection()) {
                    self.state.admin = Some(admin);
                }
                done
            }
        }
    }

    async fn act_on(&mut self, step: &Step, admin: &mut Admin) -> Result<(), Error> {
        match step {
            Step::Close => {
                admin.close().await?;
                tokio::join!(self.free_fence(), admin.cut_clients()).1?;
            }
            Step::Open => {
                let identity = self.config.server_id;
                let (held, written_as) = tokio::join!(self.hold_fence(), admin.write_as(identity));
                held?;
                written_as?;
                admin.open().await?;
            }
            Step::SemiSync(on) => admin.commits_wait(*on).await?,
            Step::Prepare => {
                admin.write_as(self.config.server_id).await?;
                accounts::prepare(admin, &self.config, &self.secrets).await?;
                self.state.prepared = true;
            }
            Step::Freeze => {
                admin.freeze().await?;
            }
            Step::Rescue => {
                rescue::relay_log(&self.places, &self.secrets.database_admin, admin).await?;
                self.state.rescued = true;
            }
            Step::Promote => {
                admin.leave_source().await?;
                // Before there is anybody who waits for it to open.
                admin.write_as(self.config.server_id).await?;
            }
            Step::TakeOver => {
                let received = admin.freeze().await?;
                admin.drain(&received, follow::DRAIN).await?;
                admin.leave_source().await?;
                admin.write_as(self.config.server_id).await?;
            }
            Step::Follow { source, acknowledge } => {
                follow::follow(&self.config, &self.secrets, source, *acknowledge, admin).await?;
                self.free_fence().await;
            }
            Step::Block(server) => admin.expel(&ServerName::from(server)).await?,
            Step::Unblock(server) => admin.admit(&ServerName::from(server)).await?,
            Step::Nudge => self.nudge(),
            Step::Start(_) | Step::Kill | Step::Clone { .. } => {}
        }
        Ok(())
    }

    async fn start(&mut self, recovery: Recovery) -> Result<(), Error> {
        if self.state.process.is_some() {
            return Ok(());
        }
        if let Some((cause, wait_s)) = self.state.crashes.forbid(boot_time()) {
            return Err(Error::Crashed { cause: cause.clone(), wait_s });
        }
        self.places.prepare()?;
        install::ensure(&self.places, &self.secrets.database_admin).await?;
        std::fs::write(&self.places.configuration, configuration::render(&self.config, &self.places))?;
        let how = match recovery {
            Recovery::Whole => Start::Plain,
            Recovery::Truncated => Start::Truncated,
        };
        self.state.rescued = false;
        // It starts closed and with nobody connected, whatever the one before it was.
        let last = &mut self.state.last;
        (last.variables.read_only, last.variables.semi_sync) = (true, false);
        last.replicas.clear();
        self.state.process = Some(Process::start(&self.places, how)?);
        self.free_fence().await;
        Ok(())
    }

    async fn kill(&mut self) -> Result<(), Error> {
        self.state.admin = None;
        if let Some(process) = self.state.process.take() {
            process.kill(KILL).await?;
        }
        Ok(())
    }

    /// Ends the server so that nothing is committed that a client was not told of: what waits for a replica would be, if it
    /// were ended in order. So it is closed first, and killed if it cannot be.
    async fn stop(&mut self) {
        let closed = match self.admin().await {
            Ok(mut admin) => admin.close().await.is_ok(),
            Err(_) => false,
        };
        if let Some(process) = self.state.process.take() {
            if closed {
                process.stop(STOP).await;
            } else {
                let _ = process.kill(KILL).await;
            }
        }
    }

    /// Has the kernel let clients in until the lease's end at most.
    async fn hold_fence(&mut self) -> Result<(), Error> {
        let Some(until) = *self.open_until.borrow() else { return Err(Error::NotLeading) };
        let answer = self.fence(move |fence| fence.hold(until)).await;
        self.note_fence(&answer);
        if matches!(answer, Ok(Answer::Late)) { Err(Error::NotLeading) } else { Ok(()) }
    }

    /// A server that is closed has no need of it.
    async fn free_fence(&mut self) {
        let answer = self.fence(Fence::free).await;
        self.note_fence(&answer);
    }

    /// Gives an order on another thread: it may take a second to be told that nobody takes it. Orders keep their order, also
    /// behind one whose step was given up.
    async fn fence(&mut self, order: impl FnOnce(&Fence) -> io::Result<Answer> + Send + 'static) -> io::Result<Answer> {
        if let Some(before) = &mut self.state.fencing {
            let _ = before.await;
        }
        let fence = Arc::clone(&self.fence);
        let answer = self.state.fencing.insert(spawn_blocking(move || order(&fence))).await;
        self.state.fencing = None;
        answer.unwrap_or_else(|ended| Err(io::Error::other(ended)))
    }

    fn note_fence(&self, answer: &std::io::Result<Answer>) {
        let answer = match answer {
            Ok(answer) => answer.clone(),
            Err(error) => Answer::None { because: format!("the supervisor does not answer: {error}") },
        };
        self.glance.send_if_modified(|glance| {
            let changed = glance.fence.as_ref() != Some(&answer);
            glance.fence = Some(answer);
            changed
        });
    }

    /// A replica that comes back does not acknowledge again what it had before: what waits for that waits until the next one.
    fn nudge_if_stuck(&mut self, seen: &Seen) {
        let (waiting, done) =
            (seen.number("Rpl_semi_sync_master_wait_sessions"), seen.number("Rpl_semi_sync_master_yes_tx"));
        let helpless = waiting == 0 || seen.number("Rpl_semi_sync_master_clients") == 0;
        match self.state.waiting_since {
            _ if helpless => self.state.waiting_since = None,
            Some((before, since)) if before == done => {
                if since.elapsed() >= NUDGE_AFTER {
                    self.state.waiting_since = Some((done, Instant::now()));
                    self.nudge();
                }
            }
            _ => self.state.waiting_since = Some((done, Instant::now())),
        }
    }

    fn nudge(&self) {
        tokio::spawn(nudge(self.places.clone(), self.secrets.database_admin.clone()));
    }

    fn note_unread(&self) {
        self.glance.send_modify(|glance| glance.unread = clone::unread(&self.places));
    }

    fn note_end(&mut self, exit: Exit, errors: &mut Errors) {
        let _ = errors.forward();
        let Some(process) = self.state.process.take() else { return };
        let (lived, cause) = (process.held().age(), errors.cause(exit));
        let lived_ms = lived.as_millis();
        tracing::error!(pid = process.pid(), lived_ms, remedy = errors::remedy(&cause), "{cause}");
        self.state.admin = None;
        self.state.crashes.note(boot_time(), lived, cause);
    }
}

/// On a connection of its own: it waits for a replica too.
async fn nudge(places: Places, password: String) {
    if let Ok(mut admin) = Admin::connect(&places, &password).await {
        let _ = timeout(LOOK, admin.nudge()).await;
    }
}
