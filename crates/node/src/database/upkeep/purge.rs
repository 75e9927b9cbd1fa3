//! Which binary logs may go. MariaDB's own `binlog_expire_logs_seconds` knows neither a replica that is away nor the archive.
//!
//! A log goes when it was last written longer ago than declared, if the archive of this server has it whole and every other
//! server has received all of it. Who is away for as long again is not waited for: its data are copied anew when it is back.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use mainstay_machines::Time;
use mainstay_machines::gtid::Position;
use mainstay_site::wire::database::{MEMBERS, Member, decode, member_of};

use super::error::{At, Error};
use super::folder::Folder;
use super::session::Session;
use super::{Scene, archive, now_s};
use crate::clock::boot_time;

/// Between two looks: a log that stays for so long more fills no disk.
const EACH: Duration = Duration::from_secs(600);

/// When it was looked last.
#[derive(Default)]
pub struct Purge {
    next: Option<Time>,
}

/// A binary log.
#[derive(Clone, Debug)]
struct Log {
    name: String,
    size: u64,
    /// Unix time in seconds at which something was written last.
    written_s: u64,
}

impl Purge {
    /// Looks if it is time to, and deletes what may go.
    pub async fn turn(&mut self, scene: &Scene) {
        let (now, each) = (boot_time(), EACH.min(scene.config.binlog_keep.0));
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + each);
        // A server that does not answer, or no store: what might be needed stays.
        if let Err(why) = purge(scene).await {
            tracing::debug!("no binary log was deleted: {why}");
        }
    }
}

async fn purge(scene: &Scene) -> Result<(), Error> {
    let keep_s = scene.config.binlog_keep.0.as_secs();
    let mut session = Session::own(scene.launch.server.as_str(), &scene.places.socket, scene.password()).await?;
    let logs = logs(scene, session.rows("SHOW BINARY LOGS").await?)?;
    let old = old(&logs, now_s(), keep_s);
    let archived = logs[..old].iter().take_while(|log| is_archived(scene, log)).count();
    let received = received(scene).await?;
    let mut gone = 0;
    for place in 0..archived {
        // Where the next begins, all of this one is behind.
        let end = begins(&mut session, &logs[place + 1].name).await?;
        let missed = received.values().any(|received| !received.covers(&end));
        if missed && !is_old(&logs[place], now_s(), 2 * keep_s) {
            break;
        }
        gone = place + 1;
    }
    if gone > 0 {
        let first = &logs[gone].name;
        tracing::info!("deleting {gone} binary logs of before {first}: they are older than {keep_s} s");
        session.run(&format!("PURGE BINARY LOGS TO '{first}'")).await?;
    }
    session.close().await;
    Ok(())
}

fn logs(scene: &Scene, listed: Vec<(String, u64)>) -> Result<Vec<Log>, Error> {
    let log = |(name, size): (String, u64)| {
        let path = scene.places.data.join(&name);
        let written = fs::metadata(&path).and_then(|about| about.modified()).at(&path)?;
        let written_s = written.duration_since(UNIX_EPOCH).map_or(u64::MAX, |since: Duration| since.as_secs());
        Ok(Log { name, size, written_s })
    };
    listed.into_iter().map(log).collect()
}

fn is_old(log: &Log, now_s: u64, keep_s: u64) -> bool {
    now_s.saturating_sub(log.written_s) >= keep_s
}

/// How many from the first on are old enough; never the last, which is being written.
fn old(logs: &[Log], now_s: u64, keep_s: u64) -> usize {
    logs.iter().take(logs.len().saturating_sub(1)).take_while(|log| is_old(log, now_s, keep_s)).count()
}

/// Whether the archive has it whole, where this server keeps one.
fn is_archived(scene: &Scene, log: &Log) -> bool {
    let Some(backup) = &scene.config.backup else { return true };
    let folder = Folder::new(backup.to.clone().into());
    let copy = archive::line(scene).map(|line| folder.line(&line).join(&log.name));
    copy.is_ok_and(|copy| fs::metadata(copy).is_ok_and(|about| about.len() >= log.size))
}

/// What each other server of the plan has received, by its own word. Who never said so has nothing to go on from, and is copied.
async fn received(scene: &Scene) -> Result<BTreeMap<String, Position>, Error> {
    let Some(store) = &scene.store else { return Ok(BTreeMap::new()) };
    let (entries, _) = store.list(MEMBERS).await?;
    let own = scene.launch.server.as_str();
    let planned = |name: &str| scene.config.members.iter().any(|member| member.server.as_str() == name);
    let said = entries
        .iter()
        .filter_map(|(key, entry)| Some((member_of(key)?.0, decode::<Member>(key, &entry.value).ok()?.gtid_received)));
    Ok(said.filter(|(name, _)| name != own && planned(name)).collect())
}

/// The position at which a log begins (MariaDB's documentation, `BINLOG_GTID_POS`; the first event is at 4).
async fn begins(session: &mut Session, log: &str) -> Result<Position, Error> {
    let said: Option<Option<String>> = session.first(&format!("SELECT BINLOG_GTID_POS('{log}', 4)")).await?;
    let said = said.flatten().ok_or_else(|| Error::Gap(format!("the binary log {log} cannot be read")))?;
    Position::parse(&said).map_err(|why| Error::Gap(format!("where {log} begins cannot be read: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stays_and_what_is_younger_than_what_goes() {
        let log = |number: u64, written_s| Log { name: format!("binlog.{number:06}"), size: 1, written_s };
        let logs = [log(1, 100), log(2, 200), log(3, 150), log(4, 50)];
        assert_eq!(old(&logs, 250, 50), 3, "the last one is being written, however old");
        assert_eq!(old(&logs, 240, 50), 1, "an older one behind a younger one stays with it");
        assert_eq!(old(&logs, 149, 50), 0);
        assert_eq!(old(&logs, 40, 50), 0, "a clock that was set back deletes nothing");
        assert_eq!(old(&[], 1_000, 50), 0);
    }
}
