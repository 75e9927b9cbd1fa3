//! What a scenario can do to a site, and ask of it.

use std::time::Duration;

use anyhow::Context;
use mainstay_lab::scenario::{Workload, all_processes};
use mainstay_site::names::ServerName;
use mainstay_site::wire::database::Wish;
use mainstay_site::wire::upkeep::{Agreed, Ask};
use rustix::process::Signal;

use super::super::patience::{until, wait};
use super::super::stage::Stage;
use crate::cli::db::ask::agreed;

/// The lease, if nothing else is declared.
pub const LEASE: Duration = Duration::from_secs(3);
/// Longer than the lease, and than etcd takes to end it.
pub const OVER_THE_LEASE: Duration = Duration::from_secs(7);
/// Until writes must go on: an election with everything against it.
const GOES_ON: Duration = Duration::from_secs(60);
/// Writes that go on are so many.
const SOME: u64 = 20;

/// The command line of a database server, and of what looks after it.
pub const MARIADBD: &[&str] = &["mariadbd"];
pub const ROLE: &[&str] = &["service", "database"];
pub const SUPERVISOR: &[&str] = &["serve", "--server"];
pub const INIT: &[&str] = &["init", "--mount-proc"];
pub const ETCD: &[&str] = &["etcd"];

/// What a scenario promises besides what is always promised.
#[derive(Clone, Debug, Default)]
pub struct Promised {
    pub gap_max: Option<Duration>,
    pub read_gap_max: Option<Duration>,
    /// The longest that one statement may be waited for.
    pub answer_max: Option<Duration>,
    pub broken: Vec<String>,
}

/// A run under way.
pub struct Act<'a> {
    pub stage: &'a mut Stage,
    /// Who was the primary when it began.
    pub primary: ServerName,
    pub workload: &'a Workload,
    pub promised: Promised,
}

impl<'a> Act<'a> {
    pub fn new(stage: &'a mut Stage, primary: ServerName, workload: &'a Workload) -> Act<'a> {
        Act { stage, primary, workload, promised: Promised::default() }
    }

    pub fn end(self) -> Promised {
        self.promised
    }

    pub fn wait(&self, time: Duration) {
        wait(time);
    }

    /// Notes `otherwise`, unless it was kept.
    pub fn promise(&mut self, kept: bool, otherwise: impl FnOnce() -> String) {
        if !kept {
            self.promised.broken.push(otherwise());
        }
    }

    pub fn replicas(&self) -> Vec<ServerName> {
        self.stage.servers().into_iter().filter(|server| *server != self.primary).collect()
    }

    pub fn replica(&self) -> anyhow::Result<ServerName> {
        self.replicas().pop().context("there is no replica")
    }

    /// Waits until some more writes are acknowledged.
    pub fn goes_on(&self, when: &str) -> anyhow::Result<()> {
        let before = self.workload.acknowledged();
        self.until(GOES_ON, || format!("no writes {when}"), |act| Ok(act.workload.acknowledged() >= before + SOME))
    }

    /// Waits for something.
    pub fn until(
        &self,
        patience: Duration,
        otherwise: impl Fn() -> String,
        is: impl Fn(&Act<'_>) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        until(patience, || Ok((!is(self)?).then(&otherwise)))
    }

    /// What the servers agree on.
    pub fn agreed(&self) -> anyhow::Result<Agreed> {
        let seen = self.stage.runtime.block_on(self.stage.databases.look());
        agreed(&seen).cloned().context("no server reaches the store")
    }

    /// Who may acknowledge, by the record.
    pub fn sync(&self) -> anyhow::Result<Vec<ServerName>> {
        let agreed = self.agreed()?;
        let cluster = agreed.cluster.context("nobody ever led")?;
        Ok(cluster.sync.iter().map(ServerName::from).collect())
    }

    /// Waits until another one is the primary on record.
    pub fn another_leads(&self, patience: Duration) -> anyhow::Result<ServerName> {
        let is = |act: &Act<'_>| Ok(act.stage.primary().is_ok_and(|primary| primary != self.primary));
        self.until(patience, || format!("nobody takes the place of {}", self.primary), is)?;
        self.stage.primary()
    }

    pub fn kill(&self, server: &ServerName, words: &[&str]) -> anyhow::Result<()> {
        self.signal(server, words, Signal::KILL)
    }

    pub fn signal(&self, server: &ServerName, words: &[&str], signal: Signal) -> anyhow::Result<()> {
        self.stage.signal(server, words, signal)
    }

    pub fn signal_all(&self, server: &ServerName, signal: Signal) -> anyhow::Result<()> {
        all_processes(&self.stage.namespace(server)?).iter().for_each(|process| process.signal(signal));
        Ok(())
    }

    pub fn power_off(&mut self, server: &ServerName) -> anyhow::Result<()> {
        self.stage.lab()?.power_cut(server)
    }

    pub fn power_on(&mut self, server: &ServerName) -> anyhow::Result<()> {
        self.stage.lab()?.power_on_again(server).map(drop)
    }

    pub fn order(&self, wish: Wish) -> anyhow::Result<()> {
        self.stage.runtime.block_on(self.stage.databases.order(&Ask::Order { wish }))
    }
}
