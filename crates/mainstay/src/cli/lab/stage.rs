//! The site that scenarios play on: one application server, three database servers, brought up once and used again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use mainstay_lab::scenario::{Inside, Target, processes};
use mainstay_lab::{Lab, Mode, Options, Place, Wires};
use mainstay_node::control::Client;
use mainstay_site::model::Site;
use mainstay_site::names::{Role, ServerName};
use mainstay_site::plan::{Config, Plan};
use mainstay_site::secrets::Secrets;
use mainstay_site::wire::ServiceStatus;
use rustix::process::Signal;

use super::ground::{Ground, Laid};
use super::left;
use super::patience::until;
use crate::cli::db::ask::{Databases, Seen, agreed};
use crate::cli::declaration::File;
use crate::cli::site_folder::SiteFolder;
use crate::cli::up::{Prepared, boot, prepare_all, runtime, say};

/// What a cold start of four servers may take.
const START: Duration = Duration::from_secs(120);

/// The declaration; three votes, so that one server may go.
const DECLARATION: &str = r#"
format = 1
[site]
domain = "DOMAIN"
[app]
path = "code"
kind = "http"
command = "exec python3 -m http.server --bind $HOST $PORT"
[database]
failover = "automatic"
durability = "semi-sync"
[servers.app1]
address = "10.80.0.11"
roles = ["web", "app"]
[servers.db1]
address = "10.80.0.21"
roles = ["database"]
[servers.db2]
address = "10.80.0.22"
roles = ["database"]
[servers.db3]
address = "10.80.0.23"
roles = ["database"]
"#;

/// A site that is up.
pub struct Stage {
    /// `None` only while it is taken down.
    lab: Option<Lab>,
    pub site: Site,
    plans: Vec<Plan>,
    secrets: Secrets,
    pub folder: SiteFolder,
    pub root: PathBuf,
    /// What it was brought up with.
    pub prepared: Prepared,
    pub databases: Databases,
    pub runtime: tokio::runtime::Runtime,
    pub ground: Ground,
    pub laid: Laid,
}

impl Stage {
    /// Brings it up, in a folder and under a domain of its own.
    pub fn on(ground: Ground) -> anyhow::Result<Stage> {
        let lay = |code: &Path| {
            fs::create_dir_all(code)?;
            fs::write(code.join("index.html"), "a scenario is being played\n")
        };
        let mut stage = Stage::made("scenario", DECLARATION, lay, ground)?;
        if ground == Ground::FakedClocks {
            let folder = stage.root.join("clocks");
            stage.give_clocks(&folder)?;
        }
        Ok(stage)
    }

    /// Brings up the site that is declared, whose codebase `lay` puts into a folder. `DOMAIN` stands for its domain, which
    /// begins with `name`.
    pub fn of(name: &str, declared: &str, lay: impl FnOnce(&Path) -> std::io::Result<()>) -> anyhow::Result<Stage> {
        Stage::made(name, declared, lay, Ground::Plain)
    }

    fn made(
        name: &str,
        declared: &str,
        lay: impl FnOnce(&Path) -> std::io::Result<()>,
        ground: Ground,
    ) -> anyhow::Result<Stage> {
        let number = std::process::id();
        let root = left::root(name, number);
        fs::create_dir_all(&root).with_context(|| format!("{} cannot be made", root.display()))?;
        lay(&root.join("code")).with_context(|| format!("{} cannot be made", root.join("code").display()))?;
        let file = File { file: root.join("site.toml") };
        fs::write(&file.file, declared.replace("DOMAIN", &format!("{name}{number}.test")))?;
        let declaration = file.load()?;
        let site = declaration.site.clone();
        let folder = SiteFolder(root.join("state"));
        let prepared = prepare_all(&declaration, &site, &folder)?;
        let plans = prepared.plans.clone();
        let secrets: Secrets = folder.read("secrets.json")?.context("the site has no secrets")?;
        let place = Place::usual(&site.domain);
        let held = place.hold()?.context("this site is up already")?;
        let options = Options { mode: Mode::Namespaces, place, state: folder.0.clone(), published: Vec::new() };
        let databases = site.with_role(Role::Database).map(|server| (server.name.clone(), folder.server(&server.name)));
        let laid = Laid::under(ground, &databases.collect::<Vec<_>>())?;
        let program = std::env::current_exe().context("this program's own file cannot be found")?;
        let mut lab = Lab::start(&site, options, held)?;
        for server in &site.servers {
            lab.power_on(&server.name, boot(&program, Mode::Namespaces, &folder, &server.name))?;
        }
        let databases = Databases::named(site.domain.as_str())?;
        let stage = Stage {
            lab: Some(lab),
            site,
            plans,
            secrets,
            folder,
            root,
            prepared,
            databases,
            runtime: runtime()?,
            ground,
            laid,
        };
        stage.settle(START).context("the site does not come up")?;
        Ok(stage)
    }

