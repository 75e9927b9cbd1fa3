//! The generations, for those who ask and for those who apply.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mainstay_site::names::{Generation, ServerName};
use mainstay_site::wire::Refusal;
use mainstay_site::wire::rollout::{
    KEPT, LAST, PREFIX, Proposal, Record, Summary, TARGET, TURNS, View, plan_key, record_key,
};

use super::leader::read_record;
use super::scene::Scene;
use crate::store::{Compare, Embedded, Error, Store, Swap, Write};
use crate::supervisor::post::{Refused, refusal};

/// Plans that are written at once: a transaction of etcd has at most 128 parts and 1.5 MiB.
const PLANS_AT_ONCE: usize = 16;

/// See the module.
pub(in crate::supervisor) struct Books {
    own: Store,
    server: ServerName,
    now: ArcSwap<Open>,
}

#[derive(Clone)]
struct Open {
    store: Option<Store>,
    endpoints: Vec<(ServerName, SocketAddr)>,
    shared: bool,
    unreachable: Option<String>,
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propose {
    Done,
    /// This generation is the last, or another was proposed meanwhile.
    Conflict(Generation),
}

impl Books {
    pub(in crate::supervisor) fn new(own: &Arc<Embedded>, server: &ServerName) -> Books {
        let closed = Open { store: None, endpoints: Vec::new(), shared: false, unreachable: None };
        Books { own: Store::new(Arc::clone(own)), server: server.clone(), now: ArcSwap::from_pointee(closed) }
    }

    /// This server's own store.
    pub(super) fn own(&self) -> Store {
        self.own.clone()
    }

    pub(super) fn is_for(&self, endpoints: &[(ServerName, SocketAddr)]) -> bool {
        let now = self.now.load();
        now.store.is_some() && now.endpoints == endpoints
    }

    pub(super) fn open(&self, endpoints: &[(ServerName, SocketAddr)], store: &Store, shared: bool) {
        let open = Open { store: Some(store.clone()), endpoints: endpoints.to_vec(), shared, unreachable: None };
        self.now.store(Arc::new(open));
    }

    pub(super) fn unreachable(&self, because: Option<String>) {
        let now = self.now.load();
        if now.unreachable != because {
            self.now.store(Arc::new(Open { unreachable: because, ..Open::clone(&now) }));
        }
    }

    /// What only this server knew, into a store that is new: the first that its site has.
    pub(super) async fn move_to(&self, store: &Store) -> Result<(), Error> {
        let Some(last) = self.own.get(LAST).await? else { return Ok(()) };
        if store.get(LAST).await?.is_some() {
            return Ok(());
        }
        tracing::info!("the site's generations move into the store of its servers");
        let (all, _) = self.own.list("generations/").await?;
        for (key, entry) in all.into_iter().filter(|(key, _)| key != LAST) {
            let put = Write::Put { key: key.clone(), value: entry.value, lease: None };
            store.transact(&[Compare::Absent(key)], &[put]).await?;
        }
        let mut puts = vec![Write::Put { key: LAST.into(), value: last.value, lease: None }];
        if let Some(target) = self.own.get(TARGET).await? {
            puts.push(Write::Put { key: TARGET.into(), value: target.value, lease: None });
        }
        store.transact(&[Compare::Absent(LAST.into())], &puts).await.map(drop)
    }

    fn store(&self) -> Result<Store, Refused> {
        let now = self.now.load();
        let hint = Some("`mainstay status` says how the store is");
        let why = || now.unreachable.clone().unwrap_or_else(|| "the store is not open yet".into());
        now.store.clone().ok_or_else(|| Refused::Busy(refusal(&why(), hint)))
    }

    /// How far the servers are.
    pub(in crate::supervisor) async fn view(&self) -> View {
        let looked = async {
            let store = self.store().map_err(|refused| refused.to_string())?;
            let (entries, _) = store.list(PREFIX).await.map_err(|error| error.to_string())?;
            let last = store.get(LAST).await.map_err(|error| error.to_string())?;
            let scene = Scene::read(entries.iter().map(|(key, entry)| (key, entry)));
            let mut servers = scene.standings;
            for standing in &mut servers {
                if !scene.present.contains(&standing.server) {
                    standing.state = mainstay_site::wire::rollout::Following::Away;
                }
            }
            let last = last.and_then(|entry| serde_json::from_slice(&entry.value).ok());
            let shared = self.now.load().shared;
            Ok(View { target: scene.target, last, outcome: scene.outcome, servers, led: shared, unreachable: None })
        };
        looked.await.unwrap_or_else(|because: String| View { unreachable: Some(because), ..View::default() })
    }

