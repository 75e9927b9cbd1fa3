//! A running lab: its network, and its servers' power.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, bail};
use mainstay_site::model::{FORMAT, Site};
use mainstay_site::names::ServerName;
use rustix::process::Signal;

use crate::network::{Cable, Wires};
use crate::power::Boot;
use crate::process::ProcessId;
use crate::record::{Held, Mode, Place, Published, Record, ServerRecord};
use crate::resolver::Names;
use crate::sweep::{Swept, sweep};

/// How long servers may take to stop in order when a lab goes down without being told how: as long as a service may
/// take for the requests in flight (10 s), and a little.
const PATIENCE: Duration = Duration::from_secs(12);

/// How to start a lab.
#[derive(Clone, Debug)]
pub struct Options {
    /// How servers are told apart.
    pub mode: Mode,
    /// Where the record is kept.
    pub place: Place,
    /// The folder with the servers' state directories; recorded for those who look for them.
    pub state: PathBuf,
    /// What is reached from the host; recorded likewise.
    pub published: Vec<Published>,
}

/// A running lab. Dropping it stops every server in order and removes the network.
pub struct Lab {
    place: Place,
    record: Record,
    boots: HashMap<ServerName, Boot>,
    children: HashMap<ServerName, Child>,
    /// Released last: as long as anything of the lab is left, nobody else may take it for theirs.
    _held: Held,
}

impl Lab {
    /// Clears away what a killed predecessor left and lays the network. The servers are off: see [`Lab::power_on`].
    ///
    /// # Errors
    /// If the site is up already, or the machine does not let us make namespaces.
    pub fn start(site: &Site, options: Options, held: Held) -> anyhow::Result<Lab> {
        if let Some(left) = options.place.read()? {
            sweep(&left, PATIENCE)?;
        }
        let wires = (options.mode == Mode::Namespaces).then(|| Wires::of(site));
        let servers = site.servers.iter().map(|server| ServerRecord { name: server.name.clone(), process: None });
        let record = Record {
            format: FORMAT,
            site: site.domain.clone(),
            mode: options.mode,
            up: ProcessId::own().context("/proc does not show this process; is it mounted?")?,
            state: options.state,
            wires,
            servers: servers.collect(),
            published: options.published,
        };
        options.place.write(&record)?;
        Names::kept_in(options.place.folder()).write(site).context("the servers' names cannot be written down")?;
        let (boots, children) = (HashMap::new(), HashMap::new());
        let lab = Lab { place: options.place, record, boots, children, _held: held };
        lab.record.wires.iter().try_for_each(|wires| {
            // Namespaces of our names without a record: somebody removed the record, not what it stood for.
            wires.remove()?;
            wires.lay(&site.domain)
        })?;
        Ok(lab)
    }

    /// What is on record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The namespace that stands for the internet; `None` in loopback mode.
    pub fn internet(&self) -> Option<&str> {
        self.record.wires.as_ref().map(|wires| wires.internet.as_str())
    }

    /// Switches a server on: starts its process 1.
    ///
    /// # Errors
    /// If it is on, if there is no such server, or if the process cannot be started.
    pub fn power_on(&mut self, server: &ServerName, boot: Boot) -> anyhow::Result<ProcessId> {
        if self.is_on(server) {
            bail!("{server} is on already");
        }
        let site = &self.record.site;
        let child = match &self.record.wires {
            Some(wires) => {
                let names = Names::kept_in(self.place.folder());
                boot.in_namespaces(site, server, &wires.end(server)?.namespace, &names)?
            }
            None => boot.plainly(site, server)?,
        };
        let process = ProcessId::of(child.id()).with_context(|| format!("{server} ended as soon as it was on"));
        self.children.insert(server.clone(), child);
        self.boots.insert(server.clone(), boot);
        self.note(server, Some(process?))
    }

    /// Makes room for the servers of `site` that are new; they are off.
    ///
    /// # Errors
    /// If the machine does not let us.
    pub fn extend(&mut self, site: &Site) -> anyhow::Result<()> {
        Names::kept_in(self.place.folder()).write(site).context("the servers' names cannot be written down")?;
        let is_new = |name: &ServerName| self.record.servers.iter().all(|known| known.name != *name);
        let new = site.servers.iter().map(|it| it.name.clone()).filter(is_new);
        let new: Vec<ServerRecord> = new.map(|name| ServerRecord { name, process: None }).collect();
        self.record.servers.extend(new);
        // On record before it is made, as everything: the namespaces' names follow from the servers'.
        self.place.write(&self.record)?;
        if let Some(wires) = &mut self.record.wires {
            wires.extend(site)?;
        }
        self.place.write(&self.record)
    }

