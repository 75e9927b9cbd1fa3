//! Asking the database servers of a site, each through its supervisor.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail, ensure};
use mainstay_node::control::Client;
use mainstay_site::names::{Role, ServerName};
use mainstay_site::wire::upkeep::{Ask, Told, View};

use super::Of;
use crate::cli::running::{Running, Which};

/// The database servers of a site that is up.
pub struct Databases {
    pub running: Running,
    servers: Vec<(ServerName, Client)>,
}

/// What each was seen to be, or why it was not seen.
pub type Seen = Vec<(ServerName, Result<View, String>)>;

impl Databases {
    /// Those of this site.
    pub fn named(site: &str) -> anyhow::Result<Databases> {
        Databases::of(Of { site: Some(site.to_owned()) })
    }

    /// Those of the site that was named, or the only one.
    pub fn of(of: Of) -> anyhow::Result<Databases> {
        let running = Which::named(of.site).running()?;
        let client = |name: &ServerName| Client::new(running.folder.server(name).join("control.sock"));
        let servers = running.site.with_role(Role::Database).map(|server| (server.name.clone(), client(&server.name)));
        let servers: Vec<_> = servers.collect();
        ensure!(!servers.is_empty(), "{} has no database", running.site.domain);
        Ok(Databases { servers, running })
    }

    /// The one that makes the backups: the last of the file.
    pub fn keeper(&self) -> Option<&ServerName> {
        self.servers.last().map(|(name, _)| name)
    }

    /// Asks one.
    pub async fn ask(&self, server: &ServerName, ask: &Ask) -> anyhow::Result<Told> {
        let known = self.servers.iter().find(|(name, _)| name == server);
        let names = || self.servers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let (_, client) = known.with_context(|| format!("{server} is no database server; there are {}", names()))?;
        client.ask_database(ask).await.with_context(|| format!("{server} cannot do it"))
    }

    /// Looks at all of them.
    pub async fn look(&self) -> Seen {
        let mut seen = Vec::new();
        for (name, client) in &self.servers {
            let view = match client.ask_database(&Ask::View).await {
                Ok(Told::View(view)) => Ok(*view),
                Ok(_) => Err("it answers something else: it is of another version".into()),
                Err(error) => Err(error.to_string()),
            };
            seen.push((name.clone(), view));
        }
        seen
    }

    /// Gives an order to the first that takes it: they all write it into the same store.
    pub async fn order(&self, ask: &Ask) -> anyhow::Result<()> {
        let mut last = None;
        for (name, client) in &self.servers {
            match client.ask_database(ask).await {
                Ok(_) => return Ok(()),
                Err(error) => last = Some((name, error)),
            }
        }
        match last {
            Some((name, error)) => Err(error).with_context(|| format!("{name} cannot take the order")),
            None => bail!("there is no database server"),
        }
    }
}

/// What the servers agree on, as the first says it that reaches the store.
pub fn agreed(seen: &Seen) -> Option<&mainstay_site::wire::upkeep::Agreed> {
    let stores = || seen.iter().filter_map(|(_, view)| view.as_ref().ok()?.store.as_ref());
    stores().find(|agreed| agreed.unreachable.is_none()).or_else(|| stores().next())
}

/// Who is the primary: by the store, or else by the plan.
pub fn primary(seen: &Seen) -> Option<ServerName> {
    match agreed(seen) {
        Some(agreed) => agreed.leader.as_ref().map(|(leader, _)| ServerName::from(&leader.server)),
        None => seen.iter().find_map(|(_, view)| Some(view.as_ref().ok()?.declared_primary.clone())),
    }
}

/// Asks whoever sits at the terminal; without one, `--yes` must have been said.
pub fn confirm(what: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    ensure!(io::stdin().is_terminal(), "{what}\nnobody is here to say yes: say --yes");
    write!(io::stderr(), "{what}\nGo on? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    ensure!(answer.trim().eq_ignore_ascii_case("y"), "nothing was done");
    Ok(())
}
