//! What fails in each scenario.

use std::time::Duration;

use anyhow::{Context, ensure};
use mainstay_lab::Cable;
use mainstay_lab::scenario::processes;
use mainstay_site::names::ServerName;
use mainstay_site::wire::database::Wish;
use mainstay_site::wire::upkeep::Ask;
use rustix::process::Signal;

use super::stage::Stage;

/// A scenario.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// What befalls the primary, or others.
    pub fault: fn(&mut Stage, &ServerName) -> anyhow::Result<()>,
    /// For how long at least.
    pub lasts: Duration,
    /// What ends it.
    pub mend: fn(&mut Stage, &ServerName) -> anyhow::Result<()>,
    /// Writes go on only after it was mended.
    pub stops_writes: bool,
}

const NOW: Duration = Duration::ZERO;
/// Longer than the lease, which is 3 s if nothing else is declared, and than etcd takes to end it.
const OVER_THE_LEASE: Duration = Duration::from_secs(7);

/// Every scenario.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "db-kill-mariadbd",
        about: "kill -9 of the primary's mariadbd",
        fault: |stage, primary| kill(stage, primary, MARIADBD),
        lasts: NOW,
        mend: nothing,
        stops_writes: false,
    },
    Scenario {
        name: "db-kill-role",
        about: "kill -9 of the role that looks after the primary",
        fault: |stage, primary| kill(stage, primary, ROLE),
        lasts: NOW,
        mend: nothing,
        stops_writes: false,
    },
    Scenario {
        name: "db-kill-both",
        about: "kill -9 of the primary's mariadbd and of its role",
        fault: |stage, primary| kill(stage, primary, ROLE).and_then(|()| kill(stage, primary, MARIADBD)),
        lasts: NOW,
        mend: nothing,
        stops_writes: false,
    },
    Scenario {
        name: "db-power-off-primary",
        about: "power cut of the primary's server",
        fault: power_off,
        lasts: OVER_THE_LEASE,
        mend: power_on,
        stops_writes: false,
    },
    Scenario {
        name: "db-cut-off-primary",
        about: "the cable of the primary's server is pulled",
        fault: |stage, primary| stage.wires()?.cable(primary, Cable::Pulled),
        lasts: OVER_THE_LEASE,
        mend: |stage, primary| stage.wires()?.cable(primary, Cable::Plugged),
        stops_writes: false,
    },
    Scenario {
        name: "db-switchover",
        about: "an operator moves the primary",
        fault: switchover,
        lasts: NOW,
        mend: nothing,
        stops_writes: false,
    },
    Scenario {
        name: "db-pause-mariadbd",
        about: "the primary's mariadbd is stopped for longer than the lease, then goes on",
        fault: |stage, primary| signal(stage, primary, MARIADBD, Signal::STOP),
        lasts: OVER_THE_LEASE,
        mend: |stage, primary| signal(stage, primary, MARIADBD, Signal::CONT).or(Ok(())),
        stops_writes: false,
    },
    Scenario {
        name: "db-pause-role",
        about: "the role of the primary is stopped for longer than the lease, then goes on",
        fault: |stage, primary| signal(stage, primary, ROLE, Signal::STOP),
        lasts: OVER_THE_LEASE,
        mend: |stage, primary| signal(stage, primary, ROLE, Signal::CONT),
        stops_writes: false,
    },
    Scenario {
        name: "db-pause-both",
        about: "role and mariadbd of the primary are stopped for longer than the lease, then go on",
        fault: |stage, primary| {
            signal(stage, primary, ROLE, Signal::STOP)?;
            signal(stage, primary, MARIADBD, Signal::STOP)
        },
        lasts: OVER_THE_LEASE,
        mend: |stage, primary| {
            signal(stage, primary, MARIADBD, Signal::CONT)?;
            signal(stage, primary, ROLE, Signal::CONT)
        },
        stops_writes: false,
    },
    Scenario {
        name: "db-power-off-replica",
        about: "power cut of a replica's server",
        fault: |stage, primary| power_off(stage, &replica(stage, primary)?),
        lasts: OVER_THE_LEASE,
        mend: |stage, _| power_on_all(stage),
        stops_writes: false,
    },
    Scenario {
        name: "db-power-off-replicas",
        about: "power cut of all replicas' servers: the site goes on with one",
        fault: |stage, primary| replicas(stage, primary).iter().try_for_each(|replica| power_off(stage, replica)),
        lasts: OVER_THE_LEASE,
        mend: |stage, _| power_on_all(stage),
        // Two of three votes of the store may be theirs.
        stops_writes: true,
    },
    Scenario {
        name: "db-one-way-to-replicas",
        about: "nothing that the primary sends reaches its replicas; what they send reaches it",
        fault: |stage, primary| {
            let replicas = replicas(stage, primary);
            replicas.iter().try_for_each(|replica| stage.wires()?.drop_one_way(primary, replica))
        },
        lasts: OVER_THE_LEASE,
        mend: |stage, _| stage.wires()?.heal(),
        stops_writes: true,
    },
    Scenario {
        name: "db-one-way-from-replicas",
        about: "nothing that the replicas send reaches the primary; what it sends reaches them",
        fault: |stage, primary| {
            let replicas = replicas(stage, primary);
            replicas.iter().try_for_each(|replica| stage.wires()?.drop_one_way(replica, primary))
        },
        lasts: OVER_THE_LEASE,
        mend: |stage, _| stage.wires()?.heal(),
        stops_writes: true,
    },
    Scenario {
        name: "db-stopped-sql-thread",
        about: "no replica applies what it receives when the primary's mariadbd is killed",
        fault: |stage, primary| {
            for replica in replicas(stage, primary) {
                let inside = stage.inside(&replica, "");
                stage.runtime.block_on(inside.stop_applying())?;
            }
            kill(stage, primary, MARIADBD)
        },
        lasts: NOW,
        mend: nothing,
        stops_writes: false,
    },
    Scenario {
        name: "db-crash-all",
        about: "kill -9 of every mariadbd at once, replicas with what they had not applied",
        fault: |stage, _| stage.servers().iter().try_for_each(|server| kill(stage, server, MARIADBD)),
        lasts: NOW,
        mend: nothing,
        stops_writes: false,
    },
    Scenario {
        name: "db-power-off-all",
        about: "power cut of all database servers at once; they come back last one first",
        fault: |stage, _| stage.servers().iter().try_for_each(|server| power_off(stage, server)),
        lasts: Duration::from_secs(2),
        mend: |stage, _| power_on_all(stage),
        stops_writes: true,
    },
];

