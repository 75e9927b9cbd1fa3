//! `redis.conf`: every setting that is not Redis' own default, with its reason.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mainstay_site::plan;
use mainstay_site::secrets::Secrets;

use crate::redis::ADMIN;
use crate::service::Launch;

/// Where Redis reads it; below the role's own folder, by which the next role finds the process too.
pub fn path(launch: &Launch) -> PathBuf {
    launch.run_folder().join("redis.conf")
}

/// The settings that a running Redis cannot change.
fn lasting(launch: &Launch, config: &plan::Redis) -> Vec<String> {
    let Secrets { cache, cache_admin, .. } = &launch.secrets;
    vec![
        format!("bind {}", config.address.ip()),
        format!("port {}", config.address.port()),
        // It has a password and listens on one address of the site's own network.
        "protected-mode no".into(),
        // Applications may do everything but what is an operator's: reconfigure, stop, replicate, listen in on each other.
        format!("user default on >{cache} ~* &* +@all -@admin"),
        format!("user {ADMIN} on >{cache_admin} ~* &* +@all"),
        format!("masteruser {ADMIN}"),
        format!("masterauth {cache_admin}"),
        // Nothing on the disk. A cache can be filled anew; an old snapshot would bring back what has changed since (a
        // session that was ended), and writing one doubles the memory in the worst case.
        "save \"\"".into(),
        "appendonly no".into(),
        // When memory is full, what was not used for longest goes, whether it has an expiry or not: Redis' default refuses
        // every write from then on, and most values of a cache are kept without a time limit.
        "maxmemory-policy allkeys-lru".into(),
        // Connections and their buffers come on top of the values and are bounded too: who does not read goes.
        "maxmemory-clients 25%".into(),
        // Fifty servers with eighty workers; Redis' own 10,000 wants more descriptors than many services are given.
        "maxclients 4000".into(),
        format!("databases {}", plan::DATABASES),
        // A machine that is off is noticed after a minute, and its connections are given back.
        "tcp-keepalive 60".into(),
        // Whoever ends us has ten seconds for all; what the copies lack then is lost without harm.
        "shutdown-timeout 1".into(),
        // Its command line stays as it was given: the next role finds it by that.
        "set-proc-title no".into(),
        "daemonize no".into(),
        "logfile \"\"".into(),
        // Copies are sent without a file between; where one arrives, this is where it is put for the moment.
        format!("dir {}", launch.run_folder().display()),
    ]
}

/// The whole file.
pub fn text(launch: &Launch, config: &plan::Redis) -> String {
    let follows = config.follows.iter().map(|(_, at)| format!("replicaof {} {}", at.ip(), at.port()));
    let memory = format!("maxmemory {}", config.memory_bytes);
    let lines: Vec<String> = lasting(launch, config).into_iter().chain([memory]).chain(follows).collect();
    lines.join("\n") + "\n"
}

/// Whether what runs with the file as it is now would run otherwise with a new one, but for what can be changed while it runs.
pub fn must_restart(launch: &Launch, config: &plan::Redis) -> bool {
    let known = fs::read_to_string(path(launch)).unwrap_or_default();
    let changeable = |line: &&str| line.starts_with("maxmemory ") || line.starts_with("replicaof ");
    !known.lines().filter(|line| !changeable(line)).eq(lasting(launch, config))
}

/// Writes the file, which nobody else may read: it has passwords.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&unfinished, path)
}
