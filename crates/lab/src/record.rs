//! What is on the machine because of a lab, written down before it is made, and the lock that says whether it lives.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use mainstay_site::model::FORMAT;
use mainstay_site::names::{Domain, ServerName};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::network::Wires;
use crate::process::ProcessId;

/// How servers are told apart on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Namespaces: every server has a network, processes and a host name of its own. Needs root.
    Namespaces,
    /// Plain processes, told apart by addresses below 127.0.0.0/8. Needs nothing.
    Loopback,
}

/// `lab.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// The site.
    pub site: Domain,
    /// How its servers are told apart.
    pub mode: Mode,
    /// The `up` that made this.
    pub up: ProcessId,
    /// The folder with the servers' state directories.
    pub state: PathBuf,
    /// The network; `None` in loopback mode.
    pub wires: Option<Wires>,
    /// The servers, in the order of the declaration.
    pub servers: Vec<ServerRecord>,
    /// What is reached from the host.
    pub published: Vec<Published>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Its name.
    pub name: ServerName,
    /// Its process 1, as the host sees it; `None` while it is switched off.
    pub process: Option<ProcessId>,
}

/// What is reached from the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// `http`, `dns`, `page`.
    pub what: String,
    /// Where.
    pub address: SocketAddr,
}

/// Where the record of a site's lab is kept.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
}

/// Proof that no other process has this lab; the lock goes with the process, however it ends.
#[derive(Debug)]
pub struct Held(#[allow(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl Place {
    /// The usual place: `/run/mainstay/SITE` for root, below `$XDG_RUNTIME_DIR` otherwise.
    pub fn usual(site: &Domain) -> Place {
        Place::below(&usual_root(), site)
    }

    /// The place below another root.
    pub fn below(root: &Path, site: &Domain) -> Place {
        Place { folder: root.join(site.as_str()) }
    }

    /// Every site with a record at the usual root, sorted.
    pub fn sites() -> Vec<Domain> {
        let Ok(entries) = fs::read_dir(usual_root()) else { return Vec::new() };
        let recorded = entries.filter_map(Result::ok).filter(|entry| entry.path().join("lab.json").exists());
        let mut sites: Vec<Domain> = recorded.filter_map(|entry| Some(entry.file_name().to_str()?.into())).collect();
        sites.sort();
        sites
    }

    /// The folder, for whatever else belongs to a running lab.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the lock; `None` if another process has it.
    pub fn hold(&self) -> anyhow::Result<Option<Held>> {
        let what = || format!("the lab's folder {} cannot be used", self.folder.display());
        fs::create_dir_all(&self.folder).with_context(what)?;
        let path = self.folder.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).with_context(what)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Held(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).with_context(what),
        }
    }

    /// The record, if there is one.
    pub fn read(&self) -> anyhow::Result<Option<Record>> {
        let path = self.path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        let record: Record = serde_json::from_slice(&text)
            .with_context(|| format!("{} was written by another version of mainstay", path.display()))?;
        if record.format != FORMAT {
            bail!("{} has format {}, this mainstay knows {FORMAT}", path.display(), record.format);
        }
        Ok(Some(record))
    }

    /// Replaces the record as one step, so that a reader sees the old or the new one.
    pub fn write(&self, record: &Record) -> anyhow::Result<()> {
        let (path, next) = (self.path(), self.folder.join("lab.json.new"));
        let text = serde_json::to_vec_pretty(record)?;
        let replaced = fs::write(&next, text).and_then(|()| fs::rename(&next, &path));
        replaced.with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Forgets the record: nothing is left of the lab.
    pub fn forget(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("lab.json cannot be removed"),
            _ => Ok(()),
        }
    }

    /// Deletes the folder: nobody is to find anything of the site here.
    pub fn clear(&self, held: Held) -> anyhow::Result<()> {
        let cleared = fs::remove_dir_all(&self.folder);
        drop(held);
        cleared.with_context(|| format!("{} cannot be deleted whole", self.folder.display()))
    }

    fn path(&self) -> PathBuf {
        self.folder.join("lab.json")
    }
}

fn usual_root() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/run/mainstay".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) => PathBuf::from(folder).join("mainstay"),
        None => std::env::temp_dir().join(format!("mainstay-{}", rustix::process::geteuid().as_raw())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_the_lab_and_records_survive() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::below(root.path(), &"foobar.com".into());
        let held = place.hold().unwrap().expect("nobody has it");
        assert!(place.hold().unwrap().is_none());
        drop(held);
        assert!(place.hold().unwrap().is_some());

        assert_eq!(place.read().unwrap(), None);
        let record = Record {
            format: FORMAT,
            site: "foobar.com".into(),
            mode: Mode::Loopback,
            up: ProcessId::own().unwrap(),
            state: root.path().into(),
            wires: None,
            servers: vec![ServerRecord { name: "web1".into(), process: None }],
            published: vec![Published { what: "http".into(), address: ([127, 0, 0, 1], 8080).into() }],
        };
        place.write(&record).unwrap();
        assert_eq!(place.read().unwrap(), Some(record));
        place.forget().unwrap();
        assert_eq!(place.read().unwrap(), None);
        let held = place.hold().unwrap().expect("nobody has it");
        place.clear(held).unwrap();
        assert!(!place.folder().exists());
    }
}
