//! Deaths while servers change: they end at one generation, the old or the new, and visitors are answered throughout.

use std::time::Duration;

use anyhow::Context;
use mainstay_lab::scenario::{Moment, Visitors};
use mainstay_site::names::{Role, ServerName};

use super::super::patience::{until, wait};
use super::super::site::goes_on;
use super::super::stage::Stage;
use super::changes::{staff, weigh};
use super::faults::first;
use super::orders::{apply, begin, converged, rollout, target};
use super::play::{Broke, Happened};

/// After which time the command is killed: before it has asked anybody, while it writes, while the servers change.
const MOMENTS_MS: [u64; 8] = [10, 50, 100, 200, 400, 700, 1200, 2500];
/// Until a change is under way.
const BEGINS: Duration = Duration::from_secs(60);
/// For how long a server is away.
const OFF: Duration = Duration::from_secs(8);

/// The command, again and again; then it is let finish.
pub fn command(stage: &mut Stage, visitors: &Visitors) -> anyhow::Result<Happened> {
    let file = stage.root.join("site.toml").display().to_string();
    let (mut reached, mut happened) = (0, Happened::default());
    for after_ms in MOMENTS_MS {
        weigh(stage)?;
        let before = target(stage)?;
        let mut child = begin(&["apply", "--yes", &file])?;
        wait(Duration::from_millis(after_ms));
        child.kill()?;
        child.wait()?;
        if let Err(error) = converged(stage) {
            happened.wrong.push(format!("killed after {after_ms} ms: {error:#}"));
        }
        goes_on(visitors)?;
        reached += usize::from(target(stage)? != before);
    }
    if reached == 0 {
        happened.wrong.push("no command lived long enough to change anything: the scenario shows nothing".into());
    }
    // What was declared last may stand already.
    apply(stage)?;
    Ok(happened)
}

/// An application server, when it was told to change.
pub fn server(stage: &mut Stage, visitors: &Visitors) -> anyhow::Result<Happened> {
    let server = first(stage, Role::App)?;
    staff(stage)?;
    lose(stage, visitors, |stage| {
        let told = rollout(stage).is_some_and(|view| {
            let standing = view.servers.iter().find(|standing| standing.server == server);
            standing.is_some_and(|standing| Some(standing.turn) == view.target && Some(standing.at) <= view.target)
        });
        told.then(|| server.clone())
    })
    .map(|(moment, mut happened)| {
        happened.broke = Some(Broke::During(moment));
        happened
    })
}

/// Whoever leads the store, when the new generation is to be followed. It may be the balancer that has the address.
pub fn leader(stage: &mut Stage, visitors: &Visitors) -> anyhow::Result<Happened> {
    let leader = stage.store_leader()?.context("nobody leads the store")?;
    staff(stage)?;
    lose(stage, visitors, |_| Some(leader.clone())).map(|(moment, mut happened)| {
        happened.broke = Some(Broke::From(moment));
        happened
    })
}

/// Applies the site's file, and cuts the power of the server that `who` names once the new generation is to be followed.
fn lose(
    stage: &mut Stage,
    visitors: &Visitors,
    who: impl Fn(&Stage) -> Option<ServerName>,
) -> anyhow::Result<(Moment, Happened)> {
    let (before, file) = (target(stage)?, stage.root.join("site.toml").display().to_string());
    let mut child = begin(&["apply", "--yes", &file])?;
    let mut victim = None;
    let begins = until(BEGINS, || {
        let begun = target(stage).is_ok_and(|target| target > before);
        victim = who(stage).filter(|_| begun);
        Ok(victim.is_none().then(|| "nobody changes".into()))
    });
    let lost = begins.and_then(|()| {
        let (from, victim) = (visitors.now(), victim.context("somebody changes")?);
        stage.lab()?.black_out(&victim)?;
        Ok((Moment { from, to: visitors.now() }, victim))
    });
    // It says no more than that the generation is to be followed.
    child.wait()?;
    let (moment, victim) = lost?;
    goes_on(visitors)?;
    wait(OFF);
    stage.lab()?.power_on_again(&victim)?;
    let mut happened = Happened::default();
    happened.wrong.extend(converged(stage).err().map(|error| format!("{error:#}")));
    // What was left half done is done, or done again.
    apply(stage)?;
    Ok((moment, happened))
}
