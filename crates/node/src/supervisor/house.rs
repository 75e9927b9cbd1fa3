//! What all services of a server share: its folders, sockets, secrets, and the way to whoever keeps descriptors.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use mainstay_machines::Time;
use mainstay_site::model::FORMAT;
use mainstay_site::names::{Domain, ServerName, ServiceName};
use mainstay_site::plan::{Balancer, Config, Door, Service};
use mainstay_site::secrets::Secrets;
use tokio::sync::watch;

use super::addresses::Planned;
use super::sockets::Sockets;
use super::{addresses, fence};
use crate::platform::folder;
use crate::platform::notify::Notify;
use crate::release;

/// Why a service cannot be started. Every one names the culprit and the next step.
#[derive(Debug, thiserror::Error)]
pub(super) enum Obstacle {
    #[error("the folder {path} cannot be made: {source}")]
    Folder { path: String, source: io::Error },
    #[error("{path} cannot be read: {source}; `mainstay up` and `mainstay apply` write it")]
    Secrets { path: String, source: io::Error },
    #[error("{path} is not what this build writes: {reason}; put back the file that it was made with")]
    Garbled { path: String, reason: String },
    #[error(transparent)]
    Socket(#[from] super::sockets::Unbindable),
    #[error("what the service must know cannot be handed over: {0}")]
    HandOver(#[source] io::Error),
    #[error("user {user} cannot execute {program}: {source}; `chmod a+rx` it, and run `mainstay serve` as root")]
    Spawn { user: String, program: String, source: io::Error },
    #[error("its process cannot be watched: {0}")]
    Watch(#[source] io::Error),
}

/// A file as it was at some time: whoever replaces or edits it changes one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    changed_ns: (i64, i64),
}

/// See the module.
pub(super) struct House {
    pub(super) state: PathBuf,
    pub(super) site: Domain,
    pub(super) server: ServerName,
    pub(super) notify: Notify,
    /// As root every service has a user of its own; otherwise all are ours.
    pub(super) root: bool,
    /// The clock of the state machines counts from here.
    pub(super) origin: Instant,
    pub(super) sockets: Mutex<Sockets>,
    /// What the keeper of floating addresses goes by, once there is one.
    pub(super) addresses: OnceLock<Planned>,
    /// Told when an address was handed over while connections of it are still open here.
    pub(super) left: watch::Sender<()>,
}

impl House {
    pub(super) fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    pub(super) fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the service answers.
    pub(super) fn report_socket(&self, service: &Service) -> PathBuf {
        report_socket(&self.state, &service.name)
    }

    /// The user that the service runs as.
    pub(super) fn user(&self, service: &Service) -> Option<u32> {
        self.root.then_some(service.user)
    }

    /// Makes the folders that the service may write.
    pub(super) fn make_folders(&self, service: &Service) -> Result<(), Obstacle> {
        let run = format!("run/{}", service.name);
        // A folder for backups that is there is whoever's it is: its rights are not ours to change.
        let known = |path: &&String| path.starts_with('/') && std::fs::symlink_metadata(path).is_ok();
        for path in std::iter::once(&run).chain(service.writes.iter().filter(|path| !known(path))) {
            // What must survive is nobody else's to read; sockets and uploads are for others too.
            let mode = if path.starts_with("data/") || path.starts_with('/') { 0o700 } else { 0o755 };
            // Backups may be on another disk.
            let (base, path) =
                path.strip_prefix('/').map_or((&*self.state, path.as_str()), |path| (Path::new("/"), path));
            folder::make(base, path, mode, self.user(service))
                .map_err(|source| Obstacle::Folder { path: base.join(path).display().to_string(), source })?;
        }
        Ok(())
    }

    /// The release that a process runs is not among those that go when others come, though its plan may be another one by now.
    pub(super) fn note_use(&self, service: &Service) {
        let Config::App(app) = &service.config else { return };
        for folder in ["builds", "releases"] {
            if let Err(error) = release::note_use(&self.state.join(folder), &app.app, &app.release) {
                tracing::warn!("{error}");
            }
        }
    }

    /// Takes a database role's orders about the clients' port, where it shares the database with others.
    pub(super) fn keep_fence(&self, service: &Service) {
        let Config::Database(database) = &service.config else { return };
        if database.store.is_empty() {
            return;
        }
        let made = self.make_folders(service).map_err(|obstacle| obstacle.to_string());
        let run = self.state.join("run").join(service.name.as_str());
        let kept = made.and_then(|()| {
            fence::keep(&run, database.address, service.user, self.root).map_err(|error| error.to_string())
        });
        if let Err(why) = kept {
            tracing::error!("the database has no fence: {why}");
        }
    }

    /// Takes the orders of who speaks for floating addresses.
    pub(super) fn keep_addresses(&self, service: &Service) {
        let Config::Vip(config) = &service.config else { return };
        if let Some(planned) = self.addresses.get() {
            return planned.store(Arc::new(config.clone()));
        }
        let planned = Arc::new(ArcSwap::from_pointee(config.clone()));
        let made = self.make_folders(service).map_err(|obstacle| obstacle.to_string());
        let run = self.state.join("run").join(service.name.as_str());
        let kept = made.and_then(|()| {
            let left = self.left.clone();
            addresses::keep(&run, planned.clone(), service.user, self.root, left).map_err(|error| error.to_string())
        });
        match kept {
            Ok(()) => drop(self.addresses.set(planned)),
            Err(why) => tracing::error!("nobody can hold a floating address: {why}"),
        }
    }

    /// What tells whether `secrets.json` is another one than it was.
    pub(super) fn secrets_stamp(&self) -> Option<Stamp> {
        let seen = fs::metadata(self.state.join("secrets.json")).ok()?;
        Some(Stamp { inode: seen.ino(), changed_ns: (seen.ctime(), seen.ctime_nsec()) })
    }

    /// Everything that this server knows.
    pub(super) fn all_secrets(&self) -> Option<Secrets> {
        read(&self.state.join("secrets.json")).ok()
    }

    /// The secrets that the service needs, and no other.
    pub(super) fn secrets_for(&self, service: &Service) -> Result<Secrets, Obstacle> {
        match &service.config {
            Config::Dns(_) => Ok(none()),
            Config::Balancer(Balancer { pool, door, .. }) => self.tier(pool.sticky.is_some(), door),
            Config::Web(web) => self.tier(web.routes.iter().any(|route| route.pool.sticky.is_some()), &web.door),
            Config::App(app) => {
                let mut all = read(&self.state.join("secrets.json"))?;
                all.app_keys.retain(|name, _| *name == app.app);
                all.database.retain(|name, _| *name == app.app);
                let cache = if app.cache.is_some() { all.cache } else { String::new() };
                Ok(Secrets { app_keys: all.app_keys, database: all.database, cache, ..none() })
            }
            Config::Store(_) => {
                let Secrets { authority, identities, .. } = read(&self.state.join("secrets.json"))?.of(&self.server);
                Ok(Secrets { authority, identities, ..none() })
            }
            Config::Sql(_) => {
                let all = read(&self.state.join("secrets.json"))?.of(&self.server);
                let Secrets { database_check, authority, identities, store, .. } = all;
                Ok(Secrets { database_check, authority, identities, store, ..none() })
            }
            Config::Database(_) => {
                let all = read(&self.state.join("secrets.json"))?.of(&self.server);
                let (tickets, vip) = (String::new(), String::new());
                let (cache, cache_admin) = (String::new(), String::new());
                let (sticky, limits) = (String::new(), String::new());
                let all = Secrets { sticky, limits, tickets, vip, cache, cache_admin, certificate: None, ..all };
                Ok(Secrets { app_keys: none().app_keys, ..all })
            }
            Config::Cache(_) => {
                let Secrets { cache, cache_admin, .. } = read(&self.state.join("secrets.json"))?;
                Ok(Secrets { cache, cache_admin, ..none() })
            }
            Config::Vip(vip) if vip.signed => {
                Ok(Secrets { vip: read(&self.state.join("secrets.json"))?.vip, ..none() })
            }
            Config::Vip(_) | Config::Hook(_) => Ok(none()),
        }
    }

    /// Those of an HTTP tier.
    fn tier(&self, sticky: bool, door: &Door) -> Result<Secrets, Obstacle> {
        let (https, shared) = (door.https, !door.fellows.is_empty());
        if !sticky && !https && !shared {
            return Ok(none());
        }
        let all = read(&self.state.join("secrets.json"))?;
        let sticky = if sticky { all.sticky } else { String::new() };
        let tickets = if https { all.tickets } else { String::new() };
        let limits = if shared { all.limits } else { String::new() };
        Ok(Secrets { sticky, tickets, limits, certificate: all.certificate.filter(|_| https), ..none() })
    }
}

fn none() -> Secrets {
    Secrets {
        format: FORMAT,
        app_keys: Default::default(),
        database: Default::default(),
        database_admin: String::new(),
        replication: String::new(),
        database_check: String::new(),
        sticky: String::new(),
        tickets: String::new(),
        vip: String::new(),
        limits: String::new(),
        cache: String::new(),
        cache_admin: String::new(),
        certificate: None,
        authority: None,
        identities: Default::default(),
        store: None,
    }
}

fn read(path: &Path) -> Result<Secrets, Obstacle> {
    let name = || path.display().to_string();
    let text = fs::read(path).map_err(|source| Obstacle::Secrets { path: name(), source })?;
    let garbled = |reason: String| Obstacle::Garbled { path: name(), reason };
    let secrets: Secrets = serde_json::from_slice(&text).map_err(|error| garbled(error.to_string()))?;
    match secrets.format {
        ..=FORMAT => Ok(secrets),
        newer => Err(garbled(format!("it has format {newer}, this build knows up to {FORMAT}"))),
    }
}

/// Where a service of the server with this state directory answers.
pub(super) fn report_socket(state: &Path, service: &ServiceName) -> PathBuf {
    state.join("run").join(service.as_str()).join("report.sock")
}
