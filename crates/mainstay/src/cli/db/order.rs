//! Giving an order and waiting for what comes of it.

use std::time::{Duration, Instant};

use anyhow::bail;
use mainstay_site::wire::database::Wish;
use mainstay_site::wire::upkeep::{Agreed, Ask};

use super::ask::{Databases, Seen, agreed};

/// Until an order must have been carried out or given up: its steps have deadlines of seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

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
            bail!("not done within {} s; `mainstay db status` shows what hinders it", PATIENCE.as_secs());
        }
    }
}

/// Waits until somebody leads who is recorded as the primary.
pub async fn led(databases: &Databases) -> anyhow::Result<Agreed> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let seen = databases.look().await;
        if let Some(agreed) = agreed(&seen).filter(|agreed| is_led(agreed)) {
            return Ok(agreed.clone());
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("nobody is the primary after {} s; `mainstay db status` shows why", PATIENCE.as_secs())
}

fn is_led(agreed: &Agreed) -> bool {
    let recorded = agreed.cluster.as_ref().filter(|cluster| !cluster.designated);
    agreed
        .leader
        .as_ref()
        .zip(recorded)
        .is_some_and(|((leader, epoch), cluster)| cluster.primary == leader.server && cluster.epoch.0 == *epoch)
}
