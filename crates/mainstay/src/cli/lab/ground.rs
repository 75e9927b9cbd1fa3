//! What the servers of a stage stand on.

use std::path::Path;

use anyhow::Context;
use mainstay_lab::scenario::{FakedClock, SmallDisk, processes};
use mainstay_site::names::ServerName;
use rustix::process::Signal;

use super::stage::Stage;

/// Room for MariaDB, another copy while it is made, and what clients write on a fast machine in a few minutes: those logs alone once
/// filled 384 MiB. Memory is taken only for what is written.
const DISK_BYTES: u64 = 1 << 30;
/// Until all are members again after their MariaDB was started anew.
const SETTLES: std::time::Duration = std::time::Duration::from_secs(90);
/// Where Debian has it.
const MARIADBD: &str = "/usr/sbin/mariadbd";

/// What the servers of a stage stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The machine's own disk and clock.
    Plain,
    /// Each database has a small disk of its own.
    SmallDisks,
    /// Each MariaDB has a clock of its own.
    FakedClocks,
}

/// What was laid.
#[derive(Debug, Default)]
pub struct Laid {
    disks: Vec<(ServerName, SmallDisk)>,
    clocks: Vec<(ServerName, FakedClock)>,
}

impl Laid {
    /// Before the servers are switched on.
    pub fn under(ground: Ground, servers: &[(ServerName, std::path::PathBuf)]) -> anyhow::Result<Laid> {
        let mut laid = Laid::default();
        if ground == Ground::SmallDisks {
            for (server, state) in servers {
                laid.disks.push((server.clone(), SmallDisk::mount(&state.join("data/database"), DISK_BYTES)?));
            }
        }
        Ok(laid)
    }
}

impl Stage {
    /// Has every MariaDB start anew with a clock that can be set, one after the other.
    pub fn give_clocks(&mut self, folder: &Path) -> anyhow::Result<()> {
        for server in self.servers() {
            let lab = self.lab()?;
            let record = lab.record().servers.iter().find(|known| known.name == server);
            let process = record.and_then(|known| known.process).with_context(|| format!("{server} is not on"))?;
            let clock = FakedClock::give(process, Path::new(MARIADBD), &folder.join(server.as_str()))?;
            self.laid.clocks.push((server.clone(), clock));
            processes(&self.namespace(&server)?, &["mariadbd"]).iter().for_each(|process| process.signal(Signal::KILL));
            self.settle(SETTLES)?;
        }
        Ok(())
    }

    pub fn set_clock(&self, server: &ServerName, offset: &str) -> anyhow::Result<()> {
        let clock = self.laid.clocks.iter().find(|(name, _)| name == server);
        clock.with_context(|| format!("{server} has no clock of its own"))?.1.set(offset)
    }

    pub fn fill_disk(&self, server: &ServerName) -> anyhow::Result<()> {
        let disk = self.laid.disks.iter().find(|(name, _)| name == server);
        disk.with_context(|| format!("{server} has no disk of its own"))?.1.fill()
    }

    pub fn free_disks(&self) -> anyhow::Result<()> {
        Ok(self.laid.disks.iter().try_for_each(|(_, disk)| disk.free())?)
    }

    /// Whatever a scenario did and did not undo: cables, packets, disks, clocks, what stands still and what is off.
    pub fn mend(&mut self) -> anyhow::Result<()> {
        self.wires()?.heal()?;
        self.free_disks()?;
        self.laid.clocks.iter().try_for_each(|(_, clock)| clock.set("+0"))?;
        let servers: Vec<ServerName> = self.site.servers.iter().map(|server| server.name.clone()).collect();
        for server in servers {
            self.wires()?.cable(&server, mainstay_lab::Cable::Plugged)?;
            mainstay_lab::scenario::all_processes(&self.namespace(&server)?)
                .iter()
                .for_each(|process| process.signal(Signal::CONT));
            if !self.lab()?.is_on(&server) {
                self.lab()?.power_on_again(&server)?;
            }
        }
        Ok(())
    }
}
