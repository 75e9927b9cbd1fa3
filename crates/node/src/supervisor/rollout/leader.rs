//! Whoever leads: gives the turns, and says how far it is.

use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::rollout::{Decision, Member, next};
use mainstay_site::names::{Generation, ServerName};
use mainstay_site::rollout::{Waits, members, retreat};
use mainstay_site::wire::rollout::{LEADER, OUTCOME, Outcome, Progress, Record, SERVERS, TURNS, record_key};
use tokio::time::Instant;

use super::books::{Propose, propose};
use super::scene::Scene;
use crate::clock::unix_ms;
use crate::store::{Compare, Error, LeaseId, Store, Swap, Write};

/// How long servers have to say what a new target changes for them before they are taken to be changed by it.
const LOOKS_WITHIN: Duration = Duration::from_secs(2);

/// A transaction of etcd has at most 128 parts, and there are two keys for each.
const FORGOTTEN_AT_ONCE: usize = 32;

/// What it remembers; another one that remembers nothing only waits longer.
#[derive(Default)]
pub(super) struct Leader {
    record: Option<Record>,
    /// Since when the target is known.
    since: Option<(Generation, Instant)>,
    waits: Waits,
}

impl Leader {
    /// Leads if nobody else does; whether there is more to come soon.
    pub(super) async fn lead(
        &mut self,
        store: &Store,
        scene: &Scene,
        server: &ServerName,
        lease: LeaseId,
        shared: bool,
    ) -> Result<bool, Error> {
        let Some((of, made)) = scene.leader else {
            let value = serde_json::to_vec(server).unwrap_or_default();
            let put = Write::Put { key: LEADER.into(), value, lease: Some(lease) };
            store.transact(&[Compare::Absent(LEADER.into())], &[put]).await?;
            return Ok(true);
        };
        let Some(target) = scene.target.filter(|_| of == Some(lease)) else { return Ok(false) };
        let Some(record) = self.record(store, target).await? else { return Ok(false) };
        if !shared && !is_alone(store, &record).await? {
            return Ok(false);
        }
        let Some(members) = self.members(&record, scene) else { return Ok(true) };
        let ours = Compare::Created(LEADER.into(), made);
        let (progress, because) = match next(target.0, &members) {
            Decision::Turn(told) => {
                let value = serde_json::to_vec(&target).unwrap_or_default();
                let put =
                    |name: &String| Write::Put { key: format!("{TURNS}{name}"), value: value.clone(), lease: None };
                tracing::info!(generation = target.0, "told to follow: {}", told.join(", "));
                // A transaction of etcd has at most 128 parts.
                for some in told.chunks(64) {
                    let puts: Vec<Write> = some.iter().map(put).collect();
                    if store.transact(std::slice::from_ref(&ours), &puts).await? == Swap::Conflict {
                        // Somebody else leads meanwhile.
                        return Ok(true);
                    }
                }
                (Progress::Converging, format!("told to follow: {}", told.join(", ")))
            }
            Decision::Wait { because } => (Progress::Converging, because),
            Decision::Stop { server, because } => {
                if record.retreats && self.retreat(store, &record, &ours, &format!("{server}: {because}")).await? {
                    return Ok(true);
                }
                (Progress::Stopped, format!("{server}: {because}"))
            }
            Decision::Done { .. } if self.forget(store, scene, &record, &ours).await? => return Ok(true),
            Decision::Done { away } if away.is_empty() => (Progress::Converged, "every server follows it".to_owned()),
            Decision::Done { away } => {
                (Progress::Converged, format!("every server that is there follows it; away: {}", away.join(", ")))
            }
        };
        let outcome = Outcome { generation: target, state: progress, because };
        if scene.outcome.as_ref() != Some(&outcome) {
            let value = serde_json::to_vec(&outcome).unwrap_or_default();
            store.transact(&[ours], &[Write::Put { key: OUTCOME.into(), value, lease: None }]).await?;
        }
        Ok(progress == Progress::Converging)
    }

    async fn record(&mut self, store: &Store, target: Generation) -> Result<Option<Record>, Error> {
        if self.record.as_ref().is_none_or(|record| record.generation != target) {
            self.record = read_record(store, target).await?;
            self.waits = Waits::default();
        }
        if self.since.is_none_or(|(of, _)| of != target) {
            self.since = Some((target, Instant::now()));
        }
        Ok(self.record.clone())
    }

    /// Everybody; `None` until those who are there have said what the target is to them.
    fn members(&mut self, record: &Record, scene: &Scene) -> Option<Vec<Member>> {
        let target = record.generation;
        let is_present = |server: &ServerName| scene.present.contains(server);
        let waits = self.since.is_some_and(|(_, since)| since.elapsed() < LOOKS_WITHIN);
        let knows = |server: &ServerName| {
            let standing = scene.standing(server);
            standing.is_some_and(|it| it.at >= target || it.changes.is_some_and(|(of, _)| of == target))
        };
        if waits && record.site.servers.iter().any(|it| is_present(&it.name) && !knows(&it.name)) {
            return None;
        }
        let mut members = members(&record.site, target, &scene.standings, &|it| is_present(&it.server));
        for member in &mut members {
            // What it says of its turn may be older than the turn.
            member.turn = scene.turn(&ServerName::from(member.name.as_str())).0;
        }
        let known = self.since.map(|(_, since)| since.elapsed()).unwrap_or_default();
        self.waits.note(Time::ZERO + known, target, &mut members, &scene.standings);
        Some(members)
    }

    /// Deletes what servers said that have left the site, once they are gone; whether there were any.
    async fn forget(&self, store: &Store, scene: &Scene, record: &Record, ours: &Compare) -> Result<bool, Error> {
        let left = scene.standings.iter().map(|standing| &standing.server);
        let left = left.filter(|server| record.site.server(server).is_none() && !scene.present.contains(*server));
        let keys =
            left.take(FORGOTTEN_AT_ONCE).flat_map(|server| [format!("{SERVERS}{server}"), format!("{TURNS}{server}")]);
        let deletes: Vec<Write> = keys.map(Write::Delete).collect();
        Ok(!deletes.is_empty() && store.transact(std::slice::from_ref(ours), &deletes).await? != Swap::Conflict)
    }

    /// Makes what was before the next generation.
    async fn retreat(&self, store: &Store, failed: &Record, ours: &Compare, why: &str) -> Result<bool, Error> {
        let Some(before) = failed.before else { return Ok(false) };
        let Some(before) = read_record(store, before).await? else { return Ok(false) };
        let proposal = retreat(failed, before, why, unix_ms());
        tracing::error!("{}", proposal.record.what);
        Ok(matches!(propose(store, &proposal, std::slice::from_ref(ours)).await?, Propose::Done))
    }
}

/// Whether the server has no fellows, or had none until this generation: several servers without a common store are led by
/// whoever applies.
async fn is_alone(store: &Store, record: &Record) -> Result<bool, Error> {
    let before = match record.before {
        Some(before) => read_record(store, before).await?,
        None => None,
    };
    Ok(before.as_ref().unwrap_or(record).site.servers.len() == 1)
}

pub(super) async fn read_record(store: &Store, generation: Generation) -> Result<Option<Record>, Error> {
    let entry = store.get(&record_key(generation)).await?;
    Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
}
