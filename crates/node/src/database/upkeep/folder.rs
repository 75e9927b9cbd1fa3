//! A folder of backups.
//!
//! | path | what |
//! |---|---|
//! | `full-20261121T101500Z/data/` | a data directory as of a moment before that time, ready to be started |
//! | `full-20261121T101500Z/about.json` | [`About`] |
//! | `binlog/LINE/binlog.000001` … | the binary logs of the server that makes backups, without gaps |
//! | `.making`, `.scratch` | what is being made or tried; left by who was killed, deleted by the next |
//!
//! A *line* is the life of one data directory: one that is made or copied anew numbers its logs from the beginning.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use mainstay_site::model::FORMAT;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::error::{At, Error};

/// The folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// What is known of a full backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// [`FORMAT`].
    pub format: u32,
    /// Unix time in seconds at which it was whole: everything written later is in the logs.
    pub taken_s: u64,
    /// The server that it is of.
    pub server: String,
    /// Its last transaction.
    pub gtid: String,
    /// Whose logs go on from it.
    pub line: String,
    /// The log in which they begin, and where.
    pub log: (String, u64),
    /// Its size.
    pub bytes: u64,
    /// What came of restoring it once; `None` if nobody did.
    pub tested: Option<String>,
}

/// A full backup.
#[derive(Clone, Debug)]
pub struct Full {
    /// Its folder.
    pub path: PathBuf,
    /// What is known of it.
    pub about: About,
}

impl Full {
    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Writes what is known.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self) -> Result<(), Error> {
        let path = self.path.join("about.json");
        let text = serde_json::to_vec_pretty(&self.about).map_err(std::io::Error::from).at(&path)?;
        fs::write(&path, text).at(&path)?;
        File::open(&path).and_then(|file| file.sync_all()).at(path)
    }
}

impl Folder {
    /// The folder at `path`, which need not be there yet.
    pub fn new(path: PathBuf) -> Folder {
        Folder(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Every full backup that is whole, the oldest first.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn fulls(&self) -> Result<Vec<Full>, Error> {
        let mut fulls = Vec::new();
        let entries = match fs::read_dir(&self.0) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(fulls),
            entries => entries.at(&self.0)?,
        };
        for entry in entries {
            let path = entry.at(&self.0)?.path();
            let named = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"full-"));
            let about = named.then(|| fs::read(path.join("about.json")).ok()).flatten();
            let about = about.and_then(|text| serde_json::from_slice::<About>(&text).ok());
            fulls.extend(about.filter(|about| about.format <= FORMAT).map(|about| Full { path, about }));
        }
        fulls.sort_by_key(|full| full.about.taken_s);
        Ok(fulls)
    }

    /// The place of one that is whole at `taken_s`.
    pub fn place(&self, taken_s: u64) -> PathBuf {
        self.0.join(format!("full-{}", compact(taken_s)))
    }

    /// An empty folder in which something is made.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn fresh(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.0.join(name);
        remove(&path)?;
        match fs::create_dir_all(&path) {
            Err(why) if why.kind() == std::io::ErrorKind::PermissionDenied => {
                let user = rustix::process::geteuid().as_raw();
                return Err(Error::NotOurs { folder: self.0.clone(), user });
            }
            made => made.at(&path)?,
        }
        private(&path)?;
        Ok(path)
    }

    /// Where the logs of a line are.
    pub fn line(&self, line: &str) -> PathBuf {
        self.0.join("binlog").join(line)
    }

    /// Deletes what is older than the newest `keep`, and the logs that nobody can go on with any more. Those that were not tested, or
    /// failed, push none out that was.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn prune(&self, keep: u32) -> Result<(), Error> {
        let fulls = self.fulls()?;
        let (mut old, mut kept, mut newer, mut newer_tested) = (Vec::new(), Vec::new(), 0, 0);
        for full in fulls.into_iter().rev() {
            let is_tested = full.about.tested.is_some();
            let is_old = if is_tested { newer_tested >= keep } else { newer >= keep };
            (newer, newer_tested) = (newer + 1, newer_tested + u32::from(is_tested));
            if is_old { old.push(full) } else { kept.insert(0, full) }
        }
        for full in old {
            tracing::info!(path = %full.path.display(), "deleting an old backup");
            remove(&full.path)?;
        }
        for (line, path) in entries(&self.0.join("binlog"))? {
            // Before the first full one every log is kept: that is still being made.
            let first = kept.iter().filter(|full| full.about.line == line).map(|full| &full.about.log.0).min();
            let current = kept.is_empty() || kept.last().is_some_and(|full| full.about.line == line);
            match first {
                None if !current => remove(&path)?,
                None => {}
                Some(first) => {
                    for (_, log) in entries(&path)?.into_iter().filter(|(name, _)| name < first) {
                        fs::remove_file(&log).at(log)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Only the database's user reads backups.
///
/// # Errors
/// [`Error::File`].
pub fn private(path: &Path) -> Result<(), Error> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).at(path)
}

/// Deletes a folder, if it is there.
///
/// # Errors
/// [`Error::File`].
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why).at(path),
        _ => Ok(()),
    }
}

