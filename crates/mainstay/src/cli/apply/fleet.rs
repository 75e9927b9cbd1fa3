//! The servers of a running site, asked and told through their control channels.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mainstay_node::control::Client;
use mainstay_site::model::{Codebase, Site};
use mainstay_site::names::{Generation, ServerName};
use mainstay_site::plan::{Config, Plan};
use mainstay_site::rollout::{self as site, Decision, Time, Waits, members, next};
use mainstay_site::wire::rollout::{Following, Outcome, Progress, Proposal, Record, View};

use crate::cli::running::Running;
use crate::cli::up::say;

/// Between two looks at a rollout.
const LOOK: Duration = Duration::from_millis(50);
/// For the servers' store to answer: its members may be electing a leader.
const STORE_WITHIN: Duration = Duration::from_secs(20);

/// See the module.
pub struct Fleet {
    pub running: Running,
    clients: Vec<(ServerName, Client)>,
}

/// What the site follows now.
pub struct Now {
    /// The newest number.
    pub last: Generation,
    /// The generation that is followed; `None` if none was ever recorded.
    pub target: Option<Generation>,
    pub site: Site,
    pub codebases: Vec<Codebase>,
    /// Every release that some server runs.
    pub followed: Vec<Codebase>,
    /// How far its servers are.
    pub outcome: Option<Outcome>,
}

impl Fleet {
    /// Those of the site as it runs, and those that `then` has besides.
    pub fn of(running: Running, then: &Site) -> Fleet {
        let known = running.site.servers.iter().chain(&then.servers).map(|server| server.name.clone());
        let names: BTreeSet<ServerName> = known.collect();
        let client = |name: ServerName| {
            let socket = running.folder.server(&name).join("control.sock");
            (name, Client::new(socket))
        };
        let clients = names.into_iter().map(client).collect();
        Fleet { clients, running }
    }

    pub fn client(&self, server: &ServerName) -> anyhow::Result<&Client> {
        let known = self.clients.iter().find(|(name, _)| name == server);
        known.map(|(_, client)| client).with_context(|| format!("there is no server {server}"))
    }

    /// What the servers say; the one that knows of the newest generation, and for servers without a common store what each
    /// says of itself.
    pub async fn view(&self) -> anyhow::Result<View> {
        self.view_of(None).await
    }

    /// The same; servers that have a common store need not all be asked once one knows of `enough`.
    async fn view_of(&self, enough: Option<Generation>) -> anyhow::Result<View> {
        let mut best: Option<View> = None;
        let mut own = Vec::new();
        let mut last = None;
        for (name, client) in &self.clients {
            match client.rollout().await {
                Ok(View { unreachable: Some(because), .. }) => last = Some(format!("{name}: {because}")),
                Ok(view) if enough.is_some() && view.led && view.target >= enough => return Ok(view),
                Ok(view) => {
                    own.extend(view.servers.iter().filter(|it| it.server == *name).cloned());
                    if best.as_ref().is_none_or(|best| (best.target, best.led) < (view.target, view.led)) {
                        best = Some(view);
                    }
                }
                Err(error) => last = Some(format!("{name}: {error}")),
            }
        }
        let Some(mut view) = best else {
            bail!("no server of {} answers: {}", self.running.site.domain, last.unwrap_or_default())
        };
        if !view.led {
            view.servers = own;
        }
        Ok(view)
    }

