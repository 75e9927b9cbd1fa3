//! One life of a service: its process and what was put away about it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use mainstay_site::model::FORMAT;
use mainstay_site::names::{Generation, ServiceName};
use mainstay_site::plan::{Config, Service};
use mainstay_site::secrets::Secrets;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::house::{House, Obstacle};
use super::journal::Journal;
use crate::clock::unix_ms;
use crate::harness::LAUNCH_FD;
use crate::platform::inherit::FIRST_FD;
use crate::platform::notify::Notify;
use crate::platform::process::{self, Process};
use crate::platform::spawn::{self, Start};
use crate::service::Launch;

/// What the names of kept pidfds begin with.
pub(super) const PIDFD_KEPT_AS: &str = "pid-";
/// What the names of kept records begin with.
pub(super) const RECORD_KEPT_AS: &str = "run-";

/// What of a supervisor's environment is none of its services' business.
const WITHHELD: [&str; 5] = ["NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC"];

/// What the next supervisor must know of a process that it adopts. Kept in memory, beside the pidfd: it needs no disk,
/// and is gone exactly when the process is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    pid: u32,
    start_ticks: u64,
    /// The plan that it follows.
    pub(super) generation: Generation,
    pub(super) since_ms: u64,
    pub(super) restarts: u32,
    pub(super) service: Service,
    /// The fingerprint of the secrets that it has.
    #[serde(default)]
    pub(super) secrets: String,
}

/// A running service.
pub(super) struct Run {
    pub(super) process: Process,
    pub(super) record: Record,
    /// Its log begins behind this line.
    pub(super) log_mark: u64,
}

impl Run {
    /// Starts the service's process.
    pub(super) fn start(
        house: &House,
        service: &Service,
        generation: Generation,
        journal: &Journal,
        restarts: u32,
    ) -> Result<Run, Obstacle> {
        Run::begin(house, launch(house, service, generation)?, journal, restarts)
    }

    /// Starts it beside the process that it is to replace.
    pub(super) fn start_beside(
        house: &House,
        service: &Service,
        generation: Generation,
        journal: &Journal,
        restarts: u32,
    ) -> Result<Run, Obstacle> {
        let launch = Launch { beside: true, ..launch(house, service, generation)? };
        Run::begin(house, launch, journal, restarts)
    }

    fn begin(house: &House, launch: Launch, journal: &Journal, restarts: u32) -> Result<Run, Obstacle> {
        let (service, generation) = (&launch.service.clone(), launch.generation);
        house.make_folders(service)?;
        let mut sockets = house.sockets().ensure(&service.listens, &house.notify)?;
        sockets.extend(house.sockets().local(service, launch.beside, &house.notify));
        let secrets = fingerprint(&launch.secrets);
        let launch = serde_json::to_vec(&launch).map_err(io::Error::from).map_err(Obstacle::HandOver)?;
        let launch = spawn::memory_file("launch", &launch).map_err(Obstacle::HandOver)?;
        let names: Vec<&str> = sockets.iter().map(|(name, _)| name.as_str()).collect();
        let log_mark = journal.seen();
        let pid = spawn::start(&Start {
            arguments: vec!["service".into(), service.name.as_str().into()],
            environment: vec![
                ("LISTEN_FDS", sockets.len().to_string()),
                ("LISTEN_FDNAMES", names.join(":")),
                (LAUNCH_FD, (FIRST_FD + sockets.len() as i32).to_string()),
            ],
            withheld: &WITHHELD,
            user: house.user(service),
            urgent: matches!(service.config, Config::Vip(_) | Config::Store(_)),
            descriptors: sockets.iter().map(|(_, fd)| fd.as_fd()).chain([launch.as_fd()]).collect(),
            log: journal.writer(),
        })
        .map_err(|source| no_process(house, service, source))?;
        let process = Process::open(pid).map_err(Obstacle::Watch)?;
        let record = Record {
            format: FORMAT,
            pid,
            start_ticks: process::start_ticks(pid).unwrap_or(0),
            generation,
            since_ms: unix_ms(),
            restarts,
            service: service.clone(),
            secrets,
        };
        let run = Run { process, record, log_mark };
        run.keep(&house.notify);
        Ok(run)
    }

    /// It follows `launch` now.
    pub(super) fn follows(&mut self, launch: Launch, notify: &Notify) {
        self.record.secrets = fingerprint(&launch.secrets);
        (self.record.generation, self.record.service) = (launch.generation, launch.service);
        self.keep(notify);
    }

    /// Whether it runs another program than this supervisor, as after an upgrade.
    pub(super) fn is_other_build(&self) -> bool {
        let file =
            |process: &str| std::fs::metadata(format!("/proc/{process}/exe")).map(|it| (it.dev(), it.ino())).ok();
        file(&self.process.pid().to_string()) != file("self")
    }

    pub(super) fn keep(&self, notify: &Notify) {
        let name = &self.record.service.name;
        forget(name, notify);
        notify.keep(&format!("{PIDFD_KEPT_AS}{name}"), self.process.as_fd());
        let record = serde_json::to_vec(&self.record).map_err(io::Error::from);
        match record.and_then(|text| spawn::memory_file("record", &text)) {
            Ok(file) => notify.keep(&format!("{RECORD_KEPT_AS}{name}"), file.as_fd()),
            Err(error) => tracing::warn!("{name} will not survive this supervisor: {error}"),
        }
    }

    /// Takes over a process that an earlier supervisor started; `None` if it has ended, or if what was kept does not
    /// belong together.
    pub(super) fn adopt(pidfd: OwnedFd, record: OwnedFd) -> io::Result<Option<Run>> {
        let mut file = File::from(record);
        let mut text = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut text)?;
        let record: Record = serde_json::from_slice(&text)?;
        let process = Process::adopt(pidfd)?;
        let same = |process: &Process| {
            let ticks = process::start_ticks(process.pid());
            record.format <= FORMAT && process.pid() == record.pid && ticks == Some(record.start_ticks)
        };
        // Its log begins where ours begins.
        Ok(process.filter(same).map(|process| Run { process, record, log_mark: 0 }))
    }
}

/// What the service is to be.
pub(super) fn launch(house: &House, service: &Service, generation: Generation) -> Result<Launch, Obstacle> {
    Ok(Launch {
        site: house.site.clone(),
        server: house.server.clone(),
        generation,
        service: service.clone(),
        state: house.state.clone(),
        secrets: house.secrets_for(service)?,
        beside: false,
    })
}

/// By which secrets are told apart without being kept.
pub(super) fn fingerprint(secrets: &Secrets) -> String {
    let text = serde_json::to_vec(secrets).unwrap_or_default();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The process has ended: nothing of it is to be handed to the next supervisor.
pub(super) fn forget(service: &ServiceName, notify: &Notify) {
    notify.forget(&format!("{PIDFD_KEPT_AS}{service}"));
    notify.forget(&format!("{RECORD_KEPT_AS}{service}"));
}

fn no_process(house: &House, service: &Service, source: io::Error) -> Obstacle {
    let program = std::env::current_exe().map_or_else(|_| "mainstay".to_owned(), |path| path.display().to_string());
    let user = house.user(service).map_or_else(|| "this".to_owned(), |user| user.to_string());
    Obstacle::Spawn { user, program, source }
}
