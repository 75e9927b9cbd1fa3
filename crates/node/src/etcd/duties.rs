//! What the member that leads does for the others: leave the lead to a server without the primary, and put out members that
//! the plan no longer has.

use std::time::Duration;

use mainstay_machines::Time;
use mainstay_site::names::ServerName;
use mainstay_site::plan;
use serde::Deserialize;

use super::arguments::url;
use crate::store::etcd::{Health, Listed};
use crate::store::{Coordination, Error, Etcd};

/// Between two tries to hand the lead over: each is an election.
const HAND_OVER_EACH: Duration = Duration::from_secs(10);
/// For how long somebody must be strange before he is put out: the plans of the servers do not change at one moment.
const STRANGE: Duration = Duration::from_secs(30);
/// Who has the primary; the key is the database role's (`site::wire::database`).
const PRIMARY_KEY: &str = "database/leader";

/// Whoever has the primary says so with this, among other things.
#[derive(Deserialize)]
struct Primary {
    server: ServerName,
}

/// What was done, and when it may be done again.
#[derive(Default)]
pub struct Duties {
    handed_over: Option<Time>,
    strange: Option<(u64, Time)>,
}

/// What a member knows of all.
pub struct Scene<'a> {
    pub etcd: &'a Etcd,
    pub config: &'a plan::Store,
    pub own: &'a ServerName,
    pub health: &'a [(ServerName, Result<Health, Error>)],
    pub now: Time,
}

impl Duties {
    /// Does at most one thing. Only the member that leads is to call it.
    pub async fn attend(&mut self, scene: &Scene<'_>) -> Result<(), Error> {
        if self.handed_over.is_none_or(|at| scene.now.since(at) >= HAND_OVER_EACH)
            && let Some((to, id)) = scene.successor().await?
        {
            self.handed_over = Some(scene.now);
            tracing::info!("{} has the primary database: {to} leads the store instead", scene.own);
            return scene.etcd.hand_over(scene.own, id).await;
        }
        self.put_out(scene).await
    }

    async fn put_out(&mut self, scene: &Scene<'_>) -> Result<(), Error> {
        let roster = scene.etcd.roster().await?;
        let strange = roster.iter().find(|listed| is_strange(listed, scene.config));
        let Some(strange) = strange.filter(|_| scene.are_well(&roster)) else {
            self.strange = None;
            return Ok(());
        };
        match self.strange {
            Some((id, since)) if id == strange.id => {
                if scene.now.since(since) >= STRANGE {
                    tracing::info!("{} is no member of the plan any more and is put out", strange.name);
                    scene.etcd.put_out(id).await?;
                }
            }
            _ => self.strange = Some((strange.id, scene.now)),
        }
        Ok(())
    }
}

fn is_strange(listed: &Listed, config: &plan::Store) -> bool {
    !config.members.iter().any(|member| listed.peers.contains(&url(member.peer)))
}

impl Scene<'_> {
    /// Whether everybody who is in and stays in answers: with one more missing, nobody could vote. Who is not in yet waits for
    /// the strange one to go, since etcd lets nobody in while somebody is missing.
    fn are_well(&self, roster: &[Listed]) -> bool {
        let is_in = |name: &ServerName| {
            let member = self.config.member(name);
            member.is_some_and(|member| roster.iter().any(|listed| listed.peers.contains(&url(member.peer))))
        };
        self.health.iter().all(|(name, health)| health.is_ok() || !is_in(name))
    }

    /// Who should lead instead of this server, if the primary is here: a member that follows, without a database if there is
    /// one.
    async fn successor(&self) -> Result<Option<(ServerName, u64)>, Error> {
        let Some(entry) = Coordination::get(self.etcd, PRIMARY_KEY).await? else { return Ok(None) };
        let here = serde_json::from_slice(&entry.value).is_ok_and(|primary: Primary| primary.server == *self.own);
        Ok(if here { self.best_other() } else { None })
    }

    pub(super) fn best_other(&self) -> Option<(ServerName, u64)> {
        let well = self.health.iter().filter(|(name, _)| name != self.own);
        let well = well.filter_map(|(name, health)| Some((name, health.as_ref().ok()?)));
        let following = well.filter(|(_, health)| health.leader != 0 && health.errors.is_empty());
        let best = following.min_by_key(|(name, _)| self.config.databases.contains(name));
        best.map(|(name, health)| (name.clone(), health.id))
    }
}
