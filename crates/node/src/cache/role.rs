//! The loop: looks once a second at what runs, and brings it to what is wanted.

use std::path::PathBuf;
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::backoff::{Backoff, Policy};
use mainstay_site::plan;
use mainstay_site::wire::{Report, State};
use rustix::process::Signal;
use tokio::time::sleep;

use super::process::Running;
use super::report::{self, Info};
use super::{Error, configuration};
use crate::platform::process::Exit;
use crate::redis::{self, Redis};
use crate::service::{Context, Launch, Reporter};
use crate::store::boot_time;

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
    let Context { launch, reporter, mut shutdown, .. } = context;
    let mut role = Role::new(&launch, config, reporter);
    loop {
        let pause = tokio::select! {
            pause = role.turn() => pause,
            () = shutdown.requested() => break,
        };
        tokio::select! {
            () = sleep(pause) => {}
            exit = ended(role.running.as_ref()) => role.note_end(exit),
            () = shutdown.requested() => break,
        }
    }
    role.stop().await;
}

async fn ended(running: Option<&Running>) -> Exit {
    match running {
        Some(running) => running.process.ended().await,
        None => std::future::pending().await,
    }
}

struct Role<'a> {
    launch: &'a Launch,
    config: &'a plan::Redis,
    configuration: PathBuf,
    reporter: Reporter,
    running: Option<Running>,
    connection: Option<Redis>,
    /// When it last answered, or was started.
    heard: Time,
    backoff: Backoff,
    again_at: Time,
    crash: Option<Exit>,
    restarts: u64,
}

impl<'a> Role<'a> {
    fn new(launch: &'a Launch, config: &'a plan::Redis, reporter: Reporter) -> Role<'a> {
        Role {
            launch,
            config,
            configuration: configuration::path(launch),
            reporter,
            running: None,
            connection: None,
            heard: boot_time(),
            backoff: Backoff::new(Policy::PROCESS),
            again_at: Time::ZERO,
            crash: None,
            restarts: 0,
        }
    }

    /// One look and what follows from it. How long to wait for the next.
    async fn turn(&mut self) -> Duration {
        if let Err(error) = self.bring().await {
            self.say(State::Failed, error.to_string());
            return LOOK;
        }
        match self.look().await {
            Ok(info) => {
                self.heard = boot_time();
                let Some(running) = &self.running else { return LOOK_STARTING };
                let said = report::answering(self.config, &info, running, self.restarts);
                let pause = if said.state == State::Starting { LOOK_STARTING } else { LOOK };
                self.publish(said);
                pause
            }
            Err(because) => {
                self.connection = None;
                self.doubt(because).await
            }
        }
    }

    /// Adopts what runs, or starts it.
    async fn bring(&mut self) -> Result<(), Error> {
        if self.running.is_some() {
            return Ok(());
        }
        let wait = self.again_at.since(boot_time());
        if let Some(exit) = self.crash.filter(|_| !wait.is_zero()) {
            return Err(Error::Crashed { how: exit.to_string(), wait_s: wait.as_secs() + 1 });
        }
        let must_restart = configuration::must_restart(self.launch, self.config);
        let found = Running::find(&self.configuration)?;
        configuration::write(&self.configuration, &configuration::text(self.launch, self.config))?;
        self.heard = boot_time();
        match found {
            Some(running) if must_restart => {
                tracing::info!(pid = running.process.pid(), "Redis is started anew with other settings");
                running.end().await;
            }
            Some(running) => {
                tracing::info!(pid = running.process.pid(), "adopted the running Redis");
                self.running = Some(running);
                return Ok(());
            }
            None => {}
        }
        self.running = Some(Running::start(&self.configuration)?);
        self.backoff.started(boot_time());
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

    /// ## Running => (Running | ended)
    async fn doubt(&mut self, because: redis::Error) -> Duration {
        let Some(running) = &self.running else { return LOOK_STARTING };
        let pid = running.process.pid();
        let silent = boot_time().since(self.heard);
        if because.is_password() || silent >= GIVEN_UP {
            tracing::error!(pid, seconds = silent.as_secs(), "Redis is killed and started anew, empty: {because}");
            let _ = running.process.signal(Signal::KILL);
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
        self.publish(report::silent(state, because, self.running.as_ref(), self.restarts));
    }

    fn publish(&self, said: Report) {
        // Only what is new.
        if self.reporter.current().because != said.because {
            match said.state {
                State::Failed => tracing::error!(state = said.state.as_str(), "{}", said.because),
                _ => tracing::info!(state = said.state.as_str(), "{}", said.because),
            }
        }
        self.reporter.publish(said);
    }

    fn note_end(&mut self, exit: Exit) {
        (self.running, self.connection) = (None, None);
        self.restarts += 1;
        self.again_at = self.backoff.ended(boot_time());
        self.crash = Some(exit);
        tracing::error!("Redis {exit}");
    }

    async fn stop(mut self) {
        self.say(State::Stopping, "Redis is ending as asked".into());
        if let Some(running) = self.running.take() {
            running.end().await;
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
