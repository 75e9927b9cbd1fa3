//! Everything that is made before the first server is switched on: releases, secrets, plans.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use mainstay_node::release::{Release, build, install};
use mainstay_node::store::Embedded;
use mainstay_node::{authority, certificate, etcd};
use mainstay_site::model::{App, Codebase, Site};
use mainstay_site::names::{Generation, Role, ServerName};
use mainstay_site::plan::{Config, Plan, derive};
use mainstay_site::secrets::Secrets;

use super::{heirs, progress};
use crate::cli::declaration::Declaration;
use crate::cli::site_folder::{SiteFolder, write};

/// What a site starts with.
pub struct Prepared {
    pub plans: Vec<Plan>,
    pub codebases: Vec<Codebase>,
}

/// Builds, completes, derives; leaves every server's state directory ready to be switched on.
pub fn prepare_all(declaration: &Declaration, site: &Site, folder: &SiteFolder) -> anyhow::Result<Prepared> {
    folder.make()?;
    if let Some(before) = folder.read::<Site>("site.json")? {
        heirs::refuse(&before, site, folder)?;
    }
    let releases = releases(declaration, site, &folder.common().join("builds"))?;
    let codebases: Vec<Codebase> = releases.iter().map(|release| Codebase::new(&release.app, &release.id)).collect();
    let plans = plans(site, &codebases, folder)?;
    install_releases(site, &releases, folder)?;
    make_secrets(site, &declaration.folder, folder)?;
    note_first(&plans, folder)?;
    folder.write("site.json", site)?;
    folder.write("plans.json", &plans)?;
    Ok(Prepared { plans, codebases })
}

/// Spares the members of a store that is nowhere yet the search for it.
fn note_first(plans: &[Plan], folder: &SiteFolder) -> anyhow::Result<()> {
    if plans.iter().any(|plan| folder.server(&plan.server).join("store.redb").exists()) {
        return Ok(());
    }
    for plan in plans {
        let store = plan.services.iter().find_map(|service| match &service.config {
            Config::Store(store) => Some(store),
            _ => None,
        });
        let state = folder.server(&plan.server);
        store
            .map_or(Ok(()), |store| etcd::note_first(&state, store))
            .with_context(|| format!("{} cannot be written", state.display()))?;
    }
    Ok(())
}

/// Releases into the state directories of the servers that run them or serve their files: the web tier does so itself.
pub fn install_releases(site: &Site, releases: &[Release], folder: &SiteFolder) -> anyhow::Result<()> {
    for server in site.servers.iter().filter(|server| server.has(Role::App) || server.has(Role::Web)) {
        let state = folder.server(&server.name);
        site.apps.iter().zip(releases).try_for_each(|(app, release)| put(app, release, &state))?;
    }
    Ok(())
}

/// The site's secrets, completed, with the certificate as it is now, and in every server's state directory what it may know of them.
/// Whether the certificate is another one than it was.
pub fn make_secrets(site: &Site, declared_in: &Path, folder: &SiteFolder) -> anyhow::Result<bool> {
    let known: Option<Secrets> = folder.read("secrets.json")?;
    let before = known.as_ref().and_then(|known| known.certificate.clone());
    let secrets = secrets(site, declared_in, folder, known)?;
    for server in &site.servers {
        let state = folder.server(&server.name);
        std::fs::create_dir_all(&state).with_context(|| format!("{} cannot be made", state.display()))?;
        write(&state.join("secrets.json"), &secrets.of(&server.name))?;
    }
    Ok(secrets.certificate != before)
}

/// Builds what is not there yet.
pub fn releases(declaration: &Declaration, site: &Site, builds: &Path) -> anyhow::Result<Vec<Release>> {
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
fn plans(site: &Site, codebases: &[Codebase], folder: &SiteFolder) -> anyhow::Result<Vec<Plan>> {
    let first: Vec<Plan> = folder.read("plans.json")?.unwrap_or_default();
    // What a server was told since it was first started is in its own store.
    let stored = site.servers.iter().filter_map(|server| stored(folder, &server.name));
    let mut before: Vec<Plan> = stored.collect();
    let is_new = |plan: &&Plan| before.iter().all(|known| known.server != plan.server);
    let first: Vec<Plan> = first.iter().filter(is_new).cloned().collect();
    before.extend(first);
    let last = before.iter().map(|plan| plan.generation).max().unwrap_or_default();
    let again = derive(site, codebases, last);
    let same = before.len() == again.len() && again.iter().all(|plan| before.contains(plan));
    Ok(if same { again } else { derive(site, codebases, Generation(last.0 + 1)) })
}

/// The plan that a server follows that is off. One that is on has its store to itself; then nothing is told of it.
fn stored(folder: &SiteFolder, server: &ServerName) -> Option<Plan> {
    let path = folder.server(server).join("store.redb");
    if !path.exists() {
        return None;
    }
    Embedded::open(&path).ok()?.plan().ok()?
}

fn secrets(site: &Site, declared_in: &Path, folder: &SiteFolder, known: Option<Secrets>) -> anyhow::Result<Secrets> {
    let mut random = File::open("/dev/urandom").context("/dev/urandom cannot be opened")?;
    let mut failed = Ok(());
    let fill = |buffer: &mut [u8]| {
        if let Err(error) = random.read_exact(buffer) {
            failed = Err(error);
        }
    };
    let mut secrets = Secrets::complete(known, site.apps.iter().map(|app| &app.name), fill);
    failed.context("/dev/urandom cannot be read")?;
    secrets.certificate = certificate::of(site, declared_in, secrets.certificate.as_ref())?;
    secrets.store = authority::store_access(site, declared_in)?;
    authority::complete(site, &mut secrets)?;
    folder.write("secrets.json", &secrets)?;
    Ok(secrets)
}
