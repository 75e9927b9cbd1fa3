//! The desk: carries out orders one at a time, and has a keeper for every service of the plan in force.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use mainstay_site::model::FORMAT;
use mainstay_site::names::ServiceName;
use mainstay_site::plan::{Config, Listen, Notice, Plan, Service};
use mainstay_site::wire::{ServiceStatus, State};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::filter;
use super::house::House;
use super::inherited::Inherited;
use super::journal::Journal;
use super::keeper::{Keeper, Wanted};
use super::post::{InForce, Order, Post, Refused, View, refusal, unknown};
use super::run::Run;
use super::upgrade::{self, Mover};
use crate::clock::unix_ms;
use crate::platform::connections;
use crate::platform::notify::Notify;
use crate::store::embedded::{Embedded, PlanSwap};

/// After an address was handed over: until neighbours know of it, some still come here.
const SETTLES: Duration = Duration::from_millis(300);

/// A keeper and how to tell it what is wanted.
struct Kept {
    post: Arc<Post>,
    wanted: watch::Sender<Wanted>,
    keeper: JoinHandle<()>,
    reader: JoinHandle<()>,
}

/// See the module.
pub(super) struct Desk {
    house: Arc<House>,
    view: Arc<View>,
    store: Arc<Embedded>,
    plan: Plan,
    /// What of the plan cannot be had here.
    lacking: Option<Notice>,
    kept: BTreeMap<ServiceName, Kept>,
}

/// Why the desk has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Everything is stopped.
    Stopped,
    /// Everything goes on: another program comes.
    Upgrade,
}

/// The signals that mean "stop".
pub(super) struct StopSignals {
    pub(super) term: Signal,
    pub(super) int: Signal,
}

impl Desk {
    /// Begins with the plan that the store has, and adopts what runs already.
    pub(super) async fn open(
        house: Arc<House>,
        view: Arc<View>,
        store: Arc<Embedded>,
        plan: Plan,
        mut inherited: Inherited,
    ) -> Desk {
        // Before anything listens.
        let lacking = filter::enforce(&plan, None);
        let mut desk = Desk { house, view, store, plan, lacking, kept: BTreeMap::new() };
        let services = desk.plan.services.clone();
        let movers: Vec<Mover> = services.iter().filter_map(|it| desk.begin(it, &mut inherited)).collect();
        if !movers.is_empty() {
            desk.view.upgrading.store(true, Ordering::SeqCst);
            tokio::spawn(upgrade::roll(movers, Arc::clone(&desk.view)));
        }
        inherited.end_strangers(&desk.house.notify).await;
        desk.house.sockets().retain(&desk.plan, &desk.house.notify);
        desk.show();
        desk
    }

    /// Carries out orders until one is to stop, then stops everything in reverse order; or until one is to make room for
    /// another program, and then leaves everything as it is.
    pub(super) async fn work(mut self, mut orders: mpsc::Receiver<Order>, mut signals: StopSignals) -> Leave {
        let (mut left, mut drain_at) = (self.house.left.subscribe(), None);
        loop {
            let order = tokio::select! {
                order = orders.recv() => order,
                Ok(()) = left.changed() => {
                    drain_at = Some(Instant::now() + SETTLES);
                    continue;
                }
                () = sleep_until(drain_at.unwrap_or_else(Instant::now)), if drain_at.is_some() => {
                    drain_at = None;
                    self.drain_doors();
                    continue;
                }
                _ = signals.term.recv() => None,
                _ = signals.int.recv() => None,
            };
            // Who asked may be gone; the order is carried out all the same.
            match order {
                Some(Order::Plan(plan, reply)) => drop(reply.send(self.put_plan(*plan).await)),
                Some(Order::Restart(service, reply)) => drop(reply.send(self.restart(&service))),
                Some(Order::Upgrade(reply)) => {
                    let may = self.may_upgrade().await;
                    let leaves = may.is_ok();
                    drop(reply.send(may));
                    if leaves {
                        return Leave::Upgrade;
                    }
                }
                Some(Order::Stop(reply)) => {
                    self.view.stopping.store(true, Ordering::SeqCst);
                    drop(reply.send(Ok(())));
                    break;
                }
                None => break,
            }
        }
        self.view.stopping.store(true, Ordering::SeqCst);
        self.stop().await;
        Leave::Stopped
    }

    async fn may_upgrade(&self) -> Result<(), Refused> {
        if !self.house.notify.keeps() {
            let hint = Some("stop it and start it again, or run it under systemd with FileDescriptorStoreMax=2048");
            return Err(Refused::Invalid(refusal("nobody keeps the sockets of this supervisor meanwhile", hint)));
        }
        let version = upgrade::probe().await?;
        tracing::info!("making room for {version}");
        Ok(())
    }