    /// The same, waiting for a store that is electing.
    pub async fn settled_view(&self) -> anyhow::Result<View> {
        let begun = Instant::now();
        loop {
            match self.view().await {
                Ok(view) => return Ok(view),
                Err(error) if begun.elapsed() > STORE_WITHIN => return Err(error),
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// What the site follows now.
    pub async fn now(&self) -> anyhow::Result<Now> {
        let view = self.settled_view().await?;
        let highest = view.servers.iter().map(|standing| standing.at).max().unwrap_or_default();
        let last = view.last.unwrap_or_default().max(highest);
        let outcome = view.outcome;
        if let Some(target) = view.target {
            let Record { site, codebases, .. } = self.record(target).await?;
            let mut followed = codebases.clone();
            let at: BTreeSet<Generation> =
                view.servers.iter().flat_map(|standing| [standing.at, standing.turn]).collect();
            for generation in at.into_iter().filter(|at| *at != target) {
                // One that is not kept is older than what is.
                followed.extend(self.record(generation).await.into_iter().flat_map(|record| record.codebases));
            }
            return Ok(Now { last, target: Some(target), site, codebases, followed, outcome });
        }
        // It was brought up by an older program, or its `up` was killed before it could say so.
        let plans: Vec<Plan> = self.running.folder.read("plans.json")?.unwrap_or_default();
        let codebases = plans.iter().flat_map(|plan| &plan.services).filter_map(|service| match &service.config {
            Config::App(app) => Some(Codebase::new(&app.app, &app.release)),
            _ => None,
        });
        let by_name: BTreeMap<_, _> = codebases.map(|codebase| (codebase.app.clone(), codebase)).collect();
        let in_order = self.running.site.apps.iter().filter_map(|app| by_name.get(&app.name).cloned());
        let codebases: Vec<Codebase> = in_order.collect();
        let followed = codebases.clone();
        Ok(Now { last, target: None, site: self.running.site.clone(), codebases, followed, outcome })
    }

    /// A generation, as the first says it that knows it.
    pub async fn record(&self, generation: Generation) -> anyhow::Result<Record> {
        let mut last = None;
        for (_, client) in &self.clients {
            match client.generation(generation).await {
                Ok(record) => return Ok(record),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("there is no server")?).with_context(|| format!("generation {generation} cannot be read"))
    }

    /// Writes a generation: into the servers' store, or where they have none, into each server's own.
    pub async fn propose(&self, proposal: &Proposal, before: &Site) -> anyhow::Result<()> {
        let led = self.view().await?.led;
        let (mut written, mut last) = (false, None);
        // Those that are new have no books yet, or those in which this is to be written by way of the others.
        for (name, client) in self.clients.iter().filter(|(name, _)| before.server(name).is_some()) {
            match client.propose(proposal).await {
                Ok(()) if led => return Ok(()),
                Ok(()) => written = true,
                Err(error) => last = Some((name.clone(), error)),
            }
        }
        if led && self.is_target(&proposal.record).await {
            return Ok(());
        }
        match last {
            // Who is away finds out when it is back and somebody applies again.
            Some((name, error)) if written => say(&format!("{name} was not told: {error}")),
            Some((name, error)) => return Err(error).with_context(|| format!("{name} does not take it")),
            None => {}
        }
        Ok(())
    }

    /// Whether what is followed is this: whoever wrote it may have died before it could say so.
    async fn is_target(&self, record: &Record) -> bool {
        let target = self.view().await.ok().and_then(|view| view.target);
        target == Some(record.generation) && self.record(record.generation).await.is_ok_and(|known| known == *record)
    }

    /// Waits until the servers follow `generation`, or cannot; gives the turns where nobody else does.
    pub async fn follow(&self, generation: Generation, patience: Duration) -> anyhow::Result<Outcome> {
        let (begun, mut told) = (Instant::now(), String::new());
        let mut waits = Waits::default();
        loop {
            // While a store moves or elects, nobody knows.
            if let Ok(view) = self.view_of(Some(generation)).await {
                if view.target.is_some_and(|target| target > generation) {
                    let because = self.record(view.target.unwrap_or_default()).await.map(|record| record.what);
                    let because = because.unwrap_or_else(|_| "another generation came".into());
                    return Ok(Outcome { generation, state: Progress::Stopped, because });
                }
                let outcome = if self.leads(&view, generation).await? {
                    Some(self.lead(&view, generation, &mut waits, Time::ZERO + begun.elapsed()).await?)
                } else {
                    view.outcome.filter(|outcome| outcome.generation == generation)
                };
                if let Some(outcome) = outcome {
                    if outcome.because != told {
                        say(&format!("  {}", outcome.because));
                        told.clone_from(&outcome.because);
                    }
                    if outcome.state != Progress::Converging {
                        return Ok(outcome);
                    }
                }
            }
            if begun.elapsed() > patience {
                bail!(
                    "not done within {} s: {told}; it goes on without this command: `mainstay history`",
                    patience.as_secs()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether it is for us to give the turns: several servers without a common store have nobody else.
    async fn leads(&self, view: &View, generation: Generation) -> anyhow::Result<bool> {
        if view.led || view.target != Some(generation) {
            return Ok(false);
        }
        let record = self.record(generation).await?;
        // One that was alone until now leads itself.
        let alone = match record.before {
            Some(before) => self.record(before).await.is_ok_and(|before| before.site.servers.len() == 1),
            None => false,
        };
        Ok(!alone && record.site.servers.len() > 1)
    }

    /// Makes what was before the next generation, where nobody else does; `None` if that is not for us, or not wanted.
    pub async fn retreat(&self, failed: Generation, because: &str) -> anyhow::Result<Option<Generation>> {
        let (view, failed) = (self.view().await?, self.record(failed).await?);
        let Some(before) = failed.before.filter(|_| failed.retreats && view.target == Some(failed.generation)) else {
            return Ok(None);
        };
        let before = self.record(before).await?;
        let site = before.site.clone();
        let proposal = site::retreat(&failed, before, because, mainstay_node::clock::unix_ms());
        let generation = proposal.record.generation;
        self.propose(&proposal, &site).await?;
        Ok(Some(generation))
    }

    async fn lead(&self, view: &View, generation: Generation, waits: &mut Waits, now: Time) -> anyhow::Result<Outcome> {
        let record = self.record(generation).await?;
        let mut members = members(&record.site, generation, &view.servers, &|it| it.state != Following::Away);
        waits.note(now, generation, &mut members, &view.servers);
        let outcome = |state, because| Outcome { generation, state, because };
        Ok(match next(generation.0, &members) {
            Decision::Turn(names) => {
                for name in &names {
                    self.client(&ServerName::from(name.as_str()))?.turn(generation).await?;
                }
                outcome(Progress::Converging, format!("told to follow: {}", names.join(", ")))
            }
            Decision::Wait { because } => outcome(Progress::Converging, because),
            Decision::Stop { server, because } => outcome(Progress::Stopped, format!("{server}: {because}")),
            Decision::Done { away } if away.is_empty() => {
                outcome(Progress::Converged, "every server follows it".into())
            }
            Decision::Done { away } => outcome(Progress::Converged, format!("away: {}", away.join(", "))),
        })
    }
}
