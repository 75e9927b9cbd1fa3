//! Giving an order and waiting for what comes of it.

use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use mainstay_site::model::{Durability, FORMAT};
use mainstay_site::wire::database::{Receiving, Server, Wish};
use mainstay_site::wire::upkeep::{Agreed, Ask, View};
use serde::Serialize;

use super::ask::{Databases, Seen, agreed, lost};
use crate::render;

/// Until an order must have been carried out, or have ended with its time (`node::database::upkeep`).
const PATIENCE: Duration = Duration::from_secs(150);
/// Until somebody leads and is open, once the order is gone: a promotion has 30 s.
const LEADS: Duration = Duration::from_secs(40);
/// Nobody asks for the lead though an order said so: it is not going to happen.
const NOBODY: Duration = Duration::from_secs(3);
/// Until a replica reads the primary's log: one that has just handed over begins within a second.
const READS: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Who leads now, for programs.
#[derive(Serialize)]
pub struct Changed {
    format: u32,
    pub primary: String,
    pub epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

impl Changed {
    /// Prints it.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return render::print_json(self);
        }
        let was = self.before.as_ref().map(|before| format!(", {before} was")).unwrap_or_default();
        render::print(&format!("{} is the primary now and takes writes (epoch {}){was}\n", self.primary, self.epoch));
        Ok(())
    }
}

/// Gives the order and waits until it is gone from the store.
pub async fn carry_out(databases: &Databases, wish: Wish) -> anyhow::Result<Seen> {
    databases.order(&Ask::Order { wish }).await?;
    let start = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let seen = databases.look().await;
        if agreed(&seen).is_some_and(|agreed| agreed.unreachable.is_none() && agreed.order.is_none()) {
            return Ok(seen);
        }
        if start.elapsed() > PATIENCE {
            return Err(lost(databases, &seen).unwrap_or_else(|| {
                anyhow!("not done within {} s; `mainstay db status` shows what hinders it", PATIENCE.as_secs())
            }));
        }
    }
}

/// Has the primary's place handed over, to `to` or to whoever is furthest: once there is somebody who reads the primary's log, or
/// after a while all the same, since the primary says best why it does not hand over.
pub async fn switch_over(databases: &Databases, to: Option<Server>) -> anyhow::Result<Seen> {
    let declared = databases.running.site.database.as_ref().map(|it| it.durability).unwrap_or_default();
    let least = if declared == Durability::Async { Receiving::Silently } else { Receiving::Acknowledging };
    let start = Instant::now();
    while start.elapsed() < READS && !reads(&databases.look().await, to.as_ref(), least) {
        tokio::time::sleep(LOOK).await;
    }
    carry_out(databases, Wish::Switchover { to }).await
}

/// Whether there is a replica, the one that is meant if there is one, that reads the log of who is the primary now, as it must to
/// take its place: by its own record, and by what the primary sees.
fn reads(seen: &Seen, to: Option<&Server>, least: Receiving) -> bool {
    let Some((agreed, cluster)) = agreed(seen).and_then(|agreed| Some((agreed, agreed.cluster.as_ref()?))) else {
        return false;
    };
    let primary = seen.iter().find(|(name, _)| name.as_str() == cluster.primary.0).map(|(_, view)| view);
    let Some(Ok(primary)) = primary else { return false };
    let mut meant = primary.replicas.iter().filter(|name| to.is_none_or(|to| to.0 == name.as_str()));
    meant.any(|name| {
        let member = agreed.members.get(name.as_str());
        member.is_some_and(|member| member.epoch == cluster.epoch && member.receiving >= least)
    })
}

/// Waits until somebody leads who is recorded as the primary, and takes writes.
pub async fn led(databases: &Databases, before: Option<String>) -> anyhow::Result<Changed> {
    let start = Instant::now();
    loop {
        let seen = databases.look().await;
        if let Some((primary, epoch)) = open(&seen) {
            return Ok(Changed { format: FORMAT, primary, epoch, before });
        }
        let nobody = agreed(&seen).is_some_and(|agreed| agreed.unreachable.is_none() && agreed.leader.is_none());
        if start.elapsed() > if nobody { NOBODY } else { LEADS } {
            bail!("nobody is the primary{}", reasons(&seen));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Who is the primary by the store, and open by what it says itself. One that cannot be asked is believed the store's word.
fn open(seen: &Seen) -> Option<(String, u64)> {
    let agreed = agreed(seen)?;
    let cluster = agreed.cluster.as_ref().filter(|cluster| !cluster.designated)?;
    let (leader, epoch) = agreed.leader.as_ref()?;
    let is_recorded = cluster.primary == leader.server && cluster.epoch.0 == *epoch;
    let view = seen.iter().find(|(name, _)| name.as_str() == leader.server.0).map(|(_, view)| view);
    let closed = view
        .is_some_and(|view| view.as_ref().is_ok_and(|view| view.local.as_ref().is_none_or(|local| local.read_only)));
    (is_recorded && !closed).then(|| (leader.server.0.clone(), *epoch))
}

/// What each server says, a line each.
fn reasons(seen: &Seen) -> String {
    let members = |agreed: &Agreed| {
        let line = |(name, member): (&String, &mainstay_site::wire::database::Member)| {
            let view = seen.iter().find(|(one, _)| one.as_str() == name).map(|(_, view)| view.as_ref());
            let lost = |view: &View| view.store.as_ref().is_some_and(|store| store.unreachable.is_some());
            let because = match view {
                Some(Err(_)) => "cannot be reached",
                // What it said there last is no longer so.
                Some(Ok(view)) if lost(view) => "is cut off from the store",
                _ => member.because.as_str(),
            };
            format!("\n  {name}: {because}")
        };
        agreed.members.iter().map(line).collect::<String>()
    };
    agreed(seen).map(members).unwrap_or_default()
}