    async fn stop(mut self) {
        tracing::info!("stopping every service");
        self.house.notify.stopping();
        for service in self.plan.services.clone().iter().rev() {
            self.end(&service.name).await;
        }
        self.house.sockets().clear(&self.house.notify);
    }

    /// An address has gone to another server while connections of it are open here. Successors take over from the doors, so that
    /// these finish what is under way and tell who keeps a connection to come anew: to that server.
    fn drain_doors(&mut self) {
        // If it cannot be known, there may be some.
        let is_open = |address| connections::of(&[address]).map_or(true, |found| !found.is_empty());
        let is_left = |listen: &Listen| listen.floating && is_open(listen.address.ip());
        let is_door = |service: &&Service| matches!(service.config, Config::Balancer(_) | Config::Web(_));
        let doors = self.plan.services.iter().filter(is_door);
        let doors = doors.filter(|service| service.listens.iter().any(is_left));
        let doors: Vec<ServiceName> = doors.map(|service| service.name.clone()).collect();
        for door in doors {
            // One that is not kept has no connections.
            let _ = self.restart(&door);
        }
    }

    fn restart(&mut self, service: &ServiceName) -> Result<(), Refused> {
        let kept = self.kept.get(service).ok_or_else(|| unknown(service, self.kept.keys()))?;
        kept.wanted.send_modify(|wanted| wanted.restarts += 1);
        Ok(())
    }

    /// Puts `plan` in force: first everything that can fail, then the change.
    async fn put_plan(&mut self, plan: Plan) -> Result<(), Refused> {
        if plan == self.plan {
            return Ok(());
        }
        self.refuse(&plan)?;
        self.bind(&plan)?;
        match self.store.put_plan(&plan) {
            Ok(PlanSwap::Done) => {}
            Ok(PlanSwap::Stale(known)) => {
                self.unbind();
                return Err(stale(&plan, known));
            }
            Err(error) => {
                self.unbind();
                let hint = Some("the plan before it stays in force; make room on the disk, then apply again");
                return Err(Refused::Invalid(refusal(&error.to_string(), hint)));
            }
        }
        tracing::info!(generation = plan.generation.0, "a new plan is in force");
        let before = std::mem::replace(&mut self.plan, plan);
        self.lacking = filter::enforce(&self.plan, Some(&before));
        self.apply(&before).await;
        Ok(())
    }

    /// Why the plan is none for this server now.
    fn refuse(&self, plan: &Plan) -> Result<(), Refused> {
        let invalid = |error: String, hint| Err(Refused::Invalid(refusal(&error, Some(hint))));
        if plan.format > FORMAT {
            let error = format!("the plan has format {}, this server knows up to {FORMAT}", plan.format);
            return invalid(error, "install the newer mainstay on this server first");
        }
        if (&plan.site, &plan.server) != (&self.plan.site, &self.plan.server) {
            let (site, server) = (&self.plan.site, &self.plan.server);
            let error = format!("the plan is for {} of {}, this is {server} of {site}", plan.server, plan.site);
            return invalid(error, "send it to the control socket of its own server");
        }
        if plan.generation <= self.plan.generation {
            return Err(stale(plan, self.plan.generation));
        }
        Ok(())
    }

    /// Binds what the plan adds, or nothing.
    fn bind(&self, plan: &Plan) -> Result<(), Refused> {
        for service in &plan.services {
            // What a service of the old plan could not get is no reason to refuse the new one.
            let known = self.plan.service(&service.name).is_some_and(|known| known.listens == service.listens);
            let bound = self.house.sockets().ensure(&service.listens, &self.house.notify);
            if let Err(error) = bound
                && !known
            {
                self.unbind();
                let error = format!("{} {error}", service.name);
                let hint = Some("the plan before it stays in force");
                return Err(Refused::Invalid(refusal(&error, hint)));
            }
        }
        Ok(())
    }

    fn unbind(&self) {
        self.house.sockets().retain(&self.plan, &self.house.notify);
    }

    /// Ends what is gone, changes what is different, begins what is new. What is the same is not touched.
    async fn apply(&mut self, before: &Plan) {
        for service in before.services.iter().rev() {
            if self.plan.service(&service.name).is_none() {
                self.end(&service.name).await;
            }
        }
        for service in self.plan.services.clone() {
            match self.kept.get(&service.name) {
                Some(kept) => kept.wanted.send_modify(|wanted| {
                    wanted.generation = self.plan.generation;
                    if wanted.service.as_deref() != Some(&service) {
                        wanted.service = Some(Arc::new(service));
                    }
                }),
                None => drop(self.begin(&service, &mut Inherited::default())),
            }
        }
        self.unbind();
        self.show();
    }

