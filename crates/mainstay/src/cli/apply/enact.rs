//! From what is wanted to a generation that is followed: what `apply`, `rollback` and `maintain` have in common.
//!
//! The order is what makes it safe to be killed anywhere: first what is only added to disks, then servers that are new, then
//! the generation as a whole, then the word that it is the one to follow. From there the servers go on by themselves.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use mainstay_site::bridge;
use mainstay_site::model::{Codebase, FORMAT, Server, Site};
use mainstay_site::names::Generation;
use mainstay_site::plan::{Plan, derive};
use mainstay_site::wire::rollout::{Progress, Proposal, Record};

use super::fleet::{Fleet, Now};
use super::{difference, disk, ready, refuse};
use crate::cli::db::ask::confirm;
use crate::cli::declaration::Declaration;
use crate::cli::exit::FAILED;
use crate::cli::up::{Leaving, make_secrets, say};
use crate::render::{self, Paint};

/// How it is to be done.
#[derive(clap::Args, Clone, Debug)]
pub struct How {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Return when every server follows it, or one cannot
    #[arg(long)]
    pub wait: bool,
    /// Only show what would change
    #[arg(long, conflicts_with_all = ["yes", "wait"])]
    pub dry_run: bool,
    /// For how many seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
}

/// What is wanted.
pub struct Change<'d> {
    pub site: Site,
    pub codebases: Vec<Codebase>,
    /// For the history.
    pub what: String,
    /// Gone back from by itself where a server cannot follow.
    pub retreats: bool,
    /// Where codebases and certificates are; `None` if everything was made before.
    pub source: Option<&'d Declaration>,
}

/// Shows, asks, writes and waits.
pub async fn enact(fleet: &Fleet, now: &Now, change: Change<'_>, how: &How) -> anyhow::Result<ExitCode> {
    if (&now.site, &now.codebases) == (&change.site, &change.codebases)
        && let Some(target) = now.target
    {
        return unchanged(fleet, now, target, change.source, how).await;
    }
    refuse(&now.site, &change.site)?;
    let first = bridge::generations(&now.site, &change.site);
    let generation = Generation(now.last.0 + 1 + first.len() as u64);
    show(now, &derive(&change.site, &change.codebases, generation), generation);
    if !first.is_empty() {
        say(&bridge::told(&now.site, &change.site, first.len() + 1));
    }
    if how.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    confirm(&format!("{} then follows generation {generation}.", change.site.domain), how.yes)?;
    if first.is_empty() {
        ready::can_go(fleet, &now.site, &change.site).await?;
        return step(fleet, now, change, how).await;
    }
    by_way_of(fleet, first, change, how).await
}

/// First the generations that have the old and the new, then the one that is wanted.
async fn by_way_of(fleet: &Fleet, first: Vec<Site>, change: Change<'_>, how: &How) -> anyhow::Result<ExitCode> {
    let wait = How { wait: true, ..how.clone() };
    for (site, how_far) in first.into_iter().zip(["beside what was", "beside what was, the votes moved"]) {
        let what = format!("{}, {how_far}", change.what);
        let both = Change { site, codebases: change.codebases.clone(), what, retreats: false, source: change.source };
        let code = step(fleet, &fleet.now().await?, both, &wait).await?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
        ready::ready(fleet, &change.site).await?;
    }
    let now = fleet.now().await?;
    let mut site = change.site;
    site.continues(&now.site);
    step(fleet, &now, Change { site, ..change }, how).await
}

