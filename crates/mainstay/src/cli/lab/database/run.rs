//! One run: clients write, something fails, all is mended, and what they were told is compared with what is there.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use mainstay_lab::scenario::{Contents, Verdict, Workload, check};

use super::super::patience::{until, wait};
use super::super::stage::Stage;
use super::super::table::Played;
use super::Scenario;
use super::act::{Act, Promised};

/// Clients write for so long before anything fails, and after writes go on again.
const WARM: Duration = Duration::from_secs(2);
/// Until every server is a member of the cluster again: a clone of some megabytes included.
const SETTLES: Duration = Duration::from_secs(90);
/// Until all have the same contents once nobody writes.
const CONVERGES: Duration = Duration::from_secs(30);

/// What a run showed.
#[derive(Debug, Default)]
pub struct Outcome {
    pub verdict: Verdict,
    /// What else was promised and not kept.
    pub broken: Vec<String>,
    /// How the servers differ in the end.
    pub diverged: Option<String>,
}

impl Outcome {
    /// Of a run that did not come to its end.
    pub fn broken_off(error: &anyhow::Error) -> Outcome {
        Outcome { diverged: Some(format!("{error:#}")), ..Outcome::default() }
    }
}

impl Played for Outcome {
    fn complaints(&self) -> impl Iterator<Item = &String> {
        self.verdict.anomalies.iter().chain(&self.broken).chain(&self.diverged)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { gap, acknowledged, lost, .. } = &self.verdict;
        write!(f, "gap {} ms, {acknowledged} acknowledged, {lost} lost", gap.as_millis())
    }
}

/// Plays a scenario once.
pub fn play(stage: &mut Stage, scenario: &Scenario) -> anyhow::Result<Outcome> {
    stage.settle(SETTLES).context("before the scenario")?;
    let primary = stage.primary()?;
    let target = stage.target()?;
    let schema = target.name.clone();
    let workload = Workload::start(target)?;
    wait(WARM);
    let mut act = Act::new(stage, primary, &workload);
    let played = befall(&mut act, scenario);
    let promised = act.end();
    // Whatever went wrong: the clients end, and nothing stays as it was made.
    let history = workload.end()?;
    let mended = stage.mend();
    let mut broken = promised.broken.clone();
    broken.extend(played.err().map(|error| format!("{error:#}")));
    mended?;
    let diverged = match stage.settle(SETTLES) {
        Ok(()) => differ(stage, &schema)?,
        Err(error) => Some(format!("{error:#}")),
    };
    let primary = stage.primary()?;
    let found = stage.runtime.block_on(stage.inside(&primary, &schema).found())?;
    let verdict = check(&history, &found);
    broken.extend(late(&promised, &verdict));
    let slowest = history.ops.iter().map(|op| op.ended.saturating_sub(op.sent)).max().unwrap_or_default();
    broken.extend(promised.answer_max.filter(|most| slowest > *most).map(|most| {
        format!(
            "a statement was waited for {} ms, and at most {} ms are promised",
            slowest.as_millis(),
            most.as_millis()
        )
    }));
    Ok(Outcome { verdict, broken, diverged })
}

fn befall(act: &mut Act<'_>, scenario: &Scenario) -> anyhow::Result<()> {
    act.goes_on("before anything failed")?;
    (scenario.play)(act)?;
    act.goes_on("after the fault was over")?;
    act.wait(WARM);
    Ok(())
}

/// What took longer than the scenario promises.
fn late(promised: &Promised, verdict: &Verdict) -> impl Iterator<Item = String> {
    let late = |what: &str, most: Option<Duration>, gap: Duration| {
        let most = most.filter(|most| gap > *most)?;
        Some(format!("no {what} for {} ms, and at most {} ms are promised", gap.as_millis(), most.as_millis()))
    };
    let (writes, reads) =
        (late("writes", promised.gap_max, verdict.gap), late("reads", promised.read_gap_max, verdict.read_gap));
    writes.into_iter().chain(reads)
}

/// How the servers' contents differ, once they have had time to become the same.
fn differ(stage: &Stage, schema: &str) -> anyhow::Result<Option<String>> {
    let mut errant = None;
    let same = until(CONVERGES, || {
        let all = contents(stage, schema)?;
        let wrote = all.iter().find(|(_, contents)| !contents.errant.is_empty());
        errant =
            wrote.map(|(server, contents)| format!("{server} wrote while it followed: {}", contents.errant.join(", ")));
        if errant.is_some() || all.windows(2).all(|pair| pair[0].1 == pair[1].1) {
            return Ok(None);
        }
        let told = all
            .iter()
            .map(|(server, contents)| format!("{server} at {} with {:?}", contents.position, contents.checksums));
        Ok(Some(format!("the servers differ: {}", told.collect::<Vec<_>>().join("; "))))
    });
    Ok(errant.or(same.err().map(|error| format!("{error:#}"))))
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
