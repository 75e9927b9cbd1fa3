//! Giving an order and waiting for what comes of it.

use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use mainstay_site::model::FORMAT;
use mainstay_site::wire::database::Wish;
use mainstay_site::wire::upkeep::{Agreed, Ask};
use serde::Serialize;

use super::ask::{Databases, Seen, agreed, lost};
use crate::render;

/// Until an order must have been carried out, or have ended with its time (`node::database::upkeep`).
const PATIENCE: Duration = Duration::from_secs(150);
/// Until somebody leads and is open, once the order is gone: a promotion has 30 s.
const LEADS: Duration = Duration::from_secs(40);
/// Nobody asks for the lead though an order said so: it is not going to happen.
const NOBODY: Duration = Duration::from_secs(3);
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
            let silent = seen.iter().any(|(one, view)| one.as_str() == name && view.is_err());
            let because = if silent { "cannot be reached" } else { member.because.as_str() };
            format!("\n  {name}: {because}")
        };
        agreed.members.iter().map(line).collect::<String>()
    };
    agreed(seen).map(members).unwrap_or_default()
}
