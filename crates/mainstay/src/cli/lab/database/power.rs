//! Servers lose their power.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_site::names::ServerName;

use super::Scenario;
use super::act::{Act, OVER_THE_LEASE};
use crate::cli::up::say;

/// Every server is off for so long, and between two that come back.
const ALL_OFF: Duration = Duration::from_secs(2);
const APART: Duration = Duration::from_millis(700);

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("db-power-off-primary", "power cut of the primary's server", |act| {
        let primary = act.primary.clone();
        off_and_on(act, &[primary], true)
    }),
    Scenario::new("db-power-off-replica", "power cut of a replica's server", |act| {
        let replica = act.replica()?;
        off_and_on(act, &[replica], true)
    }),
    Scenario::new("db-power-off-replicas", "power cut of all replicas' servers: the site goes on with one", |act| {
        // Two of three votes of the store may be theirs: then writes stop.
        let replicas = act.replicas();
        off_and_on(act, &replicas, false)
    }),
    Scenario::new(
        "db-power-off-all",
        "power cut of all database servers at once; they come back in any order",
        |act| {
            let servers = act.stage.servers();
            all_off(act, servers)
        },
    ),
    Scenario::new("db-power-off-site", "power cut of every server at once; they come back in any order", |act| {
        let servers = act.stage.site.servers.iter().map(|server| server.name.clone()).collect();
        all_off(act, servers)
    }),
];

fn off_and_on(act: &mut Act<'_>, servers: &[ServerName], writes_go_on: bool) -> anyhow::Result<()> {
    servers.iter().try_for_each(|server| act.power_off(server))?;
    if writes_go_on {
        act.goes_on("while the power was off")?;
    }
    act.wait(OVER_THE_LEASE);
    servers.iter().try_for_each(|server| act.power_on(server))
}

fn all_off(act: &mut Act<'_>, mut servers: Vec<ServerName>) -> anyhow::Result<()> {
    servers.iter().try_for_each(|server| act.power_off(server))?;
    act.wait(ALL_OFF);
    shuffle(&mut servers);
    say(&format!("  on again: {}", servers.iter().map(ServerName::as_str).collect::<Vec<_>>().join(", ")));
    for server in &servers {
        act.power_on(server)?;
        act.wait(APART);
    }
    Ok(())
}

/// Another order each time, which is printed.
fn shuffle(servers: &mut [ServerName]) {
    let mut chance = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos() as usize);
    for place in (1..servers.len()).rev() {
        servers.swap(place, chance % (place + 1));
        chance /= place + 1;
    }
}