    pub fn lab(&mut self) -> anyhow::Result<&mut Lab> {
        self.lab.as_mut().context("the lab is down")
    }

    pub fn wires(&self) -> anyhow::Result<&Wires> {
        let lab = self.lab.as_ref().context("the lab is down")?;
        lab.record().wires.as_ref().context("the lab has no wires")
    }

    /// The network namespace of whoever comes from outside.
    pub fn internet(&self) -> anyhow::Result<String> {
        let lab = self.lab.as_ref().context("the lab is down")?;
        Ok(lab.internet().context("the lab has no namespaces")?.to_owned())
    }

    /// The supervisor of a server.
    pub fn control(&self, server: &ServerName) -> Client {
        Client::new(self.folder.server(server).join("control.sock"))
    }

    /// The database servers, in the order of the file.
    pub fn servers(&self) -> Vec<ServerName> {
        self.site.with_role(Role::Database).map(|server| server.name.clone()).collect()
    }

    /// The network namespace of a server.
    pub fn namespace(&self, server: &ServerName) -> anyhow::Result<String> {
        let wires = self.wires()?;
        let end = wires.ends.iter().find(|end| end.server.as_ref() == Some(server));
        Ok(end.with_context(|| format!("the lab has no server called {server}"))?.namespace.clone())
    }

    /// Where clients are let in by a server's MariaDB.
    pub fn client_port(&self, server: &ServerName) -> anyhow::Result<u16> {
        let plan = self.plans.iter().find(|plan| plan.server == *server).context("it has no plan")?;
        let port = plan.services.iter().find_map(|service| match &service.config {
            Config::Database(database) => Some(database.address.port()),
            _ => None,
        });
        port.with_context(|| format!("{server} is no database server"))
    }

    /// Where the store's members are asked, by clients and by each other.
    pub fn store_ports(&self) -> [u16; 2] {
        [self.site.ports.store_client, self.site.ports.store_peer]
    }

    /// The member that leads the store, as it says itself.
    pub fn store_leader(&self) -> anyhow::Result<Option<ServerName>> {
        for server in &self.site.servers {
            let Ok(status) = self.runtime.block_on(self.control(&server.name).status()) else { continue };
            let leads = |service: &ServiceStatus| {
                let report = service.report.as_ref();
                report.is_some_and(|report| report.facts.contains(&("leader".to_owned(), "leads".to_owned())))
            };
            if status.services.iter().any(leads) {
                return Ok(Some(server.name.clone()));
            }
        }
        Ok(None)
    }

    /// Where clients find the database.
    pub fn target(&self) -> anyhow::Result<Target> {
        let app = self.site.with_role(Role::App).next().context("there is no application server")?;
        let plan = self.plans.iter().find(|plan| plan.server == app.name).context("it has no plan")?;
        let database = plan.services.iter().find_map(|service| match &service.config {
            Config::App(app) => Some((app.app.clone(), app.database.clone()?)),
            _ => None,
        });
        let (name, database) = database.context("the application has no database")?;
        let listener = |plan: &Plan| {
            plan.services.iter().find_map(|service| match &service.config {
                Config::Database(database) => Some((plan.server.to_string(), database.address)),
                _ => None,
            })
        };
        Ok(Target {
            namespace: self.namespace(&app.name)?,
            writer: database.writer,
            reader: database.reader,
            servers: self.plans.iter().filter_map(listener).collect(),
            password: self.secrets.database.get(&name).context("the application has no password")?.clone(),
            name: database.schema,
        })
    }

