//! Everything that is made before the first server is switched on: releases, secrets, plans.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use mainstay_node::release::{Release, build, install};
use mainstay_node::{authority, certificate};
use mainstay_site::model::{App, Codebase, Site};
use mainstay_site::names::{Generation, Role};
use mainstay_site::plan::{Plan, derive};
use mainstay_site::secrets::Secrets;

use super::progress;
use crate::cli::declaration::Declaration;
use crate::cli::site_folder::{SiteFolder, write};

/// Builds, completes, derives; leaves every server's state directory ready to be switched on.
pub fn prepare(declaration: &Declaration, site: &Site, folder: &SiteFolder) -> anyhow::Result<Vec<Plan>> {
    folder.make()?;
    let releases = releases(declaration, site, &folder.common().join("builds"))?;
    let plans = plans(site, &releases, folder)?;
    let secrets = secrets(site, &declaration.folder, folder)?;
    for server in &site.servers {
        let state = folder.server(&server.name);
        // The web tier serves the codebase's files itself.
        if server.has(Role::App) || server.has(Role::Web) {
            site.apps.iter().zip(&releases).try_for_each(|(app, release)| put(app, release, &state))?;
        }
        std::fs::create_dir_all(&state).with_context(|| format!("{} cannot be made", state.display()))?;
        write(&state.join("secrets.json"), &secrets.of(&server.name), 0o600)?;
    }
    folder.write("site.json", site, 0o644)?;
    folder.write("plans.json", &plans, 0o644)?;
    Ok(plans)
}

fn releases(declaration: &Declaration, site: &Site, builds: &Path) -> anyhow::Result<Vec<Release>> {
    let one = |app: &App| {
        let begun = Instant::now();
        let mut line = progress::Line::new();
        let source = declaration.folder.join(&app.path);
        let release = build(app, &source, builds, &mut |said| line.show(&format!("  {}: {said}", app.name)))?;
        line.end(&format!("  release {} of {} ({:.1} s)", release.id, app.name, begun.elapsed().as_secs_f64()));
        Ok(release)
    };
    site.apps.iter().map(one).collect()
}

fn put(app: &App, release: &Release, state: &Path) -> anyhow::Result<()> {
    let owner = rustix::process::geteuid().is_root().then(|| Role::App.user());
    install(release, state, &app.shared, owner).map(drop).map_err(Into::into)
}

/// The plans, with the generation that was last in force if nothing changed, else the next.
fn plans(site: &Site, releases: &[Release], folder: &SiteFolder) -> anyhow::Result<Vec<Plan>> {
    let codebases: Vec<Codebase> =
        releases.iter().map(|release| Codebase { app: release.app.clone(), release: release.id.clone() }).collect();
    let before: Option<Vec<Plan>> = folder.read("plans.json")?;
    let last = before.iter().flatten().map(|plan| plan.generation).max().unwrap_or_default();
    let again = derive(site, &codebases, last);
    if before.is_some_and(|before| before == again) {
        return Ok(again);
    }
    Ok(derive(site, &codebases, Generation(last.0 + 1)))
}

fn secrets(site: &Site, declared_in: &Path, folder: &SiteFolder) -> anyhow::Result<Secrets> {
    let mut random = File::open("/dev/urandom").context("/dev/urandom cannot be opened")?;
    let mut failed = Ok(());
    let fill = |buffer: &mut [u8]| {
        if let Err(error) = random.read_exact(buffer) {
            failed = Err(error);
        }
    };
    let mut secrets = Secrets::complete(folder.read("secrets.json")?, site.apps.iter().map(|app| &app.name), fill);
    failed.context("/dev/urandom cannot be read")?;
    secrets.certificate = certificate::of(site, declared_in, secrets.certificate.as_ref())?;
    secrets.store = authority::store_access(site, declared_in)?;
    authority::complete(site, &mut secrets)?;
    folder.write("secrets.json", &secrets, 0o600)?;
    Ok(secrets)
}
