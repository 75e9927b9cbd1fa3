//! Waits until who is new is well enough for who leaves to leave, and hands the primary database's place over.

use std::time::{Duration, Instant};

use anyhow::ensure;
use mainstay_site::bridge::TIERS;
use mainstay_site::model::{Server, Site};
use mainstay_site::names::{Role, ServerName};
use mainstay_site::wire::State;

use super::fleet::Fleet;
use crate::cli::db::ask::{Databases, agreed, primary};
use crate::cli::db::order;
use crate::cli::up::say;

/// Until everybody who is new is well: a database of some gigabytes is copied.
const READY: Duration = Duration::from_secs(1800);
/// Until one of each tier that loses others is well, which it is unless something is broken.
const CAN_GO: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);
/// Between two words on what is waited for.
const WORD: Duration = Duration::from_secs(5);

/// Waits until everybody who is wanted is well, and hands the primary database's place over.
pub async fn ready(fleet: &Fleet, wanted: &Site) -> anyhow::Result<()> {
    all_well(fleet, wanted).await?;
    hand_over(fleet, wanted).await?;
    // A new primary lets its replicas in anew.
    all_well(fleet, wanted).await
}

async fn all_well(fleet: &Fleet, wanted: &Site) -> anyhow::Result<()> {
    wait_for(READY, async || {
        for server in &wanted.servers {
            if let Some(missing) = unwell(fleet, server).await? {
                return Ok(Some(missing));
            }
        }
        let (heirs, able) = (databases(wanted), able(wanted).await?);
        Ok(able.and_then(|able| heirs.into_iter().find(|name| !able.contains(name))).map(|name| lacks(&name)))
    })
    .await
}

/// The same where servers only leave: of each tier that loses some, one that stays must be well. Who applies again what was cut
/// short on its way comes by here.
pub async fn can_go(fleet: &Fleet, now: &Site, wanted: &Site) -> anyhow::Result<()> {
    let loses = |role: &Role| {
        now.with_role(*role).any(|server| wanted.server(&server.name).is_none_or(|then| !then.has(*role)))
            && wanted.with_role(*role).next().is_some()
    };
    let shrinking: Vec<Role> = TIERS.into_iter().filter(loses).collect();
    if shrinking.is_empty() {
        return Ok(());
    }
    wait_for(CAN_GO, async || {
        for role in shrinking.iter().filter(|role| **role != Role::Database) {
            let mut missing = None;
            for server in wanted.with_role(*role).filter(|server| now.server(&server.name).is_some()) {
                missing = unwell(fleet, server).await?;
                if missing.is_none() {
                    break;
                }
            }
            if missing.is_some() {
                return Ok(missing);
            }
        }
        let (heirs, able) = (databases(wanted), able(now).await?);
        let nobody = able.is_some_and(|able| !heirs.iter().any(|name| able.contains(name)));
        Ok((shrinking.contains(&Role::Database) && nobody)
            .then(|| "a database server that stays to have all the data".into()))
    })
    .await?;
    if shrinking.contains(&Role::Database) { hand_over(fleet, wanted).await } else { Ok(()) }
}

async fn wait_for(
    patience: Duration,
    mut missing: impl AsyncFnMut() -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    let (begun, mut word) = (Instant::now(), Instant::now());
    while let Some(missing) = missing().await? {
        ensure!(
            begun.elapsed() < patience,
            "not ready after {} s: {missing}; all servers go on as they are, and applying again goes on from here",
            patience.as_secs()
        );
        if word.elapsed() > WORD {
            say(&format!("  waits for {missing}"));
            word = Instant::now();
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// What is amiss with a server.
async fn unwell(fleet: &Fleet, server: &Server) -> anyhow::Result<Option<String>> {
    let status = match fleet.client(&server.name)?.status().await {
        Ok(status) => status,
        Err(error) => return Ok(Some(format!("{}: {error}", server.name))),
    };
    let well = |state| matches!(state, State::Serving | State::Degraded);
    let unwell = status.services.iter().find(|service| !well(service.state));
    Ok(unwell.map(|service| format!("{} {}: {}", server.name, service.name, service.because)))
}

fn databases(site: &Site) -> Vec<ServerName> {
    site.with_role(Role::Database).map(|server| server.name.clone()).collect()
}

fn lacks(name: &ServerName) -> String {
    format!("{name} to have all the data")
}

/// The databases that may lead, being sure to have everything; `None` where nothing is agreed on.
async fn able(site: &Site) -> anyhow::Result<Option<Vec<ServerName>>> {
    let seen = Databases::named(site.domain.as_str())?.look().await;
    let cluster = agreed(&seen).and_then(|agreed| agreed.cluster.as_ref());
    Ok(cluster.map(|cluster| {
        let sync = cluster.sync.iter().map(|replica| ServerName::from(replica.0.as_str()));
        sync.chain([ServerName::from(cluster.primary.0.as_str())]).collect()
    }))
}

/// The primary's place to one that stays, if it is not one of them.
async fn hand_over(fleet: &Fleet, wanted: &Site) -> anyhow::Result<()> {
    let stay = databases(wanted);
    let able = able(wanted).await?.unwrap_or_default();
    let databases = Databases::named(fleet.running.site.domain.as_str())?;
    let leads = primary(&databases.look().await);
    let Some(heir) = stay.iter().find(|name| able.contains(name)) else { return Ok(()) };
    if leads.is_some_and(|leads| stay.contains(&leads)) {
        return Ok(());
    }
    order::switch_over(&databases, Some(heir.as_str().into())).await?;
    let leads = order::led(&databases, None).await?.primary;
    ensure!(
        stay.iter().any(|name| name.as_str() == leads),
        "{leads} is still the primary database and is to go; `mainstay db status` says why"
    );
    say(&format!("  {leads} is the primary database now"));
    Ok(())
}
