//! One site that grows from one server to twelve while visitors come: four declarations, by the same commands as anybody's.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use mainstay_lab::scenario::{Door, Inside, Moment, Visit, Visitors, What};
use mainstay_node::control::Client;
use mainstay_site::model::Site;
use mainstay_site::secrets::Secrets;
use mainstay_site::wire::State;
use mainstay_site::wire::rollout::Progress;

use super::super::left;
use super::super::patience::{until, wait};
use super::super::site::guestbook;
use super::orders::carried_out;
use super::play::{Broke, Happened, Outcome, ROUND, every, judge};
use super::{Marks, declaration, ours};
use crate::cli::db::ask::{Databases, primary};
use crate::cli::site_folder::SiteFolder;
use crate::cli::up::runtime;

/// Visitors come for so long before and after each step.
const WARM: Duration = Duration::from_secs(2);
/// Until everything serves after a step: replicas are copied, servers that leave are switched off.
const SETTLES: Duration = Duration::from_secs(240);

/// Who is failed is counted. What is promised is that nothing that was posted is lost.
const MARKS: Marks = Marks { reads_fail: true, gap_max: None, order_max: None };
const STEPS: [&str; 3] = ["site-growth D0 → D1", "site-growth D1 → D2", "site-growth D2 → D3"];

/// The designs as they are in the repository, under another name and with the codebase beside them.
fn designs() -> [String; 4] {
    [
        ours(include_str!("../../../../../../designs/0-simple.toml")),
        ours(include_str!("../../../../../../designs/1-distributed.toml")),
        ours(include_str!("../../../../../../designs/2-secured.toml")),
        declaration(),
    ]
}

/// The site, brought up by `mainstay up` and taken down with this.
struct Grown {
    root: PathBuf,
    folder: SiteFolder,
    domain: String,
    door: Door,
    runtime: tokio::runtime::Runtime,
}

/// Plays it once: what became of each step.
pub fn play(rate: u32) -> anyhow::Result<Vec<(&'static str, Outcome)>> {
    let [first, later @ ..] = designs();
    let site = Grown::up(&first)?;
    let visitors = Visitors::crowd(site.door.clone(), every(rate), ROUND);
    let mut steps = Vec::new();
    let grown = later.iter().try_for_each(|design| {
        let from = visitors.now();
        wait(WARM);
        site.declare(design)?;
        let took = carried_out(&["apply", "--yes", "--wait", &site.file()])?;
        site.settle()?;
        wait(WARM);
        steps.push((from, visitors.now(), took));
        anyhow::Ok(())
    });
    // Whatever went wrong: the visitors go first.
    let visits = visitors.end()?;
    grown?;
    let there = site.posts()?;
    let outcome = |(name, (from, to, took)): (&'static str, (Duration, Duration, Duration))| {
        let within: Vec<Visit> = visits.iter().filter(|visit| visit.sent >= from && visit.sent < to).cloned().collect();
        let broke = Some(Broke::During(Moment { from: Duration::ZERO, to: Duration::MAX }));
        (name, judge(&within, &there, Happened { broke, orders: vec![took], wrong: Vec::new() }, &MARKS))
    };
    Ok(STEPS.into_iter().zip(steps).map(outcome).collect())
}

