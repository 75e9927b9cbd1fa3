//! Backups that are made by themselves, and the archive that is kept up all the time.

use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::backoff::{Backoff, Policy};
use mainstay_site::model::Backup;

use super::error::Error;
use super::folder::{Folder, Full, spoken};
use super::session::Session;
use super::{Scene, archive, backup, now_s};
use crate::clock::boot_time;
use crate::service::Annex;

/// After a failed backup the next is tried at once, since most failures happen once; then after pauses that double from 10 s
/// to 10 min: each reads the whole disk. However long one ran, it failed.
const AGAIN: Policy =
    Policy { pause_first: Duration::from_secs(10), pause_max: Duration::from_secs(600), well_after: Duration::MAX };

/// What is remembered between two looks.
pub struct Schedule {
    session: Option<Session>,
    archive_fault: Option<String>,
    backup_fault: Option<String>,
    begun_s: Option<u64>,
    backoff: Backoff,
    /// When the next may begin, if the last failed.
    rests_until: Option<Time>,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            session: None,
            archive_fault: None,
            backup_fault: None,
            begun_s: None,
            backoff: Backoff::new(AGAIN),
            rests_until: None,
        }
    }
}

impl Schedule {
    /// One look, and what is due.
    pub async fn turn(&mut self, scene: &std::sync::Arc<Scene>) {
        let Some(declared) = &scene.config.backup else { return };
        let folder = Folder::new(declared.to.clone().into());
        self.note_end(scene, &folder);
        self.archive_fault = match self.archive(scene, &folder).await {
            Ok(()) => None,
            Err(error) => {
                self.session = None;
                Some(error.to_string())
            }
        };
        let fulls = folder.fulls().unwrap_or_default();
        let line = archive::line(scene).ok();
        let rested = self.rests_until.is_none_or(|until| boot_time() >= until);
        // One whose trial failed is none.
        let last = fulls.iter().rfind(|full| full.about.tested.is_some());
        if rested && self.archive_fault.is_none() && self.is_due(declared, last, line.as_deref(), now_s()) {
            self.begin(scene, declared, folder);
        }
        scene.reporter.annex(self.annex(fulls.last()));
    }

    async fn archive(&mut self, scene: &Scene, folder: &Folder) -> Result<(), Error> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::own(scene.launch.server.as_str(), &scene.places.socket, scene.password()).await?,
        };
        archive::add(scene, folder, &mut session).await?;
        self.session = Some(session);
        Ok(())
    }

    /// By the clock; at once where there is none, or where the logs no longer go on from the last.
    fn is_due(&self, declared: &Backup, last: Option<&Full>, line: Option<&str>, now_s: u64) -> bool {
        let due = last.is_none_or(|full| {
            now_s >= full.about.taken_s + declared.every.as_secs() || line.is_some_and(|line| line != full.about.line)
        });
        due && self.begun_s.is_none()
    }

    fn begin(&mut self, scene: &std::sync::Arc<Scene>, declared: &Backup, folder: Folder) {
        let keep = declared.keep;
        let work = move |scene: std::sync::Arc<Scene>| async move {
            let told = backup(&scene, &folder, true).await;
            folder.prune(keep)?;
            told
        };
        // Somebody else's job is under way otherwise; it is asked again in a second.
        if scene.jobs.begin("backup", scene.clone(), work).is_ok() {
            self.begun_s = Some(now_s());
            self.backoff.started(boot_time());
        }
    }

    fn note_end(&mut self, scene: &Scene, folder: &Folder) {
        use mainstay_site::wire::upkeep::Outcome;
        let ended = scene.jobs.last().and_then(|job| job.outcome);
        match (self.begun_s, ended) {
            (Some(at_s), Some(Outcome::Failed(why))) => {
                let why = format!("the backup to {} failed at {} UTC: {why}", folder.path().display(), spoken(at_s));
                tracing::error!("{why}");
                (self.backup_fault, self.begun_s) = (Some(why), None);
                self.rests_until = Some(self.backoff.ended(boot_time()));
            }
            (Some(_), Some(Outcome::Done(_))) => {
                (self.backup_fault, self.begun_s, self.rests_until) = (None, None, None);
                self.backoff.forgive();
            }
            _ => {}
        }
    }

    fn annex(&self, last: Option<&Full>) -> Annex {
        let fact = match last {
            Some(full) => {
                let tested = full.about.tested.as_deref().unwrap_or("not tested");
                format!("{} UTC, {} MB; {tested}", spoken(full.about.taken_s), full.about.bytes >> 20)
            }
            None => "none yet".into(),
        };
        let fault = self.backup_fault.clone();
        let fault =
            fault.or_else(|| self.archive_fault.as_ref().map(|why| format!("binary logs are not archived: {why}")));
        Annex { facts: vec![("last backup".into(), fact)], fault }
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::About;
    use super::*;

    #[test]
    fn when_one_is_due() {
        let declared = Backup { to: "/b".into(), every: Duration::from_secs(100), keep: 1 };
        let about = About {
            format: 1,
            taken_s: 1_000,
            server: "db1".into(),
            gtid: String::new(),
            line: "a".into(),
            log: ("binlog.000001".into(), 4),
            bytes: 0,
            tested: None,
        };
        let last = Full { path: "/b/full".into(), about };
        let due = |last, line: &str, now| Schedule::default().is_due(&declared, last, Some(line), now);
        assert!(due(None, "a", 0), "the first");
        assert!(!due(Some(&last), "a", 1_099) && due(Some(&last), "a", 1_100));
        assert!(due(Some(&last), "b", 1_001), "the data were copied anew: other logs");
    }
}
