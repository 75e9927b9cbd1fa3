//! A site that changes while it is up: servers that come are switched on, those that have left are switched off, and what is
//! published leads to whoever serves. What the servers do themselves is theirs; this is what the machine owes them.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use mainstay_lab::Lab;
use mainstay_node::control::Client;
use mainstay_node::page::{Observer, Overview, Page};
use mainstay_site::findings::findings;
use mainstay_site::model::{FORMAT, Site};
use mainstay_site::names::{Generation, Role, ServerName};
use mainstay_site::plan::{Plan, derive};
use mainstay_site::wire::State;
use mainstay_site::wire::rollout::{Proposal, Record};
use serde::{Deserialize, Serialize};

use super::addresses::Door;
use super::live::boot;
use super::prepare::Prepared;
use super::{Up, say};
use crate::cli::site_folder::SiteFolder;

/// Where servers are noted that leave the site: `.site/leaving.json`.
const LEAVING: &str = "leaving.json";

/// Servers that are to be switched off once the others follow a generation without them.
#[derive(Serialize, Deserialize)]
pub struct Leaving {
    pub generation: Generation,
    pub servers: Vec<ServerName>,
}

impl Leaving {
    /// Those that are noted; nobody, if nobody leaves.
    pub fn noted(folder: &SiteFolder) -> anyhow::Result<Leaving> {
        let none = || Leaving { generation: Generation(0), servers: Vec::new() };
        Ok(folder.read(LEAVING)?.unwrap_or_else(none))
    }

    /// Has the living `up` see to it, beside what was noted before.
    pub fn note(mut self, folder: &SiteFolder) -> anyhow::Result<()> {
        let before = Leaving::noted(folder)?.servers;
        self.servers.extend(before);
        self.servers.sort();
        self.servers.dedup();
        folder.write(LEAVING, &self)
    }

    fn has(&self, name: &ServerName) -> bool {
        self.servers.contains(name)
    }
}

/// The status page, as long as the site is as it shows it.
pub struct Hosted {
    page: Page,
    listener: TcpListener,
    serving: tokio::task::JoinHandle<()>,
}

impl Hosted {
    pub fn begin(page: Page, listener: TcpListener) -> anyhow::Result<Hosted> {
        let serving = serve(&page, &listener)?;
        Ok(Hosted { page, listener, serving })
    }

    fn show(&mut self, site: &Arc<Site>) -> anyhow::Result<()> {
        self.page.site = Arc::clone(site);
        self.page.findings = findings(site).into();
        self.serving.abort();
        self.serving = serve(&self.page, &self.listener)?;
        Ok(())
    }
}

fn serve(page: &Page, listener: &TcpListener) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let (page, listener) = (page.clone(), listener.try_clone().context("the status page has no listener")?);
    Ok(tokio::spawn(async move {
        if let Err(error) = page.serve(listener).await {
            say(&format!("the status page is gone: {error}"));
        }
    }))
}

/// Writes the generation with which a site was brought up into the books of `servers`; whether it is in all of them.
pub async fn book_first(
    folder: &SiteFolder,
    site: &Site,
    prepared: &Prepared,
    what: &str,
    servers: impl Iterator<Item = &ServerName>,
) -> bool {
    let generation = prepared.plans.iter().map(|plan| plan.generation).max().unwrap_or_default();
    let record = Record {
        format: FORMAT,
        generation,
        at_ms: mainstay_node::clock::unix_ms(),
        what: what.to_owned(),
        site: site.clone(),
        codebases: prepared.codebases.clone(),
        before: None,
        retreats: false,
    };
    let mut missing = false;
    for server in servers {
        let client = Client::new(folder.server(server).join("control.sock"));
        let Ok(view) = client.rollout().await else {
            missing = true;
            continue;
        };
        if view.unreachable.is_some() {
            missing = true;
        } else if view.target.is_none_or(|target| target < generation) {
            let record = Record { before: view.target, ..record.clone() };
            missing |= client.propose(&Proposal { record, plans: prepared.plans.clone() }).await.is_err();
        }
    }
    !missing
}

/// See the module.
pub struct Growth<'u> {
    up: &'u Up,
    site: Arc<Site>,
    doors: Vec<Door>,
    page: Hosted,
    noted: Option<SystemTime>,
    /// What it was brought up with, until it is in the servers' books.
    begun: Option<(Prepared, String)>,
}

impl<'u> Growth<'u> {
    pub fn new(up: &'u Up, site: Arc<Site>, doors: Vec<Door>, page: Hosted, begun: Prepared, what: String) -> Self {
        let mut growth = Growth { up, site, doors, page, noted: None, begun: Some((begun, what)) };
        growth.noted = growth.stamp();
        growth
    }

