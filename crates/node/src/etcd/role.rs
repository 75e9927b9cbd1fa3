//! The loop.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::backoff::Policy;
use mainstay_site::names::ServerName;
use mainstay_site::plan;
use mainstay_site::wire::State;
use tokio::time::timeout;

use super::arguments::{self, Entry};
use super::duties::{Duties, Scene, leave};
use super::entry::{decide, joined_key};
use super::places::Places;
use super::turn::Turn;
use super::{Error, report};
use crate::clock::{boot_time, unix_ms};
use crate::platform::process::{self, Exit, Process};
use crate::platform::program;
use crate::service::{Context, Reporter};
use crate::store::etcd::Health;
use crate::store::{self, Compare, Coordination, Etcd, Write};
use crate::tended::{Crashes, Tended, tend};

/// Between two looks at members that are well.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks while something is being waited for.
const LOOK_STARTING: Duration = Duration::from_millis(100);
/// What etcd gets for a clean end, in which it hands the lead over; a service has 10 s in all.
const STOP: Duration = Duration::from_secs(5);
/// For a member to put itself out before that, if it is no member any more.
const LEAVE: Duration = Duration::from_secs(3);

/// Looks after the member until asked to end.
pub async fn serve(context: Context, config: &plan::Store, places: Places) {
    let Context { reporter, shutdown, .. } = context;
    tend(Role::new(config, &places, reporter), shutdown).await;
}

struct Role<'a> {
    config: &'a plan::Store,
    places: &'a Places,
    reporter: Reporter,
    /// All members, this one first.
    all: Etcd,
    /// The members but this one, and those of before.
    others: Option<Etcd>,
    process: Option<Process>,
    crashes: Crashes<Exit>,
    duties: Duties,
    /// Whether each member answers, and since when.
    since: BTreeMap<ServerName, (bool, u64)>,
    /// When the others were first looked for.
    looking_since: Option<Time>,
    /// Whether the store says that this member has been one.
    joined: Option<u64>,
    /// When it may be restarted with other arguments.
    turn: Turn,
}