    /// The last generations, newest first.
    pub(in crate::supervisor) async fn history(&self) -> Result<Vec<Summary>, Refused> {
        let store = self.store()?;
        let last: u64 = last(&store).await.map_err(unreachable)?.0;
        let mut all = Vec::new();
        for number in (last.saturating_sub(KEPT) + 1..=last).rev() {
            all.extend(read_record(&store, Generation(number)).await.map_err(unreachable)?.map(|it| it.summary()));
        }
        Ok(all)
    }

    pub(in crate::supervisor) async fn record(&self, generation: Generation) -> Result<Record, Refused> {
        let found = read_record(&self.store()?, generation).await.map_err(unreachable)?;
        let hint = Some("`mainstay history` lists those that are kept");
        found.ok_or_else(|| Refused::Unknown(refusal(&format!("there is no generation {generation}"), hint)))
    }

    /// Makes a generation the one that is to be followed.
    pub(in crate::supervisor) async fn propose(&self, proposal: &Proposal) -> Result<(), Refused> {
        match propose(&self.store()?, proposal, &[]).await.map_err(unreachable)? {
            Propose::Done => Ok(()),
            Propose::Conflict(last) => {
                let text = format!("generation {last} was applied meanwhile");
                Err(Refused::Stale(refusal(&text, Some("look at `mainstay history`, then apply again"))))
            }
        }
    }

    /// Has this server follow `generation` now.
    pub(in crate::supervisor) async fn turn(&self, generation: Generation) -> Result<(), Refused> {
        let value = serde_json::to_vec(&generation).unwrap_or_default();
        let put = Write::Put { key: format!("{TURNS}{}", self.server), value, lease: None };
        self.store()?.transact(&[], &[put]).await.map(drop).map_err(unreachable)
    }
}

fn unreachable(error: Error) -> Refused {
    Refused::Busy(Refusal { error: error.to_string(), hint: Some("`mainstay status` says how the store is".into()) })
}

async fn last(store: &Store) -> Result<Generation, Error> {
    let entry = store.get(LAST).await?;
    Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default())
}

/// Writes a generation whole, then makes it the target. Killed anywhere in between it leaves a number that nothing follows.
pub(super) async fn propose(store: &Store, proposal: &Proposal, also: &[Compare]) -> Result<Propose, Error> {
    let Proposal { record, plans } = proposal;
    let generation = record.generation;
    let known = store.get(LAST).await?;
    let number = known.as_ref().and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or(Generation(0));
    if number >= generation {
        return Ok(Propose::Conflict(number));
    }
    let same = known.map_or(Compare::Absent(LAST.into()), |entry| Compare::Changed(LAST.into(), entry.changed));
    let compares: Vec<Compare> = also.iter().cloned().chain([same]).collect();
    let ours = write(LAST.into(), &generation);
    let Swap::Done(revision) = store.transact(&compares, &[ours]).await? else { return Ok(Propose::Conflict(number)) };
    for some in plans.chunks(PLANS_AT_ONCE) {
        let puts: Vec<Write> = some.iter().map(|plan| write(plan_key(generation, &plan.server), plan)).collect();
        store.transact(&[], &puts).await?;
    }
    store.transact(&[], &[write(record_key(generation), record)]).await?;
    let compares: Vec<Compare> = also.iter().cloned().chain([Compare::Changed(LAST.into(), revision)]).collect();
    if store.transact(&compares, &[write(TARGET.into(), &generation)]).await? == Swap::Conflict {
        return Ok(Propose::Conflict(generation));
    }
    if let Err(error) = forget(store, generation).await {
        tracing::warn!("the generation before the last {KEPT} stays in the store: {error}");
    }
    Ok(Propose::Done)
}

fn write(key: String, value: &impl serde::Serialize) -> Write {
    Write::Put { key, value: serde_json::to_vec(value).unwrap_or_default(), lease: None }
}

/// Deletes the generation that is one too many.
async fn forget(store: &Store, newest: Generation) -> Result<(), Error> {
    let Some(old) = newest.0.checked_sub(KEPT).map(Generation) else { return Ok(()) };
    let Some(record) = read_record(store, old).await? else { return Ok(()) };
    for some in record.site.servers.chunks(PLANS_AT_ONCE) {
        let deletes: Vec<Write> = some.iter().map(|it| Write::Delete(plan_key(old, &it.name))).collect();
        store.transact(&[], &deletes).await?;
    }
    store.transact(&[], &[Write::Delete(record_key(old))]).await.map(drop)
}
