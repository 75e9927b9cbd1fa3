//! The archive: binary logs of this server, copied as they grow.
//!
//! Copied is what the server says is whole, never half an event. What was copied is not touched again, so a log that was
//! deleted or damaged on the server is still there; but for an end that nobody acknowledged, which the server itself cuts off when it
//! comes back as a replica: it is put aside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::{At, Error};
use super::folder::{Folder, private};
use super::session::Session;
use super::{Scene, now_s};

/// In the data directory: which line it is. `mariadb-backup` does not copy it, so that a copy is another line.
const LINE: &str = "mainstay.line";

/// Behind the four bytes by which a log is known.
const FIRST_EVENT: u64 = 4;
/// A transaction begins (MariaDB, `Gtid_event`).
const GTID_EVENT: u8 = 162;

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
    let all = to.parent().unwrap_or(to);
    fs::create_dir_all(to).at(to)?;
    private(all)?;
    private(to)?;
    for (place, (name, length)) in logs.iter().enumerate() {
        let is_over = place + 1 < logs.len();
        let (log, copy) = (from.join(name), to.join(name));
        if is_over {
            put_aside(&log, &copy, *length)?;
        }
        copy_on(&log, &copy, *length)?;
    }
    Ok(())
}

/// Moves what the copy of a log that is over has beyond `length` to a file beside it, if the log is the same until there: its server
/// has cut that off, because it was never acknowledged (`Recovery::Truncated`).
fn put_aside(log: &Path, copy: &Path, length: u64) -> Result<(), Error> {
    if !fs::metadata(copy).is_ok_and(|about| about.len() > length) {
        return Ok(());
    }
    let (kept, whole) = (fs::read(log).at(log)?, fs::read(copy).at(copy)?);
    let Some(cut) = whole.strip_prefix(&kept[..]).filter(|_| kept.len() as u64 == length) else { return Ok(()) };
    let aside = copy.with_extension(format!("{}.cut", copy.extension().unwrap_or_default().display()));
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&aside).at(&aside)?;
    file.write_all(cut).and_then(|()| file.sync_all()).at(&aside)?;
    let copy_file = OpenOptions::new().write(true).open(copy).at(copy)?;
    copy_file.set_len(length).and_then(|()| copy_file.sync_all()).at(copy)?;
    tracing::warn!(file = %aside.display(), bytes = cut.len(), "an end that nobody acknowledged was cut off; it is kept here");
    Ok(())
}

/// Goes on where the copy ends.
fn copy_on(from: &Path, to: &Path, length: u64) -> Result<(), Error> {
    let mut copy = OpenOptions::new().append(true).create(true).mode(0o600).open(to).at(to)?;
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
    let number = |name: &str| name.rsplit('.').next().and_then(|number| number.parse::<u64>().ok());
    // Not what was put aside.
    let is_log = |name: &str| name >= first && number(name).is_some();
    let logs: Vec<(String, PathBuf)> = logs.into_iter().filter(|(name, _)| is_log(name)).collect();
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

/// How far logs reach beyond a time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The first transaction that was begun then or later: in which log, and where it begins there.
    pub end: Option<(usize, u64)>,
    /// When the last before it was begun, in Unix seconds.
    pub last_s: Option<u64>,
}