impl<'a> Role<'a> {
    fn new(config: &'a plan::Store, places: &'a Places, reporter: Reporter) -> Role<'a> {
        let mut endpoints = config.endpoints();
        endpoints.sort_by_key(|(server, _)| *server != places.server);
        let former = config.former.iter().map(|member| (member.server.clone(), member.client));
        let others: Vec<_> = endpoints.iter().skip(1).cloned().chain(former).collect();
        Role {
            all: places.store(&endpoints),
            others: (!others.is_empty()).then(|| places.store(&others)),
            config,
            places,
            reporter,
            process: None,
            crashes: Crashes::new(Policy::PROCESS),
            duties: Duties::default(),
            since: BTreeMap::new(),
            looking_since: None,
            joined: None,
            turn: Turn::default(),
        }
    }

    async fn advance(&mut self) -> Result<Duration, Error> {
        if self.process.is_none() && !self.bring().await? {
            return Ok(LOOK_STARTING);
        }
        let health = self.all.health().await;
        self.note(&health);
        let trouble = self.attend(&health).await.err().map(|error| error.to_string());
        let own = &self.places.server;
        if self.turn.has_come(&self.all, own, &health, boot_time()).await
            && let Some(process) = self.process.take()
        {
            tracing::info!(pid = process.pid(), "etcd is restarted with other arguments");
            process.end("etcd", STOP).await;
            return Ok(Duration::ZERO);
        }
        Ok(self.publish(&health, trouble.or_else(|| self.turn.waits_for(own, &health))))
    }

    /// Adopts what runs, or starts it once it is known how. Whether it runs now.
    async fn bring(&mut self) -> Result<bool, Error> {
        if let Some((exit, wait_s)) = self.crashes.forbid(boot_time()) {
            return Err(Error::Crashed { how: exit.to_string(), wait_s });
        }
        self.places.prepare()?;
        if self.adopt().await? {
            return Ok(true);
        }
        self.shed_removed().await?;
        let entry = if self.places.has_data() { Some(Entry::Return) } else { self.enter().await? };
        match entry {
            Some(entry) => self.start(&entry).map(|()| true),
            None => {
                self.say(State::Starting, "looking for the other members".into());
                Ok(false)
            }
        }
    }

    async fn enter(&mut self) -> Result<Option<Entry>, Error> {
        let now = boot_time();
        let since = *self.looking_since.get_or_insert(now);
        decide(self.places, self.config, self.others.as_ref(), since, now).await
    }

    /// Finds etcd with this data directory.
    async fn adopt(&mut self) -> Result<bool, Error> {
        let lasting = arguments::lasting(self.places);
        let Some(process) = find(&lasting[0])? else { return Ok(false) };
        if arguments::is_same(&process::arguments(process.pid()), &lasting) {
            tracing::info!(pid = process.pid(), "adopted the running etcd");
        } else {
            tracing::info!(
                pid = process.pid(),
                "adopted etcd with other arguments: it is restarted when it is its turn"
            );
            self.turn = Turn::waiting();
        }
        self.process = Some(process);
        Ok(true)
    }

    /// Data of a member that the others have put out is of no use to anybody: etcd ends with it.
    async fn shed_removed(&self) -> Result<(), Error> {
        let crashed = matches!(self.crashes.cause, Some(Exit::Code(_) | Exit::Unknown));
        let Some(others) = self.others.as_ref().filter(|_| crashed && self.places.has_data()) else { return Ok(()) };
        let Ok(roster) = others.roster().await else { return Ok(()) };
        let own = arguments::url(self.places.own.peer);
        if !roster.iter().any(|listed| listed.peers.contains(&own)) {
            let kept = self.places.set_aside()?;
            tracing::warn!("this member was put out; its data is kept at {} and not used", kept.display());
        }
        Ok(())
    }

    fn start(&mut self, entry: &Entry) -> Result<(), Error> {
        tracing::info!(?entry, "starting etcd");
        self.places.mark()?;
        let mut command = Command::new(program::find("etcd").ok_or(Error::Missing)?);
        command
            .args(arguments::lasting(self.places))
            .args(arguments::entering(self.places, &self.config.members, entry))
            .current_dir("/")
            .env_clear()
            .env("PATH", program::PATH)
            .stdin(Stdio::null());
        // It outlives this role, and a signal to our process group is not for it.
        command.process_group(0);
        self.process = Some(Process::open(command.spawn()?.id())?);
        Ok(())
    }

    fn note(&mut self, health: &[(ServerName, Result<Health, store::Error>)]) {
        for (name, health) in health {
            let now = (health.is_ok(), unix_ms());
            let known = self.since.entry(name.clone()).or_insert(now);
            if known.0 != now.0 {
                *known = now;
            }
        }
    }

    /// What is to be done once the members agree.
    async fn attend(&mut self, health: &[(ServerName, Result<Health, store::Error>)]) -> Result<(), store::Error> {
        let own = health.iter().find(|(name, _)| *name == self.places.server);
        let Some((_, Ok(own))) = own else { return Ok(()) };
        if own.leader == 0 {
            return Ok(());
        }
        if self.joined != Some(own.id) {
            note_joined(&self.all, own.id).await?;
            self.joined = Some(own.id);
        }
        if own.leader != own.id {
            return Ok(());
        }
        let scene = Scene { etcd: &self.all, config: self.config, places: self.places, health, now: boot_time() };
        self.duties.attend(&scene).await
    }

    fn publish(&self, health: &[(ServerName, Result<Health, store::Error>)], trouble: Option<String>) -> Duration {
        let Some(process) = &self.process else { return LOOK_STARTING };
        let (own, restarts, others_since) = (&self.places.server, self.crashes.total, &self.since);
        let said = report::running(&report::Seen { own, health, process, restarts, others_since, trouble });
        let pause = if said.state == State::Starting { LOOK_STARTING } else { LOOK };
        self.reporter.announce(said);
        pause
    }

    fn say(&self, state: State, because: String) {
        self.reporter.announce(report::without(state, because, self.process.as_ref(), self.crashes.total));
    }
}

impl Tended for Role<'_> {
    async fn turn(&mut self) -> Duration {
        match self.advance().await {
            Ok(pause) => pause,
            Err(error) => {
                self.say(State::Failed, error.to_string());
                LOOK
            }
        }
    }

    fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn note_end(&mut self, exit: Exit) {
        if let Some(process) = self.process.take() {
            self.crashes.note(boot_time(), process.age(), exit);
        }
        tracing::error!("etcd {exit}");
    }

    async fn stop(mut self) {
        self.say(State::Stopping, "etcd is ending as asked".into());
        if let Some(process) = self.process.take() {
            match timeout(LEAVE, leave(&self.all, self.places)).await {
                Ok(Ok(true)) => tracing::info!("this member's vote has gone to another server: it is out"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!("whether this member is out is not known: {error}"),
                Err(_) => tracing::warn!("whether this member is out is not known: nobody answers within {LEAVE:?}"),
            }
            process.end("etcd", STOP).await;
        }
        self.say(State::Stopped, "ended as asked".into());
    }
}

/// Notes in the store that this member has been one: if it ever asks again without its data, it is somebody else.
async fn note_joined(etcd: &Etcd, id: u64) -> Result<(), store::Error> {
    let key = joined_key(id);
    let note = Write::Put { key: key.clone(), value: b"{}".to_vec(), lease: None };
    etcd.transact(&[Compare::Absent(key)], &[note]).await.map(drop)
}

/// The process that has `first` as its first argument, as only etcd of this server has.
fn find(first: &str) -> Result<Option<Process>, Error> {
    let is_ours = |pid: u32| {
        let arguments = process::arguments(pid);
        let program = arguments.first().and_then(|path| Path::new(path).file_name());
        program.is_some_and(|name| name == "etcd") && arguments.get(1).is_some_and(|it| it == first)
    };
    Ok(Process::find(is_ours)?)
}
