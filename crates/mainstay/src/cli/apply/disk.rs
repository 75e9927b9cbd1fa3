//! What a generation needs on the servers' disks before it is written: releases, secrets, the plans that new servers
//! start with. All of it is added; nothing that is in use is changed.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mainstay_node::release::{self, Release};
use mainstay_site::model::{Codebase, Site};
use mainstay_site::names::{Role, ServerName};
use mainstay_site::plan::Plan;
use mainstay_site::wire::State;

use super::enact::Change;
use super::fleet::{Fleet, Now};
use crate::cli::site_folder::SiteFolder;
use crate::cli::up::{Leaving, install_releases, make_secrets, releases, say};

/// For servers that are switched on: their first members of a store look around for some seconds.
const ON_WITHIN: Duration = Duration::from_secs(60);
/// For servers that leave and are wanted again: a database has a minute to end.
const LEFT_WITHIN: Duration = Duration::from_secs(100);
const LOOK: Duration = Duration::from_millis(100);

/// Lays everything out.
pub fn prepare(fleet: &Fleet, now: &Now, change: &Change<'_>, plans: &[Plan]) -> anyhow::Result<()> {
    let folder = &fleet.running.folder;
    note_use(folder, now)?;
    let built = match change.source {
        Some(declaration) => releases(declaration, &change.site, &folder.common().join("builds"))?,
        None => kept(folder, &change.codebases)?,
    };
    for (release, codebase) in built.iter().zip(&change.codebases) {
        ensure!(release.id == codebase.release, "the code of {} changed meanwhile: apply again", release.app);
    }
    install_releases(&change.site, &built, folder)?;
    if let Some(declaration) = change.source {
        make_secrets(&change.site, &declaration.folder, folder)?;
    }
    // Only for those that are switched on the first time: the others keep to what they follow until it is their turn.
    let mut first: Vec<Plan> = folder.read("plans.json")?.unwrap_or_default();
    for plan in plans.iter().filter(|plan| now.site.server(&plan.server).is_none()) {
        first.retain(|known| known.server != plan.server);
        first.push(plan.clone());
    }
    folder.write("plans.json", &first)
}

/// What servers run is not among the releases that go when another one comes, however many have failed since.
fn note_use(folder: &SiteFolder, now: &Now) -> anyhow::Result<()> {
    let servers = now.site.servers.iter().map(|server| folder.server(&server.name).join("releases"));
    for releases in servers.chain([folder.common().join("builds")]) {
        for codebase in &now.followed {
            // Of the one before it files are served still.
            let mut all = codebase.before.iter().chain([&codebase.release]);
            all.try_for_each(|release| release::note_use(&releases, &codebase.app, release))?;
        }
    }
    Ok(())
}

/// Releases that were built before.
fn kept(folder: &SiteFolder, codebases: &[Codebase]) -> anyhow::Result<Vec<Release>> {
    let one = |codebase: &Codebase| {
        let name = Release::folder_name(&codebase.app, &codebase.release);
        let path = folder.common().join("builds").join(&name);
        ensure!(
            path.join("code").is_dir(),
            "release {} of {} is not kept any more (the last {} are); apply a declaration with its code",
            codebase.release,
            codebase.app,
            release::RELEASES_KEPT
        );
        Ok(Release { app: codebase.app.clone(), id: codebase.release.clone(), folder: path })
    };
    codebases.iter().map(one).collect()
}

/// Waits until servers that leave have left, if they are wanted again.
pub async fn left(fleet: &Fleet, site: &Site) -> anyhow::Result<()> {
    let (begun, mut told) = (Instant::now(), false);
    loop {
        let leaving = Leaving::noted(&fleet.running.folder)?.servers;
        let Some(name) = leaving.into_iter().find(|name| site.server(name).is_some()) else { return Ok(()) };
        if !told {
            say(&format!("  {name} is leaving: it comes back when it has left"));
            told = true;
        }
        ensure!(
            begun.elapsed() < LEFT_WITHIN,
            "{name} has not left after {} s: the others do not follow without it, or it does not end; `mainstay history` and \
             `mainstay status` say why",
            LEFT_WITHIN.as_secs()
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until servers that are new run: `up` sees them in `.site/site.json` and switches them on.
pub async fn switched_on(fleet: &Fleet, now: &Now, site: &Site) -> anyhow::Result<()> {
    let new: Vec<&ServerName> =
        site.servers.iter().filter(|it| now.site.server(&it.name).is_none()).map(|server| &server.name).collect();
    for name in new {
        let begun = Instant::now();
        while let Some(missing) = missing(fleet, name).await? {
            ensure!(begun.elapsed() < ON_WITHIN, "{name} is not there after {} s: {missing}", ON_WITHIN.as_secs());
            tokio::time::sleep(LOOK).await;
        }
        say(&format!("  {name} is on"));
    }
    Ok(())
}

/// What is to be waited for: the server itself, and its vote in a store that others will need.
async fn missing(fleet: &Fleet, name: &ServerName) -> anyhow::Result<Option<String>> {
    let status = match fleet.client(name)?.status().await {
        Ok(status) => status,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let store = status.services.iter().find(|service| service.role == Role::Store);
    let waits = store.filter(|store| !matches!(store.state, State::Serving | State::Degraded));
    Ok(waits.map(|store| format!("its store is {}: {}", store.state.as_str(), store.because)))
}

/// The site as `up`, `status` and the other verbs know it from now on.
pub fn note(folder: &SiteFolder, site: &Site) -> anyhow::Result<()> {
    folder.write("site.json", site).context("the site cannot be noted down")
}