    /// A server's MariaDB, asked from inside.
    pub fn inside(&self, server: &ServerName, schema: &str) -> Inside {
        Inside {
            socket: self.folder.server(server).join("run/database/mariadb.sock"),
            user: "mainstay_admin".to_owned(),
            password: self.secrets.database_admin.clone(),
            schema: schema.to_owned(),
        }
    }

    /// Who is the primary on record.
    pub fn primary(&self) -> anyhow::Result<ServerName> {
        let seen = self.runtime.block_on(self.databases.look());
        let agreed = agreed(&seen).context("no server reaches the store")?;
        let cluster = agreed.cluster.as_ref().context("nobody ever led")?;
        Ok(ServerName::from(&cluster.primary))
    }

    /// Waits until there is a primary that takes writes, and every other one acknowledges.
    pub fn settle(&self, patience: Duration) -> anyhow::Result<()> {
        if self.servers().is_empty() {
            return Ok(());
        }
        until(patience, || Ok(unsettled(&self.runtime.block_on(self.databases.look()))))
    }

    /// Signals every process of a server whose command line has these words; one at least.
    pub fn signal(&self, server: &ServerName, words: &[&str], signal: Signal) -> anyhow::Result<()> {
        let found = processes(&self.namespace(server)?, words);
        ensure!(!found.is_empty(), "{server} runs no {}", words.join(" "));
        found.iter().for_each(|process| process.signal(signal));
        Ok(())
    }
}

/// What is not yet as it should be.
fn unsettled(seen: &Seen) -> Option<String> {
    let Some(agreed) = agreed(seen) else { return Some("no server reaches the store".into()) };
    let Some(cluster) = &agreed.cluster else { return Some("nobody has ever led".into()) };
    if agreed
        .leader
        .as_ref()
        .is_none_or(|(leader, epoch)| leader.server != cluster.primary || *epoch != cluster.epoch.0)
    {
        return Some(format!("{} is on record and does not lead", cluster.primary));
    }
    if cluster.sync.len() + 1 != seen.len() {
        let told = agreed.members.iter().map(|(name, member)| format!("{name}: {}", member.because));
        return Some(format!("only {:?} acknowledge; {}", cluster.sync, told.collect::<Vec<_>>().join("; ")));
    }
    seen.iter().find_map(|(name, view)| match view {
        Err(why) => Some(format!("{name} does not answer: {why}")),
        Ok(view) => match &view.local {
            None => Some(format!("{name} does not run")),
            Some(local) if local.read_only == (cluster.primary.0 == name.0) => {
                Some(format!("{name} is {}", if local.read_only { "closed" } else { "open" }))
            }
            Some(_) => None,
        },
    })
}

impl Stage {
    /// Copies the logs of every server, as they are now, to where they outlive the stage: for who looks into what went wrong.
    pub fn keep_logs(&self) {
        let kept = self.root.with_extension("logs");
        let copied = self.site.servers.iter().try_for_each(|server| {
            let to = kept.join(server.name.as_str());
            fs::create_dir_all(&to)?;
            fs::read_dir(self.folder.server(&server.name).join("log"))?.try_for_each(|log| {
                let log = log?;
                fs::copy(log.path(), to.join(log.file_name())).map(drop)
            })
        });
        match copied {
            Ok(()) => say(&format!("  the logs are kept in {}", kept.display())),
            Err(error) => say(&format!("  the logs cannot be kept in {}: {error}", kept.display())),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.lab.take());
        // What is mounted below the folder goes before it, or the next stage finds what this one left.
        self.laid = Laid::default();
        // What is left below /tmp and /run is only in the way of nobody.
        let _ = fs::remove_dir_all(&self.root);
        let _ = fs::remove_dir_all(Place::usual(&self.site.domain).folder());
    }
}