type Words = &'static [&'static str];
const MARIADBD: Words = &["mariadbd"];
const ROLE: Words = &["service", "database"];

fn nothing(_: &mut Stage, _: &ServerName) -> anyhow::Result<()> {
    Ok(())
}

fn kill(stage: &Stage, server: &ServerName, words: Words) -> anyhow::Result<()> {
    signal(stage, server, words, Signal::KILL)
}

fn signal(stage: &Stage, server: &ServerName, words: Words, signal: Signal) -> anyhow::Result<()> {
    let found = processes(&stage.namespace(server)?, words);
    ensure!(!found.is_empty(), "{server} runs no {}", words.join(" "));
    found.iter().for_each(|process| process.signal(signal));
    Ok(())
}

fn power_off(stage: &mut Stage, server: &ServerName) -> anyhow::Result<()> {
    stage.lab()?.power_cut(server)
}

fn power_on(stage: &mut Stage, server: &ServerName) -> anyhow::Result<()> {
    stage.lab()?.power_on_again(server).map(drop)
}

fn power_on_all(stage: &mut Stage) -> anyhow::Result<()> {
    for server in stage.servers().into_iter().rev() {
        if !stage.lab()?.is_on(&server) {
            power_on(stage, &server)?;
        }
    }
    Ok(())
}

fn replicas(stage: &Stage, primary: &ServerName) -> Vec<ServerName> {
    stage.servers().into_iter().filter(|server| server != primary).collect()
}

fn replica(stage: &Stage, primary: &ServerName) -> anyhow::Result<ServerName> {
    replicas(stage, primary).pop().context("there is no replica")
}

fn switchover(stage: &mut Stage, _: &ServerName) -> anyhow::Result<()> {
    let ask = Ask::Order { wish: Wish::Switchover { to: None } };
    stage.runtime.block_on(stage.databases.order(&ask))
}
