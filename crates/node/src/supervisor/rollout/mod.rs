//! How a server follows the generations of its site's configuration, and how one of the servers leads the others to them.
//!
//! What is to be followed is in the store ([`mainstay_site::wire::rollout`]); who takes the next step is decided by
//! [`mainstay_machines::rollout`], which remembers nothing: whoever leads may die between any two steps. A command that
//! applies has written a generation whole before it becomes the target, and is needed no more from then on.

mod books;
mod leader;
mod scene;
mod sight;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mainstay_site::names::{Generation, ServiceName};
use mainstay_site::plan::Plan;
use mainstay_site::rollout::changes;
use mainstay_site::wire::State;
use mainstay_site::wire::rollout::{Following, PRESENT, SERVERS, Standing, plan_key};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::house::House;
use super::post::{Handle, Post, Refused};
use crate::store::{Error, Lease, Store, Write};
pub(super) use books::Books;
use leader::Leader;
use scene::Scene;
use sight::Sight;

/// Between two looks while somebody is on its way: the services of a server are well again within milliseconds.
const LOOK_BUSY: Duration = Duration::from_millis(50);
/// Between two looks while nothing happens; what happens in the store wakes sooner.
const LOOK: Duration = Duration::from_secs(1);
/// For how long a server that says nothing is taken to be there.
const PRESENCE: Duration = Duration::from_secs(6);

/// See the module.
pub(super) struct Follower {
    handle: Handle,
    house: Arc<House>,
    books: Arc<Books>,
    store: Option<(Store, bool)>,
    sight: Option<Sight>,
    lease: Option<(Lease, Instant)>,
    applying: Option<(Generation, JoinHandle<Result<(), Refused>>)>,
    refused: Option<(Generation, String)>,
    /// Services that were not well before the last change: that they are not afterwards says nothing of it.
    ill_before: BTreeSet<ServiceName>,
    /// Whether the target changes anything here.
    changes: Option<(Generation, bool)>,
    leader: Leader,
}

impl Follower {
    pub(super) fn new(handle: Handle, house: Arc<House>, books: Arc<Books>) -> Follower {
        Follower {
            handle,
            house,
            books,
            store: None,
            sight: None,
            lease: None,
            applying: None,
            refused: None,
            ill_before: BTreeSet::new(),
            changes: None,
            leader: Leader::default(),
        }
    }

    /// Follows until it is dropped.
    pub(super) async fn follow(mut self) {
        loop {
            let pause = match self.step().await {
                Ok(true) => LOOK_BUSY,
                Ok(false) => LOOK,
                Err(error) => {
                    self.books.unreachable(Some(error.to_string()));
                    LOOK
                }
            };
            let woken = async {
                match &mut self.sight {
                    Some(sight) => sight.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = woken => {}
            }
        }
    }

    /// Looks, and does what is to be done; whether there is more to come soon.
    async fn step(&mut self) -> Result<bool, Error> {
        let Some((store, shared)) = self.open().await? else { return Ok(false) };
        let scene = self.scene(&store).await?;
        self.books.unreachable(None);
        self.beat(&store).await?;
        self.take_turn(&store, &scene).await?;
        let standing = self.standing(&store, &scene).await?;
        let busy = standing.state != Following::Well || scene.target.is_some_and(|target| target > standing.at);
        if scene.standing(&self.house.server) != Some(&standing) {
            let key = format!("{SERVERS}{}", self.house.server);
            let value = serde_json::to_vec(&standing).unwrap_or_default();
            store.transact(&[], &[Write::Put { key, value, lease: None }]).await?;
        }
        let Some((lease, _)) = &self.lease else { return Ok(busy) };
        let leads = self.leader.lead(&store, &scene, &self.house.server, lease.id(), shared).await?;
        Ok(busy || leads)
    }

    /// How things are. Whoever leads decides by it, so he asks.
    async fn scene(&mut self, store: &Store) -> Result<Scene, Error> {
        let sight = match &mut self.sight {
            Some(sight) => sight,
            none => none.insert(Sight::new(store).await?),
        };
        let scene = Scene::read(sight.look(store, false).await?);
        let own = self.lease.as_ref().map(|(lease, _)| lease.id());
        match scene.leader {
            Some((leader, _)) if leader != own => Ok(scene),
            _ => Ok(Scene::read(sight.look(store, true).await?)),
        }
    }

    /// The store of the plan in force: the servers', or this one's own; whether it is the servers'.
    async fn open(&mut self) -> Result<Option<(Store, bool)>, Error> {
        let plan = self.handle.plan();
        if self.books.is_for(&plan.store)
            && let Some((store, shared)) = &self.store
        {
            return Ok(Some((store.clone(), *shared)));
        }
        let secrets = if plan.store.is_empty() { None } else { self.house.all_secrets() };
        let (store, shared) = match secrets {
            Some(secrets) => {
                let shared = Store::of(&self.house.site, &self.house.server, &plan.store, &secrets)?;
                (shared.unwrap_or_else(|| self.books.own()), true)
            }
            None if plan.store.is_empty() => (self.books.own(), false),
            None => return Err(Error::Certificates("this server has no secrets.json".into())),
        };
        if shared {
            self.books.move_to(&store).await?;
        }
        (self.sight, self.lease, self.leader) = (None, None, Leader::default());
        self.books.open(&plan.store, &store, shared);
        self.store = Some((store.clone(), shared));
        Ok(Some((store, shared)))
    }

    /// Keeps the lease alive by which this server is there, and leads.
    async fn beat(&mut self, store: &Store) -> Result<(), Error> {
        if let Some((lease, beaten)) = &mut self.lease {
            if beaten.elapsed() < lease.beat() {
                return Ok(());
            }
            match lease.keep_alive().await {
                Ok(_) => *beaten = Instant::now(),
                Err(Error::LeaseEnded) => self.lease = None,
                Err(error) => return Err(error),
            }
        }
        if self.lease.is_none() {
            let lease = store.grant(PRESENCE).await?;
            let key = format!("{PRESENT}{}", self.house.server);
            store.transact(&[], &[Write::Put { key, value: b"{}".to_vec(), lease: Some(lease.id()) }]).await?;
            self.lease = Some((lease, Instant::now()));
        }
        Ok(())
    }

    /// Begins to follow what this server was told to, if it is not under way.
    async fn take_turn(&mut self, store: &Store, scene: &Scene) -> Result<(), Error> {
        if let Some((generation, applying)) = &mut self.applying {
            if !applying.is_finished() {
                return Ok(());
            }
            let generation = *generation;
            let ended = applying.await;
            self.applying = None;
            let because = match ended {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(refused)) => refused.to_string(),
                Err(error) => error.to_string(),
            };
            tracing::error!("generation {generation} is not followed: {because}");
            self.refused = Some((generation, because));
        }
        let turn = scene.turn(&self.house.server);
        let tried = self.refused.as_ref().is_some_and(|(refused, _)| *refused == turn);
        if turn <= self.handle.plan().generation || tried {
            return Ok(());
        }
        match self.read_plan(store, turn).await? {
            Some(plan) => {
                self.ill_before = self.handle.ill();
                let handle = self.handle.clone();
                let applied = tokio::spawn(async move { handle.put_plan(plan).await });
                self.applying = Some((turn, applied));
            }
            None => self.refused = Some((turn, format!("generation {turn} has no plan that this server can read"))),
        }
        Ok(())
    }