    fn stamp(&self) -> Option<SystemTime> {
        std::fs::metadata(self.path()).and_then(|file| file.modified()).ok()
    }

    fn path(&self) -> PathBuf {
        self.up.folder.common().join("site.json")
    }

    /// Looks whether anything is asked of the machine.
    pub async fn look(&mut self, lab: &mut Lab, observer: &mut Observer, seen: &Overview) -> anyhow::Result<()> {
        self.record(seen).await;
        let stamp = self.stamp();
        if stamp != self.noted {
            let site: Site = self.up.folder.read("site.json")?.context("site.json is gone")?;
            self.become_site(site, lab, observer)?;
            self.noted = stamp;
        }
        self.let_go(lab, observer, seen).await?;
        self.lead(seen);
        Ok(())
    }

    fn become_site(&mut self, site: Site, lab: &mut Lab, observer: &mut Observer) -> anyhow::Result<()> {
        lab.extend(&site)?;
        let known = |name: &ServerName| self.site.server(name).is_some();
        for server in site.servers.iter().map(|server| &server.name).filter(|name| !known(name)) {
            if !lab.is_on(server) {
                lab.power_on(server, boot(&self.up.program, self.up.mode, &self.up.folder, server))?;
                say(&format!("{server} is switched on"));
            }
        }
        self.site = Arc::new(site);
        *observer = Observer::new(Arc::clone(&self.site), self.up.folder.watched(&self.site));
        self.page.show(&self.site)
    }

    /// Writes the generation with which the site was brought up into the servers' books, once they are open.
    async fn record(&mut self, seen: &Overview) {
        let Some((prepared, what)) = self.begun.take() else { return };
        let servers = seen.servers.iter().map(|sight| &sight.server);
        if !book_first(&self.up.folder, &self.site, &prepared, &what, servers).await {
            self.begun = Some((prepared, what));
        }
    }

    /// Switches off who has left, once everybody else follows what comes without them.
    async fn let_go(&mut self, lab: &mut Lab, observer: &mut Observer, seen: &Overview) -> anyhow::Result<()> {
        let leaving = Leaving::noted(&self.up.folder)?;
        if leaving.servers.is_empty() {
            return Ok(());
        }
        let stays = |name: &ServerName| !leaving.has(name);
        let follows = seen.servers.iter().filter(|sight| stays(&sight.server)).all(|sight| {
            let there = sight.status.as_ref().is_some_and(|status| status.generation >= leaving.generation);
            there && matches!(sight.state, State::Serving | State::Degraded)
        });
        if !follows {
            return Ok(());
        }
        for name in &leaving.servers {
            // Who does not answer has ended, or is cut off for good by the next line but one.
            let _ = Client::new(self.up.folder.server(name).join("control.sock")).stop().await;
            if lab.is_on(name) {
                return Ok(());
            }
            if lab.record().servers.iter().any(|known| known.name == *name) {
                lab.retire(name)?;
                say(&format!("{name} has left the site and is switched off; its data stays"));
            }
        }
        if Leaving::noted(&self.up.folder)?.servers != leaving.servers {
            // More have to go: the next look sees to it.
            return Ok(());
        }
        // As it is now: `apply` may have written meanwhile.
        let mut site: Site = self.up.folder.read("site.json")?.context("site.json is gone")?;
        site.servers.retain(|server| stays(&server.name));
        self.up.folder.write("site.json", &site)?;
        std::fs::remove_file(self.up.folder.common().join(LEAVING)).context("leaving.json cannot be removed")?;
        self.noted = self.stamp();
        self.become_site(site, lab, observer)
    }

    /// Leads visitors to the servers that serve as the site is now, and not to who leaves: the others' filters cut it off before
    /// it is switched off.
    fn lead(&self, seen: &Overview) {
        let leaving = Leaving::noted(&self.up.folder).ok();
        let leaves = |name: &ServerName| leaving.as_ref().is_some_and(|leaving| leaving.has(name));
        // Addresses alone are read from these; no release changes them.
        let plans: Vec<Plan> =
            derive(&self.site, &[], Generation(0)).into_iter().filter(|plan| !leaves(&plan.server)).collect();
        let serves = |server: &ServerName, role: Role| {
            let sight = seen.servers.iter().find(|sight| sight.server == *server);
            let services = sight.iter().filter_map(|sight| sight.status.as_ref()).flat_map(|status| &status.services);
            let mut of = services.filter(|service| service.role == role);
            of.any(|service| matches!(service.state, State::Serving | State::Degraded))
        };
        self.doors.iter().for_each(|door| door.follow(&self.site, &plans, &serves));
    }
}
