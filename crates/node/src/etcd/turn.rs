//! Whose turn it is to be restarted with other arguments: one after the other, so that a majority stays.

use std::time::Duration;

use mainstay_machines::Time;
use mainstay_site::names::ServerName;

use crate::store::etcd::Health;
use crate::store::{Compare, Coordination, Error, Etcd, LeaseId, Swap, Write};

/// Whoever is being restarted has this key.
const KEY: &str = "store/restart";
/// How long somebody may be at it before the next one goes: etcd has 5 s to end and is back a second later.
const LASTS: Duration = Duration::from_secs(20);
/// Without a leader for so long there is no majority to be kept, and the other arguments may be what brings it back.
const LEADERLESS: Duration = Duration::from_secs(10);

/// How each member is.
type Seen = [(ServerName, Result<Health, Error>)];

/// Where a member stands.
#[derive(Default)]
pub struct Turn {
    waits: bool,
    /// Held while it is being restarted.
    lease: Option<LeaseId>,
    leaderless_since: Option<Time>,
}

impl Turn {
    /// Of a member that is to be restarted.
    pub fn waiting() -> Turn {
        Turn { waits: true, ..Turn::default() }
    }

    /// Whether it may be restarted now; from then on it is not waiting. Gives the turn back once the member is well again.
    pub async fn has_come(&mut self, etcd: &Etcd, own: &ServerName, health: &Seen, now: Time) -> bool {
        if !self.waits {
            self.give_back(etcd, own, health).await;
            return false;
        }
        if is_led(own, health) {
            self.leaderless_since = None;
            self.waits = !(missing(own, health).next().is_none() && self.take(etcd).await.unwrap_or(false));
        } else {
            let since = *self.leaderless_since.get_or_insert(now);
            self.waits = now.since(since) < LEADERLESS;
        }
        !self.waits
    }

    /// Why a member that waits is not restarted.
    pub fn waits_for(&self, own: &ServerName, health: &Seen) -> Option<String> {
        let missing: Vec<&str> = missing(own, health).map(ServerName::as_str).collect();
        let whom =
            if missing.is_empty() { "another one is".to_owned() } else { format!("{} is back", missing.join(", ")) };
        self.waits.then(|| format!("runs with the arguments of before, and is restarted as soon as {whom}"))
    }

    async fn take(&mut self, etcd: &Etcd) -> Result<bool, Error> {
        let (lease, _) = Coordination::grant(etcd, LASTS).await?;
        let note = Write::Put { key: KEY.into(), value: Vec::new(), lease: Some(lease) };
        let taken = matches!(etcd.transact(&[Compare::Absent(KEY.into())], &[note]).await?, Swap::Done(_));
        self.lease = Some(lease).filter(|_| taken);
        if !taken {
            // It would end by itself, but is asked for anew at every look.
            let _ = Coordination::revoke(etcd, lease).await;
        }
        Ok(taken)
    }

    async fn give_back(&mut self, etcd: &Etcd, own: &ServerName, health: &Seen) {
        if let Some(lease) = self.lease.take_if(|_| is_led(own, health)) {
            // It ends by itself otherwise.
            let _ = Coordination::revoke(etcd, lease).await;
        }
    }
}

/// Whether the own member answers and knows a leader.
fn is_led(own: &ServerName, health: &Seen) -> bool {
    health.iter().any(|(name, health)| name == own && health.as_ref().is_ok_and(|health| health.leader != 0))
}

/// The others that do not answer, or know no leader: without this one too there might be no majority.
fn missing<'a>(own: &'a ServerName, health: &'a Seen) -> impl Iterator<Item = &'a ServerName> {
    let is_well = |health: &Result<Health, Error>| health.as_ref().is_ok_and(|health| health.leader != 0);
    health.iter().filter(move |(name, health)| name != own && !is_well(health)).map(|(name, _)| name)
}