    async fn read_plan(&self, store: &Store, generation: Generation) -> Result<Option<Plan>, Error> {
        let entry = store.get(&plan_key(generation, &self.house.server)).await?;
        Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
    }

    async fn standing(&mut self, store: &Store, scene: &Scene) -> Result<Standing, Error> {
        let (plan, turn) = (self.handle.plan(), scene.turn(&self.house.server));
        if let Some(target) = scene.target.filter(|target| *target > plan.generation)
            && self.changes.is_none_or(|(of, _)| of != target)
        {
            let then = self.read_plan(store, target).await?;
            self.changes = Some((target, then.is_none_or(|then| changes(&plan, &then))));
        }
        let (state, because) = match (&self.refused, &self.applying) {
            (Some((refused, because)), None) if *refused == turn => (Following::Refuses, because.clone()),
            (_, Some((generation, _))) => (Following::Unwell, format!("changes to generation {generation}")),
            _ => self.handle.following(&self.ill_before),
        };
        let (server, preparing) = (self.house.server.clone(), self.handle.is_preparing());
        Ok(Standing { server, at: plan.generation, turn, state, because, changes: self.changes, preparing })
    }
}

impl Handle {
    /// The services that do not serve now.
    fn ill(&self) -> BTreeSet<ServiceName> {
        let in_force = self.in_force();
        let ill = in_force.posts.iter().filter(|post| !serves(post.status.load().state));
        ill.map(|post| post.name.clone()).collect()
    }

    /// Whether a service is at something that may take long.
    fn is_preparing(&self) -> bool {
        let prepares = |post: &Arc<Post>| {
            let report_says = || post.status.load().report.as_ref().is_some_and(|it| it.preparing().is_some());
            post.preparing.load().is_some() || report_says()
        };
        self.in_force().posts.iter().any(prepares)
    }

    /// How the services are with the plan in force.
    fn following(&self, ill_before: &BTreeSet<ServiceName>) -> (Following, String) {
        let in_force = self.in_force();
        let mut unwell = None;
        for service in &in_force.plan.services {
            let name = &service.name;
            let Some(post) = in_force.posts.iter().find(|post| post.name == *name) else {
                unwell = unwell.or(Some(format!("{name} is not kept")));
                continue;
            };
            // In this order: what runs is published after how it is.
            let runs = post.runs.load();
            let status = post.status.load();
            if post.declined.load().as_deref() == Some(service) {
                return (Following::Refuses, format!("{name} {}", status.because));
            }
            let ill = !serves(status.state) && !ill_before.contains(name);
            if ill {
                unwell = unwell.or(Some(format!("{name} is {}: {}", status.state.as_str(), status.because)));
            } else if runs.as_deref() != Some(service) && !ill_before.contains(name) {
                let preparing = post.preparing.load();
                let at = preparing.as_ref().map(|what| format!(": {what}")).unwrap_or_default();
                unwell = unwell.or(Some(format!("{name} is changing{at}")));
            }
        }
        unwell.map_or((Following::Well, "does what its plan says".to_owned()), |why| (Following::Unwell, why))
    }
}

fn serves(state: State) -> bool {
    matches!(state, State::Serving | State::Degraded)
}
