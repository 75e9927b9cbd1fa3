//! The archive: binary logs of this server, copied as they grow.
//!
//! Copied is what the server says is whole, never half an event. What was copied is not touched again, so a log that was
//! deleted or damaged on the server is still there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::{At, Error};
use super::folder::Folder;
use super::session::Session;
use super::{Scene, now_s};

/// In the data directory: which line it is. `mariadb-backup` does not copy it, so that a copy is another line.
const LINE: &str = "mainstay.line";

/// How far a log is whole.
type Log = (String, u64);

/// Which line this server's data directory is; named now if it was not.
///
/// # Errors
/// [`Error::File`].
pub fn line(scene: &Scene) -> Result<String, Error> {
    let path = scene.places.data.join(LINE);
    match fs::read_to_string(&path) {
        Ok(line) if !line.trim().is_empty() => Ok(line.trim().to_owned()),
        _ => {
            let line = format!("{}-{}", scene.launch.server, now_s());
            fs::write(&path, &line).at(&path)?;
            Ok(line)
        }
    }
}

/// Copies what is new.
///
/// # Errors
/// The server does not answer, or a disk is full.
pub async fn add(scene: &Scene, folder: &Folder, session: &mut Session) -> Result<(), Error> {
    let logs = whole(session).await?;
    let (from, to) = (scene.places.data.clone(), folder.line(&line(scene)?));
    let copying = tokio::task::spawn_blocking(move || copy_all(&from, &to, &logs));
    copying.await.map_err(|why| Error::Impossible(why.to_string()))?
}

/// The server's logs, each as far as it is whole.
async fn whole(session: &mut Session) -> Result<Vec<Log>, Error> {
    // In this order: a log that is begun in between is copied next time.
    let mut logs: Vec<Log> = session.rows("SHOW BINARY LOGS").await?;
    let current: Option<(String, u64, Option<String>, Option<String>)> = session.first("SHOW MASTER STATUS").await?;
    if let (Some((name, position, _, _)), Some(last)) = (current, logs.last_mut()) {
        // The size that was listed of the log in use may end within an event.
        if last.0 == name {
            last.1 = position;
        }
    }
    Ok(logs)
}

fn copy_all(from: &Path, to: &Path, logs: &[Log]) -> Result<(), Error> {
    fs::create_dir_all(to).at(to)?;
    for (name, length) in logs {
        copy_on(&from.join(name), &to.join(name), *length)?;
    }
    Ok(())
}

/// Goes on where the copy ends.
fn copy_on(from: &Path, to: &Path, length: u64) -> Result<(), Error> {
    let mut copy = OpenOptions::new().append(true).create(true).open(to).at(to)?;
    let known = copy.metadata().at(to)?.len();
    if known >= length {
        return Ok(());
    }
    let mut log = File::open(from).at(from)?;
    log.seek(SeekFrom::Start(known)).at(from)?;
    io::copy(&mut log.take(length - known), &mut copy).at(to)?;
    copy.sync_data().at(to)
}

/// The logs of a line from `first` on, in order.
///
/// # Errors
/// [`Error::Gap`]: one is missing.
pub fn from(folder: &Folder, line: &str, first: &str) -> Result<Vec<PathBuf>, Error> {
    let logs = super::folder::entries(&folder.line(line))?;
    let logs: Vec<(String, PathBuf)> = logs.into_iter().filter(|(name, _)| name.as_str() >= first).collect();
    let number = |name: &str| name.rsplit('.').next().and_then(|number| number.parse::<u64>().ok());
    let mut expected = number(first);
    for (name, _) in &logs {
        if number(name) != expected {
            let missing = expected.map(|number| number.to_string()).unwrap_or_default();
            return Err(Error::Gap(format!(
                "the binary log number {missing} is missing in {}",
                folder.line(line).display()
            )));
        }
        expected = expected.map(|number| number + 1);
    }
    if logs.is_empty() {
        return Err(Error::Gap(format!("there is no binary log {first} in {}", folder.line(line).display())));
    }
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_copied_as_far_as_it_is_whole() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("data"), base.path().join("archive"));
        fs::create_dir(&from).unwrap();
        let copied = || fs::read_to_string(to.join("binlog.000001")).unwrap();
        fs::write(from.join("binlog.000001"), "event one, half of").unwrap();
        copy_all(&from, &to, &[("binlog.000001".into(), 10)]).unwrap();
        assert_eq!(copied(), "event one,");
        fs::write(from.join("binlog.000001"), "event one, event two").unwrap();
        copy_all(&from, &to, &[("binlog.000001".into(), 20)]).unwrap();
        fs::write(from.join("binlog.000001"), "damaged").unwrap();
        copy_all(&from, &to, &[("binlog.000001".into(), 7)]).unwrap();
        assert_eq!(copied(), "event one, event two");
    }

    #[test]
    fn a_gap_is_seen() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::new(base.path().to_owned());
        fs::create_dir_all(folder.line("a")).unwrap();
        for number in [1, 2, 4] {
            fs::write(folder.line("a").join(format!("binlog.{number:06}")), "").unwrap();
        }
        assert!(from(&folder, "a", "binlog.000002").unwrap_err().to_string().contains("number 3"));
        assert_eq!(from(&folder, "a", "binlog.000004").unwrap().len(), 1);
        assert!(from(&folder, "a", "binlog.000005").is_err());
    }
}