/// Names and paths in a folder, sorted; none if there is no such folder.
///
/// # Errors
/// [`Error::File`].
pub fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Vec::new();
    match fs::read_dir(folder) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
        Err(why) => return Err(why).at(folder),
        Ok(entries) => {
            for entry in entries {
                let path = entry.at(folder)?.path();
                let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
                found.extend(name.map(|name| (name, path)));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// `20261121T101500Z`.
fn compact(unix_s: u64) -> String {
    let at = at(unix_s);
    let (day, time) = (at.date(), at.time());
    let date = format!("{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day());
    format!("{date}T{:02}{:02}{:02}Z", time.hour(), time.minute(), time.second())
}

/// `2026-11-21 10:15:00`, UTC, as MariaDB's programs take it.
pub fn spoken(unix_s: u64) -> String {
    let at = at(unix_s);
    let (day, time) = (at.date(), at.time());
    let date = format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day());
    format!("{date} {:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

fn at(unix_s: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::try_from(unix_s).unwrap_or(i64::MAX)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Folder, taken_s: u64, line: &str, log: &str) {
        let path = folder.place(taken_s);
        fs::create_dir_all(&path).unwrap();
        let about = About {
            format: FORMAT,
            taken_s,
            server: "db1".into(),
            gtid: "0-1-1".into(),
            line: line.into(),
            log: (log.into(), 4),
            bytes: 0,
            tested: None,
        };
        Full { path, about }.write().unwrap();
    }

    fn put_log(folder: &Folder, line: &str, log: &str) {
        fs::create_dir_all(folder.line(line)).unwrap();
        fs::write(folder.line(line).join(log), b"").unwrap();
    }

    #[test]
    fn what_is_kept() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::new(base.path().join("backups"));
        folder.prune(2).unwrap();
        for (day, line, log) in [(1, "a", "binlog.000001"), (2, "a", "binlog.000003"), (3, "b", "binlog.000001")] {
            put(&folder, day * 86_400, line, log);
        }
        for (line, log) in [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 1), ("b", 2)] {
            put_log(&folder, line, &format!("binlog.{log:06}"));
        }
        fs::create_dir(folder.path().join("full-19700105T000000Z")).unwrap();
        let logs = |line: &str| entries(&folder.line(line)).unwrap().len();
        folder.prune(2).unwrap();
        let taken: Vec<u64> = folder.fulls().unwrap().iter().map(|full| full.about.taken_s / 86_400).collect();
        assert_eq!((taken, logs("a"), logs("b")), (vec![2, 3], 2, 2), "what is not whole is not counted");
        folder.prune(1).unwrap();
        assert_eq!((folder.fulls().unwrap().len(), logs("a"), logs("b")), (1, 0, 2));
        assert!(!folder.line("a").exists());
    }

    #[test]
    fn what_was_not_restored_once_pushes_nothing_out_that_was() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::new(base.path().to_owned());
        (1..=6).for_each(|day| put(&folder, day * 86_400, "a", "binlog.000001"));
        for mut full in folder.fulls().unwrap().into_iter().take(3) {
            full.about.tested = Some("whole".into());
            full.write().unwrap();
        }
        folder.prune(2).unwrap();
        let taken: Vec<u64> = folder.fulls().unwrap().iter().map(|full| full.about.taken_s / 86_400).collect();
        assert_eq!(taken, [2, 3, 5, 6]);
    }

    #[test]
    fn times() {
        assert_eq!((compact(1_795_256_100).as_str(), spoken(0).as_str()), ("20261121T101500Z", "1970-01-01 00:00:00"));
    }
}
