//! What the member that leads does for the others: leave the lead to a server without the primary, and put out members that
//! are gone and whose votes have gone to others. Who still runs puts itself out.

use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::membership::{self, Patience};
use mainstay_site::names::{Generation, ServerName};
use mainstay_site::plan::{self, Member};
use mainstay_site::wire::rollout::{Record, TARGET, record_key};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::arguments::url;
use super::places::Places;
use crate::store::etcd::{Health, Listed};
use crate::store::{Coordination, Entry, Error, Etcd};

/// Between two tries to hand the lead over: each is an election.
const HAND_OVER_EACH: Duration = Duration::from_secs(10);
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
    patience: Patience,
}

/// What a member knows of all.
pub struct Scene<'a> {
    pub etcd: &'a Etcd,
    pub config: &'a plan::Store,
    pub places: &'a Places,
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
            tracing::info!("{} has the primary database: {to} leads the store instead", scene.places.server);
            return scene.etcd.hand_over(&scene.places.server, id).await;
        }
        self.put_out(scene).await
    }

    async fn put_out(&mut self, scene: &Scene<'_>) -> Result<(), Error> {
        let members = members(async |key| Coordination::get(scene.etcd, key).await)
            .await?
            .unwrap_or_else(|| scene.config.members.clone());
        let Some(id) = self.patience.look(scene.now, &scene.roster(&members).await?) else { return Ok(()) };
        tracing::info!("a member that is none any more, {id:x}, does not answer and is put out");
        scene.etcd.put_out(id).await
    }
}

/// Has the member on this server put out if its vote has gone to others and all of them are in. Whether it has.
pub async fn leave(etcd: &Etcd, places: &Places) -> Result<bool, Error> {
    let gives_away = |members: &Vec<Member>| !members.iter().any(|member| member.server == places.server);
    // Where all servers end at once there is no majority to be asked, and nobody leaves.
    let known = members(async |key| etcd.known(key).await).await?;
    if !known.is_some_and(|known| gives_away(&known)) {
        return Ok(false);
    }
    let agreed = members(async |key| Coordination::get(etcd, key).await).await?;
    let Some(members) = agreed.filter(gives_away) else { return Ok(false) };
    let roster = etcd.roster().await?;
    let Some(own) = roster.iter().find(|listed| is(&places.own, listed)) else { return Ok(false) };
    let seen: Vec<_> = roster.iter().map(|listed| seen(listed, &members, true)).collect();
    if !membership::may_leave(own.id, members.len(), &seen) {
        return Ok(false);
    }
    etcd.put_out(own.id).await.map(|()| true)
}

/// The members as the generation has them that the servers are to follow: a server's own plan may be of before. `None` if no
/// generation is known.
async fn members(read: impl AsyncFn(&str) -> Result<Option<Entry>, Error>) -> Result<Option<Vec<Member>>, Error> {
    let Some(target) = parsed::<Generation>(read(TARGET).await?) else { return Ok(None) };
    let record: Option<Record> = parsed(read(&record_key(target)).await?);
    Ok(record.map(|record| plan::store_members(&record.site)))
}

fn parsed<T: DeserializeOwned>(entry: Option<Entry>) -> Option<T> {
    serde_json::from_slice(&entry?.value).ok()
}

fn is(member: &Member, listed: &Listed) -> bool {
    listed.peers.contains(&url(member.peer))
}

/// One of the roster, to whoever decides.
fn seen(listed: &Listed, members: &[Member], answers: bool) -> membership::Listed {
    membership::Listed { id: listed.id, stays: members.iter().any(|member| is(member, listed)), answers }
}

impl Scene<'_> {
    /// Who is there. Nobody is asked whether he answers unless somebody is there who is no member any more: one that answers goes by
    /// itself when its server follows ([`leave`]).
    async fn roster(&self, members: &[Member]) -> Result<Vec<membership::Listed>, Error> {
        let roster = self.etcd.roster().await?;
        if roster.iter().all(|listed| members.iter().any(|member| is(member, listed))) {
            return Ok(roster.iter().map(|listed| seen(listed, members, true)).collect());
        }
        let known: Vec<&Member> = members.iter().chain(&self.config.members).chain(&self.config.former).collect();
        // Nobody can ask whom no plan names.
        let endpoint =
            |listed: &Listed| known.iter().find(|it| is(it, listed)).map(|it| (it.server.clone(), it.client));
        let (asked, endpoints): (Vec<&Listed>, Vec<_>) =
            roster.iter().filter_map(|listed| Some((listed, endpoint(listed)?))).unzip();
        let health = self.places.store(&endpoints).health().await;
        let answering: Vec<u64> =
            asked.iter().zip(health).filter(|(_, (_, health))| health.is_ok()).map(|(listed, _)| listed.id).collect();
        Ok(roster.iter().map(|listed| seen(listed, members, answering.contains(&listed.id))).collect())
    }

    /// Who should lead instead of this server, if the primary is here: a member that follows, without a database if there is
    /// one.
    async fn successor(&self) -> Result<Option<(ServerName, u64)>, Error> {
        let Some(entry) = Coordination::get(self.etcd, PRIMARY_KEY).await? else { return Ok(None) };
        let here =
            serde_json::from_slice(&entry.value).is_ok_and(|primary: Primary| primary.server == self.places.server);
        Ok(if here { self.best_other() } else { None })
    }

    pub(super) fn best_other(&self) -> Option<(ServerName, u64)> {
        let well = self.health.iter().filter(|(name, _)| *name != self.places.server);
        let well = well.filter_map(|(name, health)| Some((name, health.as_ref().ok()?)));
        let following = well.filter(|(_, health)| health.leader != 0 && health.errors.is_empty());
        let best = following.min_by_key(|(name, _)| self.config.databases.contains(name));
        best.map(|(name, health)| (name.clone(), health.id))
    }
}