/// One generation.
async fn step(fleet: &Fleet, now: &Now, change: Change<'_>, how: &How) -> anyhow::Result<ExitCode> {
    let generation = Generation(now.last.0 + 1);
    let plans = derive(&change.site, &change.codebases, generation);
    disk::left(fleet, &change.site).await?;
    disk::prepare(fleet, now, &change, &plans)?;
    let both = both(&now.site, &change.site);
    disk::note(&fleet.running.folder, &both)?;
    leave(fleet, now, &change.site, generation)?;
    disk::switched_on(fleet, now, &change.site).await?;
    let record = Record {
        format: FORMAT,
        generation,
        at_ms: mainstay_node::clock::unix_ms(),
        what: change.what,
        site: change.site.clone(),
        codebases: change.codebases,
        before: now.target,
        retreats: change.retreats,
    };
    fleet.propose(&Proposal { record, plans }, &now.site).await?;
    say(&format!("generation {generation} is to be followed"));
    if !how.wait && !fleet.must_be_led(&change.site).await? {
        return Ok(ExitCode::SUCCESS);
    }
    end(fleet, generation, Duration::from_secs(how.timeout)).await
}

/// Nothing is different, but perhaps the files that the declaration names; what is under way is waited for.
async fn unchanged(
    fleet: &Fleet,
    now: &Now,
    target: Generation,
    source: Option<&Declaration>,
    how: &How,
) -> anyhow::Result<ExitCode> {
    say(&format!("nothing changes: generation {target} is this declaration"));
    if let Some(declaration) = source.filter(|_| !how.dry_run)
        && make_secrets(&now.site, &declaration.folder, &fleet.running.folder)?
    {
        say("the certificate is another one: visitors are shown it within a second");
    }
    let done = now.outcome.as_ref().is_some_and(|it| it.generation == target && it.state == Progress::Converged);
    if how.dry_run || done || (!how.wait && !fleet.must_be_led(&now.site).await?) {
        return Ok(ExitCode::SUCCESS);
    }
    end(fleet, target, Duration::from_secs(how.timeout)).await
}

async fn end(fleet: &Fleet, generation: Generation, patience: Duration) -> anyhow::Result<ExitCode> {
    let outcome = fleet.follow(generation, patience).await?;
    match outcome.state {
        Progress::Converged => Ok(ExitCode::SUCCESS),
        Progress::Stopped => {
            let back = match fleet.retreat(generation, &outcome.because).await? {
                Some(back) => Some(back),
                // The servers have gone back by themselves, or somebody else has applied something.
                None => fleet.view().await?.target.filter(|target| *target > generation),
            };
            if let Some(back) = back {
                let ended = fleet.follow(back, patience).await?;
                say(&format!("{}; {}", fleet.record(back).await?.what, ended.because));
                return Ok(ExitCode::from(FAILED));
            }
            say(&format!(
                "generation {generation} was not followed by every server: {}; `mainstay rollback` goes back",
                outcome.because
            ));
            Ok(ExitCode::from(FAILED))
        }
        Progress::Converging => bail!("it is not done"),
    }
}

fn show(now: &Now, plans: &[Plan], generation: Generation) {
    let before = derive(&now.site, &now.codebases, generation);
    let paint = Paint(render::colour(&std::io::stdout()));
    render::print(&difference::told(&before, plans, &paint));
}

/// Notes who is to be switched off when the others follow.
fn leave(fleet: &Fleet, now: &Now, after: &Site, generation: Generation) -> anyhow::Result<()> {
    let names = now.site.servers.iter().map(|server| server.name.clone());
    let servers: Vec<_> = names.filter(|name| after.server(name).is_none()).collect();
    if servers.is_empty() {
        return Ok(());
    }
    Leaving { generation, servers }.note(&fleet.running.folder)
}

/// Servers of before and after: until everybody follows, both are there.
fn both(before: &Site, after: &Site) -> Site {
    let mut site = after.clone();
    let leaves = before.servers.iter().filter(|server| after.server(&server.name).is_none());
    site.servers.extend(leaves.map(|server| Server { number: before.number(&server.name), ..server.clone() }));
    site
}

impl Fleet {
    /// Whether the servers cannot do it without this command.
    pub async fn must_be_led(&self, site: &Site) -> anyhow::Result<bool> {
        Ok(site.servers.len() > 1 && !self.settled_view().await?.led)
    }
}
