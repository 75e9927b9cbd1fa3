//! `mainstay apply`: another declaration for a site that runs.

mod difference;
mod disk;
pub mod enact;
pub mod fleet;
mod ready;

use std::process::ExitCode;

use anyhow::ensure;
use mainstay_node::release::identify;
use mainstay_site::model::{Codebase, Server, Site};
use mainstay_site::names::Role;
use mainstay_site::votes::votes;

use super::declaration::{Declaration, File};
use super::running::{Running, Which};
use super::up::runtime;
use enact::{Change, How};
use fleet::Fleet;

/// Have a running site follow a changed declaration, server by server, while it serves
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::APPLY)]
pub struct Args {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    how: How,
}

/// Shows the difference, asks, and has the servers follow.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let declaration = args.file.load()?;
    let running = Which::named(Some(declaration.site.domain.to_string())).running()?;
    let what = args.file.file.display().to_string();
    apply(&declaration, running, &what, &args.how)
}

/// The same for a declaration that was read already.
pub fn apply(declaration: &Declaration, running: Running, what: &str, how: &How) -> anyhow::Result<ExitCode> {
    let site = as_it_runs(&declaration.site, &running);
    let codebases = codebases(declaration)?;
    let fleet = Fleet::of(running, &site);
    runtime()?.block_on(async {
        let now = fleet.now().await?;
        let codebases: Vec<Codebase> = codebases.into_iter().map(|it| it.after(&now.codebases)).collect();
        let released = now.codebases != codebases;
        let change = Change {
            // A release that does not work is gone back from by itself; another edit is for whoever made it to decide on.
            retreats: released && now.site == site,
            site,
            codebases,
            what: what.to_owned(),
            source: Some(declaration),
        };
        enact::enact(&fleet, &now, change, how).await
    })
}

/// The declared site as this machine runs it, with what operators have done to it.
fn as_it_runs(declared: &Site, running: &Running) -> Site {
    let loopback = running.record.mode == mainstay_lab::Mode::Loopback;
    let mut site = if loopback { declared.on_loopback() } else { declared.clone() };
    site.ports.published = running.site.ports.published;
    site.continues(&running.site);
    site
}

/// The releases that the codebases make, without building them.
fn codebases(declaration: &Declaration) -> anyhow::Result<Vec<Codebase>> {
    let one =
        |app: &mainstay_site::model::App| Ok(Codebase::new(&app.name, &identify(&declaration.folder.join(&app.path))?));
    declaration.site.apps.iter().map(one).collect()
}

/// What this version cannot do to a running site.
pub fn refuse(before: &Site, after: &Site) -> anyhow::Result<()> {
    let votes = |site: &Site| !votes(site).is_empty();
    ensure!(
        !votes(before) || votes(after) || after.store.is_some(),
        "the servers agree by a store of their own, and the new declaration has too few databases for one: shrinking to one \
         database is not done while the site runs; `mainstay down`, then `mainstay up`"
    );
    ensure!(
        before.store == after.store,
        "[store] cannot be changed while the site runs: `mainstay down`, then `mainstay up`"
    );
    for server in &after.servers {
        let moved = before.server(&server.name).filter(|known| known.address != server.address);
        ensure!(
            moved.is_none(),
            "{} has another address: give the new address to a server of another name and take this one out",
            server.name
        );
    }
    let has_data = |server: &&Server| server.has(Role::Database);
    let (databases, then) = (before.servers.iter().filter(has_data), after.servers.iter().filter(has_data));
    let stays = |server: &Server| after.server(&server.name).is_some_and(|it| it.has(Role::Database));
    ensure!(
        databases.clone().next().is_none() || then.count() == 0 || databases.clone().any(stays) || votes(after),
        "none of the database servers stays, and without a store of the servers' own nobody could hand the data over: apply a \
         declaration that has old and new ones first"
    );
    Ok(())
}