    /// Begins to keep a service; if it runs another program and can be moved to ours, how.
    fn begin(&mut self, service: &Service, inherited: &mut Inherited) -> Option<Mover> {
        let name = &service.name;
        let run = inherited.take_run(name, &self.house.notify);
        let pipe = inherited.take_pipe(name);
        let fresh = pipe.is_none();
        let journal = match Journal::open(name, &self.house.state.join("log"), pipe) {
            Ok(journal) => journal,
            // Without a pipe, for want of descriptors or memory, nothing else could be started either.
            Err(error) => {
                tracing::error!("{name} has no log stream, and is not started: {error}");
                return None;
            }
        };
        if fresh {
            keep_pipe(&journal, name, &self.house.notify);
        }
        let post = Arc::new(Post {
            name: name.clone(),
            status: ArcSwap::from_pointee(unborn(service)),
            journal: Arc::clone(&journal),
            runs: ArcSwapOption::empty(),
            declined: ArcSwapOption::empty(),
            preparing: ArcSwapOption::empty(),
        });
        // An adopted process runs what it was started with; if that is not what is wanted, the keeper sees to it.
        let runs = run.as_ref().map_or(service, |run| &run.record.service).clone();
        let wanted = Wanted { service: Some(Arc::new(runs)), generation: self.plan.generation, restarts: 0 };
        let (sender, receiver) = watch::channel(wanted);
        let keeper = Keeper::new(Arc::clone(&self.house), Arc::clone(&post), receiver)?;
        let is_old = run.as_ref().is_some_and(Run::is_other_build);
        let mover = (is_old && upgrade::moves(service)).then(|| (sender.clone(), Arc::clone(&post)));
        sender.send_modify(|wanted| {
            if wanted.service.as_deref() != Some(service) {
                wanted.service = Some(Arc::new(service.clone()));
            }
        });
        let kept =
            Kept { post, wanted: sender, keeper: tokio::spawn(keeper.keep(run)), reader: tokio::spawn(journal.run()) };
        self.kept.insert(name.clone(), kept);
        mover
    }

    async fn end(&mut self, name: &ServiceName) {
        let Some(kept) = self.kept.remove(name) else { return };
        kept.wanted.send_modify(|wanted| wanted.service = None);
        if let Err(error) = kept.keeper.await {
            tracing::error!("the keeper of {name} failed: {error}");
        }
        kept.reader.abort();
        kept.post.journal.pump();
        for end in PIPE_ENDS {
            self.house.notify.forget(&pipe_kept_as(name, end));
        }
    }

    /// Shows the plan in force to the control channel.
    fn show(&self) {
        let posts = self.plan.services.iter().filter_map(|service| self.kept.get(&service.name));
        self.view.in_force.store(Arc::new(InForce {
            plan: Arc::new(self.plan.clone()),
            lacking: self.lacking.clone(),
            posts: posts.map(|kept| Arc::clone(&kept.post)).collect(),
        }));
    }
}

fn stale(plan: &Plan, known: mainstay_site::names::Generation) -> Refused {
    let error = format!("the plan has generation {}, and {known} is in force", plan.generation);
    Refused::Stale(refusal(&error, Some("make a plan of a higher generation from the current declaration")))
}

fn unborn(service: &Service) -> ServiceStatus {
    ServiceStatus {
        name: service.name.clone(),
        role: service.role,
        state: State::Starting,
        since_ms: unix_ms(),
        because: "about to start".to_owned(),
        pid: None,
        restarts: 0,
        rss_bytes: 0,
        report: None,
    }
}

/// The ends of a log pipe, reading and writing, in the names of what is kept.
pub(super) const PIPE_ENDS: [&str; 2] = ["r", "w"];

/// `log-web-r`.
pub(super) fn pipe_kept_as(service: &ServiceName, end: &str) -> String {
    format!("log-{service}-{end}")
}

fn keep_pipe(journal: &Journal, name: &ServiceName, notify: &Notify) {
    for (end, fd) in PIPE_ENDS.into_iter().zip([journal.reader(), journal.writer()]) {
        notify.forget(&pipe_kept_as(name, end));
        notify.keep(&pipe_kept_as(name, end), fd.as_fd());
    }
}