    /// Takes a server away that has ended, with its cable.
    ///
    /// # Errors
    /// If it is on, or there is none.
    pub fn retire(&mut self, server: &ServerName) -> anyhow::Result<()> {
        if self.is_on(server) {
            bail!("{server} is on");
        }
        if let Some(wires) = &mut self.record.wires {
            wires.retire(server)?;
        }
        self.record.servers.retain(|known| known.name != *server);
        self.boots.remove(server);
        self.place.write(&self.record)
    }

    /// Switches a server on again, as it was before.
    pub fn power_on_again(&mut self, server: &ServerName) -> anyhow::Result<ProcessId> {
        let boot = self.boots.get(server).with_context(|| format!("{server} has not been on yet"))?.clone();
        if let Some(wires) = &self.record.wires {
            wires.cable(server, Cable::Plugged)?;
        }
        self.power_on(server, boot)
    }

    /// Cuts a server's power and leaves its cable dead, as that of a machine is which is off: who speaks to it hears nothing,
    /// where a namespace without processes would still refuse connections. Mended by [`Lab::power_on_again`].
    pub fn black_out(&mut self, server: &ServerName) -> anyhow::Result<()> {
        let process = self.process(server)?;
        self.wires()?.cable(server, Cable::Pulled)?;
        self.kill(server, process)
    }

    /// Cuts a server's power: its cable first, so that no process says goodbye to a peer, then all its processes.
    /// The cable is back in place afterwards.
    pub fn power_cut(&mut self, server: &ServerName) -> anyhow::Result<()> {
        let process = self.process(server)?;
        self.wires()?.cable(server, Cable::Pulled)?;
        self.kill(server, process)?;
        self.wires()?.cable(server, Cable::Plugged)
    }

    fn kill(&mut self, server: &ServerName, process: ProcessId) -> anyhow::Result<()> {
        process.signal(Signal::KILL);
        if let Some(mut child) = self.children.remove(server) {
            child.wait()?;
        }
        self.record_of(server)?.process = None;
        self.place.write(&self.record)
    }

    fn wires(&self) -> anyhow::Result<&Wires> {
        self.record.wires.as_ref().context("a power cut needs namespaces; this lab is in loopback mode")
    }

    /// Whether a server's process 1 runs. Also collects one that ended.
    pub fn is_on(&mut self, server: &ServerName) -> bool {
        let Some(child) = self.children.get_mut(server) else { return false };
        if matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        self.children.remove(server);
        false
    }

    /// Stops every server in order, within `patience`, and removes the network. State directories are left alone.
    pub fn stop(mut self, patience: Duration) -> anyhow::Result<Swept> {
        self.clear(patience)
    }

    fn clear(&mut self, patience: Duration) -> anyhow::Result<Swept> {
        let swept = sweep(&self.record, patience)?;
        // They are gone; this only takes their exit codes from the kernel.
        self.children.drain().for_each(|(_, mut child)| drop(child.wait()));
        self.place.forget()?;
        self.record.servers.clear();
        Ok(swept)
    }

    fn process(&self, server: &ServerName) -> anyhow::Result<ProcessId> {
        let known = self.record.servers.iter().find(|known| known.name == *server);
        known.and_then(|known| known.process).with_context(|| format!("{server} is not on"))
    }

    fn record_of(&mut self, server: &ServerName) -> anyhow::Result<&mut ServerRecord> {
        let mut servers = self.record.servers.iter_mut();
        servers.find(|known| known.name == *server).with_context(|| format!("the lab has no server called {server}"))
    }

    fn note(&mut self, server: &ServerName, process: Option<ProcessId>) -> anyhow::Result<ProcessId> {
        self.record_of(server)?.process = process;
        self.place.write(&self.record)?;
        self.process(server)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.record.servers.is_empty() {
            return;
        }
        if let Err(error) = self.clear(PATIENCE) {
            tracing::error!(site = %self.record.site, error = format!("{error:#}"), "the lab could not be cleared away");
        }
    }
}
