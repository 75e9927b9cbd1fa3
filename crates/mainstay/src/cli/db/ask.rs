//! Asking the database servers of a site, each through its supervisor.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, anyhow, bail, ensure};
use mainstay_node::control::Client;
use mainstay_site::model::Site;
use mainstay_site::names::{Role, ServerName};
use mainstay_site::votes::votes;
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
    /// Those of this site, which may have none.
    pub fn named(site: &str) -> anyhow::Result<Databases> {
        Databases::found(Of { site: Some(site.to_owned()) })
    }

    /// Those of the site that was named, or the only one.
    pub fn of(of: Of) -> anyhow::Result<Databases> {
        let found = Databases::found(of)?;
        ensure!(!found.servers.is_empty(), "{} has no database", found.running.site.domain);
        Ok(found)
    }

    fn found(of: Of) -> anyhow::Result<Databases> {
        let running = Which::named(of.site).running()?;
        let client = |name: &ServerName| Client::new(running.folder.server(name).join("control.sock"));
        let servers = running.site.with_role(Role::Database).map(|server| (server.name.clone(), client(&server.name)));
        Ok(Databases { servers: servers.collect(), running })
    }

    /// The one that makes the backups: the last of the file.
    pub fn keeper(&self) -> Option<&ServerName> {
        self.servers.last().map(|(name, _)| name)
    }

    /// The server of this name.
    ///
    /// # Errors
    /// There is none, and which there are.
    pub fn known(&self, server: &str) -> anyhow::Result<ServerName> {
        let known = self.servers.iter().find(|(name, _)| name.as_str() == server).map(|(name, _)| name.clone());
        let names = || self.servers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        known.with_context(|| format!("{server} is no database server; there are {}", names()))
    }

    /// Asks one.
    pub async fn ask(&self, server: &ServerName, ask: &Ask) -> anyhow::Result<Told> {
        let server = &self.known(server.as_str())?;
        let (_, client) = self.servers.iter().find(|(name, _)| name == server).context("it is known")?;
        client.ask_database(ask).await.map_err(|why| anyhow!("{server} cannot do it: {why}"))
    }

    /// Looks at all of them at once: one that does not answer costs its seconds once.
    pub async fn look(&self) -> Seen {
        let asked: Vec<_> =
            self.servers.iter().map(|(name, client)| (name.clone(), tokio::spawn(view(client.clone())))).collect();
        let mut seen = Vec::new();
        for (name, view) in asked {
            seen.push((name, view.await.unwrap_or_else(|ended| Err(ended.to_string()))));
        }
        seen
    }

    /// Gives an order to the first that takes it: they all write it into the same store.
    pub async fn order(&self, ask: &Ask) -> anyhow::Result<()> {
        let mut refusals = Vec::new();
        for (name, client) in &self.servers {
            match client.ask_database(ask).await {
                Ok(_) => return Ok(()),
                Err(error) => refusals.push((name, error.to_string())),
            }
        }
        match refusals.as_slice() {
            // They all look into the same store.
            [(_, first), others @ ..] if others.iter().all(|(_, other)| other == first) => bail!("{first}"),
            many => bail!("{}", many.iter().map(|(name, why)| format!("{name}: {why}")).collect::<Vec<_>>().join("\n")),
        }
    }
}

async fn view(client: Client) -> Result<View, String> {
    match client.ask_database(&Ask::View).await {
        Ok(Told::View(view)) => Ok(*view),
        Ok(_) => Err("it answers something else: it is of another version".into()),
        Err(error) => Err(error.to_string()),
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

/// Whether any of them said how it is.
pub fn answers(seen: &Seen) -> bool {
    seen.iter().any(|(_, view)| view.is_ok())
}

/// Why nothing can be ordered now: nobody answers, or the store has no majority. `None` if it answers.
pub fn lost(databases: &Databases, seen: &Seen) -> Option<anyhow::Error> {
    if !answers(seen) {
        let told = seen.iter().filter_map(|(name, view)| Some(format!("{name}: {}", view.as_ref().err()?)));
        return Some(anyhow!("no database server answers\n  {}", told.collect::<Vec<_>>().join("\n  ")));
    }
    let why = agreed(seen)?.unreachable.as_ref()?;
    Some(anyhow!("{}; {why}", without_votes(&databases.running.site)))
}

/// What it means that the store cannot be reached, and what helps.
pub fn without_votes(site: &Site) -> String {
    let votes: Vec<&str> = votes(site).iter().map(|server| server.name.as_str()).collect();
    let whom = match votes.as_slice() {
        [] => "the store that is declared".to_owned(),
        [one] => one.to_string(),
        many => format!("a majority of {}", many.join(", ")),
    };
    format!(
        "the store cannot be reached: writes end with the lease and reads go on until {whom} answers; nobody can be promoted, \
         not even by force: start those servers or mend their network"
    )
}

/// Who is the primary.
///
/// # Errors
/// Nobody is, and why.
pub fn leading(databases: &Databases, seen: &Seen) -> anyhow::Result<ServerName> {
    if let Some(lost) = lost(databases, seen) {
        return Err(lost);
    }
    primary(seen).context(
        "nobody is the primary now; `mainstay db status` shows why, and `mainstay db failover` promotes a replica",
    )
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