/// How far `logs`, the first from `position` on, reach beyond `until_s`. By the transactions alone: a log's own beginning bears the
/// time at which its server was started, and what a replica then writes into it may be older.
///
/// # Errors
/// [`Error::Gap`]: what is no log.
pub fn reach(logs: &[PathBuf], position: u64, until_s: u64) -> Result<Reach, Error> {
    let mut reach = Reach::default();
    for (number, path) in logs.iter().enumerate() {
        let mut log = BufReader::new(File::open(path).at(path)?);
        let mut at = if number == 0 { position } else { FIRST_EVENT };
        log.seek(SeekFrom::Start(at)).at(path)?;
        // MariaDB, "Replication Protocol", event header: time, type, server, size, end, flags.
        let mut header = [0; 19];
        while log.read_exact(&mut header).is_ok() {
            let [t0, t1, t2, t3, kind, _, _, _, _, s0, s1, s2, s3, ..] = header;
            let (begun_s, bytes) = (u32::from_le_bytes([t0, t1, t2, t3]), u32::from_le_bytes([s0, s1, s2, s3]));
            if kind == GTID_EVENT && u64::from(begun_s) >= until_s {
                reach.end = Some((number, at));
                return Ok(reach);
            }
            if kind == GTID_EVENT {
                reach.last_s = Some(u64::from(begun_s));
            }
            let Some(rest) = u64::from(bytes).checked_sub(header.len() as u64) else {
                return Err(Error::Gap(format!("{} is damaged at its byte {at}", path.display())));
            };
            at += u64::from(bytes);
            log.seek_relative(rest as i64).at(path)?;
        }
    }
    Ok(reach)
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

    /// It would be in the way of what came instead: its numbers are given again.
    #[test]
    fn what_the_server_cut_off_is_put_aside() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("data"), base.path().join("archive/line"));
        fs::create_dir(&from).unwrap();
        let read = |name: &str| fs::read_to_string(to.join(name)).unwrap();
        let log = |number: u64, bytes: u64| (format!("binlog.{number:06}"), bytes);
        fs::write(from.join("binlog.000001"), "acknowledged, not").unwrap();
        copy_all(&from, &to, &[log(1, 17)]).unwrap();
        fs::write(from.join("binlog.000001"), "acknowledged").unwrap();
        copy_all(&from, &to, &[log(1, 12)]).unwrap();
        assert_eq!(read("binlog.000001"), "acknowledged, not", "what is being written may be listed late");
        fs::write(from.join("binlog.000002"), "instead").unwrap();
        copy_all(&from, &to, &[log(1, 12), log(2, 7)]).unwrap();
        assert_eq!((read("binlog.000001"), read("binlog.000001.cut")), ("acknowledged".into(), ", not".into()));
        let folder = Folder::new(base.path().to_owned());
        fs::rename(&to, base.path().join("line")).unwrap();
        fs::create_dir(base.path().join("binlog")).unwrap();
        fs::rename(base.path().join("line"), folder.line("a")).unwrap();
        assert_eq!(super::from(&folder, "a", "binlog.000001").unwrap().len(), 2);
    }

    #[test]
    fn only_transactions_tell_the_time() {
        const FORMAT_EVENT: u8 = 15;
        let event = |begun_s: u32, kind: u8| {
            let mut event = [0; 30];
            event[..4].copy_from_slice(&begun_s.to_le_bytes());
            (event[4], event[9]) = (kind, 30);
            event
        };
        let base = tempfile::tempdir().unwrap();
        let log = |number: usize, events: &[[u8; 30]]| {
            let path = base.path().join(format!("binlog.{number:06}"));
            fs::write(&path, [&b"\xfebin"[..], &events.concat()].concat()).unwrap();
            path
        };
        let logs = [
            log(1, &[event(90, FORMAT_EVENT), event(100, GTID_EVENT), event(100, 2)]),
            // Begun later than what is in it.
            log(2, &[event(200, FORMAT_EVENT), event(110, GTID_EVENT), event(120, GTID_EVENT), event(210, GTID_EVENT)]),
        ];
        let at = |place: u64| FIRST_EVENT + 30 * place;
        let found = |until_s| reach(&logs, FIRST_EVENT, until_s).unwrap();
        assert_eq!(found(101), Reach { end: Some((1, at(1))), last_s: Some(100) });
        assert_eq!(found(120), Reach { end: Some((1, at(2))), last_s: Some(110) });
        assert_eq!(found(150), Reach { end: Some((1, at(3))), last_s: Some(120) });
        assert_eq!(found(211), Reach { end: None, last_s: Some(210) });
        assert_eq!(reach(&logs, at(2), 100).unwrap(), Reach { end: Some((1, at(1))), last_s: None });
        fs::write(&logs[1], b"\xfebin0123456789012345678901234567890").unwrap();
        assert_eq!(reach(&logs, FIRST_EVENT, 211).unwrap_or_default(), Reach { end: None, last_s: Some(100) });
        fs::write(&logs[1], [&b"\xfebin"[..], &[0; 30]].concat()).unwrap();
        assert!(reach(&logs, FIRST_EVENT, 211).unwrap_err().to_string().contains("damaged at its byte 4"));
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
