//! One run: visitors come, something happens, all is mended, and what they were told is compared with what is there.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use mainstay_lab::scenario::{Door, Moment, Tally, Visitors, What, tally};
use mainstay_site::names::{Role, ServerName};
use mainstay_site::wire::State;

use super::super::patience::{until, wait};
use super::super::stage::Stage;
use super::super::table::Played;
use crate::cli::db::order;

/// Visitors come for so long before anything happens, and after all goes on.
const WARM: Duration = Duration::from_secs(2);
/// Longer than the lease, which is 3 s if nothing else is declared, and than a machine needs to be started anew.
const OFF: Duration = Duration::from_secs(8);
/// Until posts must be acknowledged again.
const GOES_ON: Duration = Duration::from_secs(60);
/// Until every server serves again, a copy of the database included.
const SETTLES: Duration = Duration::from_secs(90);
/// Until all have the same contents once nobody writes.
const CONVERGES: Duration = Duration::from_secs(30);
/// Posts that go on are so many.
const SOME: u64 = 10;

/// What a run showed.
#[derive(Debug)]
pub struct Outcome {
    pub tally: Tally,
    /// How the servers differ in the end.
    pub diverged: Option<String>,
}

impl Played for Outcome {
    fn complaints(&self) -> impl Iterator<Item = &String> {
        self.tally.wrong.iter().chain(&self.diverged)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { sent, failed, in_flight, acknowledged, lost, .. } = &self.tally;
        let (gap, slowest) = (self.tally.gap.as_millis(), self.tally.slowest.as_millis());
        write!(
            f,
            "{sent} requests, {failed} failed ({in_flight} under way at the fault), gap {gap} ms, slowest {slowest} ms, \
             {acknowledged} posts, {lost} lost"
        )
    }
}

/// The primary's server is powered off, and on again.
pub fn power_off(stage: &mut Stage) -> anyhow::Result<Outcome> {
    run(stage, |stage, visitors| {
        let primary = stage.primary()?;
        let from = visitors.now();
        stage.lab()?.black_out(&primary)?;
        let moment = Moment { from, to: visitors.now() };
        goes_on(visitors)?;
        wait(OFF);
        stage.lab()?.power_on_again(&primary)?;
        Ok(Some(moment))
    })
}

/// An operator has the primary's place handed over.
pub fn switchover(stage: &mut Stage) -> anyhow::Result<Outcome> {
    run(stage, |stage, visitors| {
        let before = stage.primary()?;
        stage.runtime.block_on(order::switch_over(&stage.databases, None))?;
        let changed = stage.runtime.block_on(order::led(&stage.databases, None))?;
        ensure!(changed.primary != before.0, "{before} did not hand over");
        goes_on(visitors)?;
        Ok(None)
    })
}

/// Waits until the whole site serves.
pub fn open(stage: &Stage) -> anyhow::Result<()> {
    stage.settle(SETTLES)?;
    until(SETTLES, || Ok(stage.runtime.block_on(unwell(stage))))
}

async fn unwell(stage: &Stage) -> Option<String> {
    for server in &stage.site.servers {
        let told = stage.control(&server.name).status().await;
        let status = match told {
            Ok(status) => status,
            Err(error) => return Some(format!("{}: {error}", server.name)),
        };
        let state = |service: &mainstay_site::wire::ServiceStatus| service.report.as_ref().map(|report| report.state);
        if let Some(service) = status.services.iter().find(|service| state(service) != Some(State::Serving)) {
            return Some(format!("{} of {} is not serving", service.name, server.name));
        }
    }
    None
}

/// Plays `happen` between two quiet times.
pub fn run(
    stage: &mut Stage,
    happen: impl FnOnce(&mut Stage, &Visitors) -> anyhow::Result<Option<Moment>>,
) -> anyhow::Result<Outcome> {
    open(stage).context("before the scenario")?;
    empty(stage)?;
    let visitors = Visitors::start(door(stage)?);
    goes_on(&visitors)?;
    wait(WARM);
    let happened = happen(stage, &visitors);
    wait(WARM);
    // Whatever went wrong: the visitors go first.
    let visits = visitors.end()?;
    let moment = happened?;
    let diverged = match open(stage) {
        Ok(()) => differ(stage)?,
        Err(error) => Some(format!("{error:#}")),
    };
    Ok(Outcome { tally: tally(&visits, &posts(stage)?, moment), diverged })
}

/// Where visitors find the site.
pub fn door(stage: &Stage) -> anyhow::Result<Door> {
    let namespace = stage.internet()?;
    let balancer = stage.site.with_role(Role::Balancer).next().context("there is no balancer")?;
    let address = SocketAddr::new(balancer.address, stage.site.ports.http);
    Ok(Door { namespace, address, host: format!("www.{}", stage.site.domain) })
}

/// Waits until some more posts are acknowledged.
pub fn goes_on(visitors: &Visitors) -> anyhow::Result<()> {
    let before = visitors.acknowledged();
    until(GOES_ON, || Ok((visitors.acknowledged() < before + SOME).then(|| "no posts are taken".into())))
}

/// Deletes the posts of a run before.
pub fn empty(stage: &Stage) -> anyhow::Result<()> {
    ask(stage, &stage.primary()?, "DELETE FROM site.messages").map(drop)
}

/// The numbers of all posts that are there.
pub fn posts(stage: &Stage) -> anyhow::Result<Vec<u64>> {
    let texts = ask(stage, &stage.primary()?, "SELECT text FROM site.messages")?;
    Ok(texts.iter().filter_map(|text| What::number(text)).collect())
}

/// Asks a server's MariaDB from inside.
pub fn ask(stage: &Stage, server: &ServerName, query: &str) -> anyhow::Result<Vec<String>> {
    stage.runtime.block_on(stage.inside(server, "site").texts(query))
}

/// How the servers' contents differ, once they have had time to become the same.
pub fn differ(stage: &Stage) -> anyhow::Result<Option<String>> {
    let query =
        "SELECT CONCAT(@@gtid_current_pos, ' ', COUNT(*), ' ', COALESCE(SUM(CRC32(text)), 0)) FROM site.messages";
    let same = until(CONVERGES, || {
        let contents = |server: &ServerName| Ok((server.clone(), ask(stage, server, query)?));
        let all = stage.servers().iter().map(contents).collect::<anyhow::Result<Vec<_>>>()?;
        let alike = all.windows(2).all(|pair| pair[0].1 == pair[1].1);
        Ok((!alike).then(|| format!("the servers differ: {all:?}")))
    });
    Ok(same.err().map(|error| format!("{error:#}")))
}
