//! Backup, a dropped table, and back to the second before, on a cluster that serves.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use mainstay_lab::scenario::{Tally, Visitors, What, tally};
use mainstay_site::wire::upkeep::{Ask, Job, Outcome as Ended, Told};

use super::super::patience::wait;
use super::super::stage::Stage;
use super::play::{Outcome, ask, differ, door, goes_on, open};

/// A backup or a restore of some megabytes takes seconds.
const JOB: Duration = Duration::from_secs(120);
/// Between two looks at a job.
const LOOK: Duration = Duration::from_millis(50);

/// Plays it once. Visitors post until the table is dropped; all that they were told is there in the end, on every server.
pub fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    open(stage).context("before the scenario")?;
    let primary = stage.primary()?;
    ask(stage, &primary, "DELETE FROM site.messages")?;
    let keeper = stage.databases.keeper().cloned().context("there is no database")?;
    let folder = format!("/var/tmp/mainstay-scenario-{}", std::process::id());
    let visitors = Visitors::start(door(stage)?);
    let backed_up = goes_on(&visitors).and_then(|()| {
        let backup = Ask::Backup { to: Some(folder.clone()), test: true };
        job(stage, &keeper, &backup)
    });
    let posted = goes_on(&visitors);
    let visits = visitors.end()?;
    backed_up?;
    posted?;
    let dropped_s = next_second();
    ask(stage, &primary, "DROP TABLE site.messages")?;
    let gone = ask(stage, &primary, "SELECT COUNT(*) FROM site.messages");
    ensure!(gone.is_err(), "the table is dropped and still there");
    let restored = job(stage, &keeper, &Ask::Restore { until_s: dropped_s, from: Some(folder.clone()) });
    let _ = std::fs::remove_dir_all(&folder);
    restored?;
    let diverged = match open(stage) {
        Ok(()) => differ(stage)?,
        Err(error) => Some(format!("{error:#}")),
    };
    let texts = ask(stage, &stage.primary()?, "SELECT text FROM site.messages")?;
    let there: Vec<u64> = texts.iter().filter_map(|text| What::number(text)).collect();
    let tally: Tally = tally(&visits, &there, None);
    Ok(Outcome { tally, diverged })
}

/// Begins a job on a server and waits for its end.
fn job(stage: &Stage, server: &mainstay_site::names::ServerName, begin: &Ask) -> anyhow::Result<Vec<(String, String)>> {
    let work = async {
        let mut job = taken(stage.databases.ask(server, begin).await?)?;
        loop {
            match job.outcome {
                Some(Ended::Done(told)) => return Ok(told),
                Some(Ended::Failed(why)) => bail!("{}: {why}", job.what),
                None => tokio::time::sleep(LOOK).await,
            }
            job = taken(stage.databases.ask(server, &Ask::Job).await?)?;
        }
    };
    stage.runtime.block_on(async { tokio::time::timeout(JOB, work).await.context("the job does not end")? })
}

fn taken(told: Told) -> anyhow::Result<Job> {
    match told {
        Told::Job { job: Some(job) } => Ok(job),
        _ => bail!("the database service was restarted and the job with it ended"),
    }
}

/// Binary logs know seconds: what happens next is in a later one than all that was written.
fn next_second() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let before = now();
    while now() == before {
        wait(LOOK);
    }
    now()
}
