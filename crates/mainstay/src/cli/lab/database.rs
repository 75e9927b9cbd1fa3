//! One run: clients write, something fails, all is mended, and what they were told is compared with what is there.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mainstay_lab::scenario::{Contents, Verdict, Workload, check};

use super::faults::Scenario;
use super::stage::Stage;

/// Clients write for so long before anything fails, and after writes go on again.
const WARM: Duration = Duration::from_secs(2);
/// Until writes must go on after a fault, or after its end: an election with everything against it.
const GOES_ON: Duration = Duration::from_secs(60);
/// Until every server is a member of the cluster again: a clone of some megabytes included.
const SETTLES: Duration = Duration::from_secs(90);
/// Until all have the same contents once nobody writes.
const CONVERGES: Duration = Duration::from_secs(30);
/// Writes that go on are so many.
const SOME: u64 = 20;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What a run showed.
#[derive(Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    /// How the servers differ in the end.
    pub diverged: Option<String>,
}

impl Outcome {
    /// Everything that is wrong, in words.
    pub fn complaints(&self) -> Vec<String> {
        self.verdict.anomalies.iter().chain(&self.diverged).cloned().collect()
    }
}

/// Plays a scenario once.
pub fn play(stage: &mut Stage, scenario: &Scenario) -> anyhow::Result<Outcome> {
    stage.settle(SETTLES).context("before the scenario")?;
    let primary = stage.primary()?;
    let target = stage.target()?;
    let schema = target.name.clone();
    let workload = Workload::start(target)?;
    wait(stage, WARM);
    let played = befall(stage, scenario, &primary, &workload);
    // Whatever went wrong: the clients end first.
    let history = workload.end()?;
    played?;
    let settled = stage.settle(SETTLES);
    let diverged = match &settled {
        Ok(()) => differ(stage, &schema)?,
        Err(error) => Some(format!("{error:#}")),
    };
    let primary = stage.primary()?;
    let found = stage.runtime.block_on(stage.inside(&primary, &schema).found())?;
    Ok(Outcome { verdict: check(&history, &found), diverged })
}

fn befall(
    stage: &mut Stage,
    scenario: &Scenario,
    primary: &mainstay_site::names::ServerName,
    workload: &Workload,
) -> anyhow::Result<()> {
    goes_on(stage, workload, "before anything failed")?;
    let begun = Instant::now();
    (scenario.fault)(stage, primary)?;
    let went_on = if scenario.stops_writes { Ok(()) } else { goes_on(stage, workload, "after the fault") };
    wait(stage, scenario.lasts.saturating_sub(begun.elapsed()));
    (scenario.mend)(stage, primary)?;
    went_on?;
    goes_on(stage, workload, "after the fault was over")?;
    wait(stage, WARM);
    Ok(())
}

fn wait(stage: &Stage, time: Duration) {
    stage.runtime.block_on(async { tokio::time::sleep(time).await });
}

/// Waits until some more writes are acknowledged.
fn goes_on(stage: &Stage, workload: &Workload, when: &str) -> anyhow::Result<()> {
    let (begun, before) = (Instant::now(), workload.acknowledged());
    while workload.acknowledged() < before + SOME {
        if begun.elapsed() > GOES_ON {
            bail!("no writes for {} s {when}", GOES_ON.as_secs());
        }
        wait(stage, LOOK);
    }
    Ok(())
}

/// How the servers' contents differ, once they have had time to become the same.
fn differ(stage: &Stage, schema: &str) -> anyhow::Result<Option<String>> {
    let begun = Instant::now();
    loop {
        let all = contents(stage, schema)?;
        let same = all.windows(2).all(|pair| pair[0].1 == pair[1].1);
        if same {
            return Ok(None);
        }
        if begun.elapsed() > CONVERGES {
            let told = all
                .iter()
                .map(|(server, contents)| format!("{server} at {} with {:?}", contents.position, contents.checksums));
            return Ok(Some(format!("the servers differ: {}", told.collect::<Vec<_>>().join("; "))));
        }
        wait(stage, LOOK);
    }
}

fn contents(stage: &Stage, schema: &str) -> anyhow::Result<Vec<(String, Contents)>> {
    stage.runtime.block_on(async {
        let mut all = Vec::new();
        for server in stage.servers() {
            all.push((server.to_string(), stage.inside(&server, schema).contents().await?));
        }
        Ok(all)
    })
}
