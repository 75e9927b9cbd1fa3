//! The loop: looks once a second at what runs, and brings it to what is wanted.

use std::path::PathBuf;
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::backoff::Policy;
use mainstay_site::plan;
use mainstay_site::wire::State;
use rustix::process::Signal;

use super::report::{self, Info};
use super::{Error, configuration, process};
use crate::clock::boot_time;
use crate::platform::process::{Exit, Process};
use crate::redis::{self, Redis};
use crate::service::{Context, Launch, Reporter};
use crate::tended::{Crashes, Tended, tend};

/// Between two looks at one that is well.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks while something is being waited for.
const LOOK_STARTING: Duration = Duration::from_millis(50);
/// After this long without an answer it counts as failed, as a backend does.
const FAILED: Duration = Duration::from_secs(3);
/// And after this long it is killed: what it kept is worth less than a cache that answers. No command that an application
/// should give takes as long.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// Looks after Redis until asked to end.
pub async fn serve(context: Context, config: &plan::Redis) {
    let Context { launch, reporter, shutdown, .. } = context;
    tend(Role::new(&launch, config, reporter), shutdown).await;
}

struct Role<'a> {
    launch: &'a Launch,
    config: &'a plan::Redis,
    configuration: PathBuf,
    reporter: Reporter,
    process: Option<Process>,
    connection: Option<Redis>,
    /// When it last answered, or was started.
    heard: Time,
    crashes: Crashes<Exit>,
}

impl<'a> Role<'a> {
    fn new(launch: &'a Launch, config: &'a plan::Redis, reporter: Reporter) -> Role<'a> {
        Role {
            launch,
            config,
            configuration: configuration::path(launch),
            reporter,
            process: None,
            connection: None,
            heard: boot_time(),
            crashes: Crashes::new(Policy::PROCESS),
        }
    }

    /// Adopts what runs, or starts it.
    async fn bring(&mut self) -> Result<(), Error> {
        if self.process.is_some() {
            return Ok(());
        }
        if let Some((exit, wait_s)) = self.crashes.forbid(boot_time()) {
            return Err(Error::Crashed { how: exit.to_string(), wait_s });
        }
        let must_restart = configuration::must_restart(self.launch, self.config);
        let found = process::find(&self.configuration)?;
        configuration::write(&self.configuration, &configuration::text(self.launch, self.config))?;
        self.heard = boot_time();
        match found {
            Some(process) if must_restart => {
                tracing::info!(pid = process.pid(), "Redis is started anew with other settings");
                process::end(&process).await;
            }
            Some(process) => {
                tracing::info!(pid = process.pid(), "adopted the running Redis");
                self.process = Some(process);
                return Ok(());
            }
            None => {}
        }
        self.process = Some(process::start(&self.configuration)?);
        Ok(())
    }

    /// Asks it how it is, and corrects what can be corrected while it runs.
    async fn look(&mut self) -> Result<Info, redis::Error> {
        let mut redis = match self.connection.take() {
            Some(redis) => redis,
            None => Redis::connect(self.config.address, &self.launch.secrets.cache_admin).await?,
        };
        let mut info = redis.info().await?;
        let corrections = corrections(self.config, &info);
        for command in &corrections {
            tracing::info!("Redis is told: {}", command.join(" "));
            redis.ask(&command.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        }
        if !corrections.is_empty() {
            info = redis.info().await?;
        }
        self.connection = Some(redis);
        Ok(info)
    }

    /// What is done about one that does not answer. How long to wait for the next look.
    async fn doubt(&mut self, because: redis::Error) -> Duration {
        let Some(process) = &self.process else { return LOOK_STARTING };
        let pid = process.pid();
        let silent = boot_time().since(self.heard);
        if because.is_password() || silent >= GIVEN_UP {
            tracing::error!(pid, seconds = silent.as_secs(), "Redis is killed and started anew, empty: {because}");
            let _ = process.signal(Signal::KILL);
            return LOOK_STARTING;
        }
        if self.reporter.current().state == State::Starting && silent < FAILED {
            self.say(State::Starting, format!("Redis has been started: {because}"));
            return LOOK_STARTING;
        }
        // Once is nothing: it may have had one long command.
        if silent >= FAILED {
            self.say(State::Failed, Error::Unusable { pid, because }.to_string());
        }
        LOOK_STARTING
    }

    fn say(&self, state: State, because: String) {
        self.reporter.announce(report::silent(state, because, self.process.as_ref(), self.crashes.total));
    }
}

impl Tended for Role<'_> {
    async fn turn(&mut self) -> Duration {
        if let Err(error) = self.bring().await {
            self.say(State::Failed, error.to_string());
            return LOOK;
        }
        match self.look().await {
            Ok(info) => {
                self.heard = boot_time();
                let Some(process) = &self.process else { return LOOK_STARTING };
                let said = report::answering(self.config, &info, process, self.crashes.total);
                let pause = if said.state == State::Starting { LOOK_STARTING } else { LOOK };
                self.reporter.announce(said);
                pause
            }
            Err(because) => {
                self.connection = None;
                self.doubt(because).await
            }
        }
    }

    fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn note_end(&mut self, exit: Exit) {
        self.connection = None;
        if let Some(process) = self.process.take() {
            self.crashes.note(boot_time(), process.age(), exit);
        }
        tracing::error!("Redis {exit}");
    }

    async fn stop(mut self) {
        self.say(State::Stopping, "Redis is ending as asked".into());
        if let Some(process) = self.process.take() {
            process::end(&process).await;
        }
        self.say(State::Stopped, "ended as asked".into());
    }
}

/// The commands that bring what is to what is wanted.
fn corrections(config: &plan::Redis, info: &Info) -> Vec<Vec<String>> {
    let said = |name: &str| info.get(name).map_or("", String::as_str);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut commands = Vec::new();
    let memory = config.memory_bytes.to_string();
    if said("maxmemory") != memory {
        commands.push(words(&["CONFIG", "SET", "maxmemory", &memory]));
    }
    let follows = (said("role") == "slave").then(|| (said("master_host"), said("master_port")));
    match &config.follows {
        None if follows.is_some() => commands.push(words(&["REPLICAOF", "NO", "ONE"])),
        Some((_, at)) => {
            let (host, port) = (at.ip().to_string(), at.port().to_string());
            if follows != Some((&host, &port)) {
                commands.push(words(&["REPLICAOF", &host, &port]));
            }
        }
        None => {}
    }
    commands
}
