//! What is done for the data besides serving them: backups, their archive of binary logs, restoring, comparing; and the
//! operator's questions and orders.
//!
//! A thread of its own: nothing here is waited for by the role. One job at a time, since each reads the whole disk.

mod archive;
mod cluster;
mod error;
mod folder;
mod full;
mod hold;
mod job;
mod private;
mod purge;
mod restore;
mod schedule;
mod session;
mod tool;
mod trial;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_site::plan;
use mainstay_site::wire::Refusal;
use mainstay_site::wire::upkeep::{Ask, Outcome, Told};
use tokio::sync::mpsc;

use self::error::Error;
use self::folder::Folder;
use self::job::Jobs;
use super::places::Places;
use crate::service::{Context, Launch, Reporter, Request};
use crate::store::Store;

/// Between two looks whether something is due, and two additions to the archive: what may be lost with the disk.
const TICK: Duration = Duration::from_secs(1);

/// What everybody here works with.
struct Scene {
    launch: Launch,
    config: plan::Database,
    places: Places,
    reporter: Reporter,
    store: Option<Store>,
    jobs: Jobs,
}

/// Begins on a thread of its own, which ends with the process.
///
/// # Errors
/// No thread can be started.
pub fn start(context: &Context, config: &plan::Database, places: &Places) -> std::io::Result<()> {
    let requests = context.asks.follow();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (launch, reporter) = (context.launch.clone(), context.reporter.clone());
    let (config, places) = (config.clone(), places.clone());
    std::thread::Builder::new().name("ms-upkeep".into()).spawn(move || {
        runtime.block_on(async {
            let store = Store::of(&launch.site, &launch.server, &config.store, &launch.secrets);
            let store = store.inspect_err(|why| tracing::error!("orders cannot be given: {why}")).ok().flatten();
            let scene = Arc::new(Scene { launch, config, places, reporter, store, jobs: Jobs::default() });
            serve(scene, requests).await;
        });
    })?;
    Ok(())
}

async fn serve(scene: Arc<Scene>, mut requests: mpsc::Receiver<Request>) {
    let turning = scene.clone();
    // Beside the requests: a server that hangs is asked about in vain.
    tokio::spawn(async move {
        let (mut schedule, mut purge) = (schedule::Schedule::default(), purge::Purge::default());
        loop {
            tokio::time::sleep(TICK).await;
            schedule.turn(&turning).await;
            purge.turn(&turning).await;
        }
    });
    while let Some(Request { ask, answer }) = requests.recv().await {
        let scene = scene.clone();
        tokio::spawn(async move {
            // Whoever asked may have gone.
            let _ = answer.send(told(&scene, ask).await);
        });
    }
    std::future::pending().await
}

async fn told(scene: &Arc<Scene>, ask: Ask) -> Result<Told, Refusal> {
    let refused = |error: Error| Refusal { error: error.to_string(), hint: None };
    match ask {
        Ask::View => Ok(Told::View(Box::new(cluster::view(scene).await))),
        Ask::Order { wish } => cluster::order(scene, wish).await.map(|()| Told::Ordered).map_err(refused),
        Ask::Job => Ok(Told::Job { job: scene.jobs.last() }),
        Ask::Backup { to, test } => {
            let folder = scene.folder(to).map_err(refused)?;
            let done = scene
                .jobs
                .begin("backup", scene.clone(), move |scene| async move { backup(&scene, &folder, test).await });
            done.map(|job| Told::Job { job }).map_err(refused)
        }
        Ask::Restore { until_s, from } => {
            let folder = scene.folder(from).map_err(refused)?;
            let work = move |scene: Arc<Scene>| async move { restore::run(&scene, &folder, until_s).await };
            scene.jobs.begin("restore", scene.clone(), work).map(|job| Told::Job { job }).map_err(refused)
        }
        Ask::Verify => {
            let work = |scene: Arc<Scene>| async move { verify::run(&scene).await };
            scene.jobs.begin("verify", scene.clone(), work).map(|job| Told::Job { job }).map_err(refused)
        }
    }
}

/// A full backup, what was logged meanwhile, and a trial of both.
async fn backup(scene: &Scene, folder: &Folder, test: bool) -> Result<Vec<(String, String)>, Error> {
    let full = full::make(scene, folder).await?;
    let mut told = vec![
        ("backup".to_owned(), full.path.display().to_string()),
        ("size".into(), format!("{} MB", full.about.bytes >> 20)),
        ("gtid".into(), full.about.gtid.clone()),
    ];
    if test {
        scene.jobs.note("restoring it once, to see that it can be");
        told.push(("restore test".into(), trial::run(scene, folder, &full).await?));
    } else {
        told.push(("restore test".into(), "not made".into()));
    }
    Ok(told)
}

impl Scene {
    /// The folder that was named, or the declared one.
    fn folder(&self, named: Option<String>) -> Result<Folder, Error> {
        let declared = self.config.backup.as_ref().map(|backup| backup.to.clone());
        let path = named.or(declared).map(PathBuf::from).ok_or(Error::NoFolder)?;
        if path.is_absolute() { Ok(Folder::new(path)) } else { Err(Error::Relative(path)) }
    }

    /// The password of Mainstay's own account.
    fn password(&self) -> &str {
        &self.launch.secrets.database_admin
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a job comes to, as its outcome.
fn outcome(done: Result<Vec<(String, String)>, Error>) -> Outcome {
    match done {
        Ok(told) => Outcome::Done(told),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}