impl Grown {
    fn up(design: &str) -> anyhow::Result<Grown> {
        let number = std::process::id();
        let root = left::root("growth", number);
        let domain = format!("growth{number}.test");
        fs::create_dir_all(&root).with_context(|| format!("{} cannot be made", root.display()))?;
        guestbook::lay(&root.join("code"))?;
        let ports = free_ports()?;
        let site = Grown {
            folder: SiteFolder(root.join("state")),
            door: Door {
                namespace: String::new(),
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0])),
                host: format!("www.{domain}"),
            },
            root,
            domain,
            runtime: runtime()?,
        };
        site.declare(design)?;
        let [http, https, dns, page] = ports.map(|port| port.to_string());
        let state = site.folder.0.display().to_string();
        let file = site.file();
        let words = ["up", "--detach", "--state", &state, "--http", &http, "--https", &https, "--dns", &dns];
        // It stays behind with the streams that it was given: nobody waits for their end.
        let mut up = Command::new(std::env::current_exe()?);
        up.args(words).args(["--page", &page, &file]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ensure!(up.status()?.success(), "the simple design does not come up");
        site.settle()?;
        Ok(site)
    }

    fn file(&self) -> String {
        self.root.join("site.toml").display().to_string()
    }

    fn declare(&self, design: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.file(), design.replace("DOMAIN", &self.domain))?)
    }

    /// Waits until every server there is follows the same generation and serves.
    fn settle(&self) -> anyhow::Result<()> {
        until(SETTLES, || Ok(self.runtime.block_on(self.unsettled())))
    }

    async fn unsettled(&self) -> Option<String> {
        let Ok(Some(site)) = self.folder.read::<Site>("site.json") else { return Some("there is no site yet".into()) };
        if self.folder.common().join("leaving.json").exists() {
            return Some("servers that leave are not switched off yet".into());
        }
        for server in &site.servers {
            let client = Client::new(self.folder.server(&server.name).join("control.sock"));
            let (status, view) = match (client.status().await, client.rollout().await) {
                (Ok(status), Ok(view)) => (status, view),
                (Err(error), _) | (_, Err(error)) => return Some(format!("{}: {error}", server.name)),
            };
            if view.target != Some(status.generation) {
                return Some(format!("{} follows {} and not {:?}", server.name, status.generation, view.target));
            }
            if view.outcome.is_none_or(|outcome| outcome.state != Progress::Converged) {
                return Some(format!("{} does not know that all follow", server.name));
            }
            if let Some(service) = status.services.iter().find(|service| service.state != State::Serving) {
                return Some(format!("{} {}: {}", server.name, service.name, service.because));
            }
        }
        None
    }

    /// The numbers of all posts that the primary has.
    fn posts(&self) -> anyhow::Result<Vec<u64>> {
        let secrets: Secrets = self.folder.read("secrets.json")?.context("the site has no secrets")?;
        let databases = Databases::named(&self.domain)?;
        let primary = primary(&self.runtime.block_on(databases.look())).context("nobody is the primary database")?;
        let inside = Inside {
            socket: self.folder.server(&primary).join("run/database/mariadb.sock"),
            user: "mainstay_admin".to_owned(),
            password: secrets.database_admin,
            schema: "site".to_owned(),
        };
        let texts = self.runtime.block_on(inside.texts("SELECT text FROM site.messages"))?;
        Ok(texts.iter().filter_map(|text| What::number(text)).collect())
    }
}

impl Drop for Grown {
    fn drop(&mut self) {
        // What is left is named by `mainstay down` itself, or was never there.
        let _ = carried_out(&["down", "--purge", "--yes", &self.domain]);
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Four that nobody listens on now.
fn free_ports() -> anyhow::Result<[u16; 4]> {
    let held = [(); 4].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; 4];
    for (port, held) in ports.iter_mut().zip(&held) {
        *port = held.as_ref().map_err(|error| anyhow::anyhow!("no port is free: {error}"))?.local_addr()?.port();
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use mainstay_site::declaration::{Anywhere, parse};

    use super::*;
    use crate::cli::apply::refuse;

    #[test]
    fn each_design_may_follow_the_one_before() {
        let read = |text: &String| parse(&text.replace("DOMAIN", "a.test"), &Anywhere).unwrap();
        let sites: Vec<Site> = designs().iter().map(read).collect();
        for pair in sites.windows(2) {
            let mut then = pair[1].clone();
            then.continues(&pair[0]);
            refuse(&pair[0], &then).unwrap();
        }
    }
}
