//! Cables and one-way partitions.

use std::time::Duration;

use mainstay_lab::{Cable, Loss};
use mainstay_site::names::{Role, ServerName};

use super::Scenario;
use super::act::{Act, OVER_THE_LEASE};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("db-cut-off-primary", "the cable of the primary's server is pulled", |act| {
        act.stage.wires()?.cable(&act.primary, Cable::Pulled)?;
        act.goes_on("while the cable was pulled")?;
        act.wait(OVER_THE_LEASE);
        act.stage.wires()?.cable(&act.primary, Cable::Plugged)
    }),
    Scenario::new(
        "db-one-way-to-replicas",
        "nothing that the primary sends reaches its replicas; what they send reaches it",
        |act| between(act, |primary, replica| Loss { from: Some(primary), to: Some(replica), ports: &[] }),
    ),
    Scenario::new(
        "db-one-way-from-replicas",
        "nothing that the replicas send reaches the primary; what it sends reaches them",
        |act| between(act, |primary, replica| Loss { from: Some(replica), to: Some(primary), ports: &[] }),
    ),
    Scenario::new(
        "db-one-way-out",
        "nothing that the primary sends reaches anybody; what others send reaches it",
        |act| {
            act.stage.wires()?.lose(Loss { from: Some(&act.primary), ..Loss::default() })?;
            act.goes_on("while nothing came out")?;
            heal(act)
        },
    ),
    Scenario::new(
        "db-one-way-in",
        "nothing that anybody sends reaches the primary; what it sends reaches them",
        |act| {
            act.stage.wires()?.lose(Loss { to: Some(&act.primary), ..Loss::default() })?;
            act.goes_on("while nothing came in")?;
            heal(act)
        },
    ),
    Scenario::new(
        "db-cut-off-from-clients",
        "the primary is cut off from the clients, and from nobody else: it stays the primary, replicas are read, no statement hangs",
        cut_off_from_clients,
    ),
];

fn between(act: &mut Act<'_>, loss: for<'a> fn(&'a ServerName, &'a ServerName) -> Loss<'a>) -> anyhow::Result<()> {
    for replica in act.replicas() {
        act.stage.wires()?.lose(loss(&act.primary, &replica))?;
    }
    heal(act)
}

fn heal(act: &mut Act<'_>) -> anyhow::Result<()> {
    act.wait(OVER_THE_LEASE);
    act.stage.wires()?.heal()
}

/// The endpoint gives a server up that it has not heard of for 6 s; the kernel looks at that when it sends again.
const GIVEN_UP: Duration = Duration::from_secs(9);

/// A primary that all others reach is none that has failed: to replace it for what one application server sees would be worse.
fn cut_off_from_clients(act: &mut Act<'_>) -> anyhow::Result<()> {
    let clients: Vec<ServerName> = act.stage.site.with_role(Role::App).map(|server| server.name.clone()).collect();
    act.promised.answer_max = Some(GIVEN_UP);
    let ports = [act.stage.client_port(&act.primary)?];
    for client in &clients {
        let wires = act.stage.wires()?;
        wires.lose(Loss { from: Some(client), to: Some(&act.primary), ports: &ports })?;
        wires.lose(Loss { from: Some(&act.primary), to: Some(client), ports: &ports })?;
    }
    heal(act)?;
    let primary = act.stage.primary()?;
    let before = act.primary.clone();
    act.promise(primary == before, || {
        format!("{before} was replaced by {primary}, though only clients did not reach it")
    });
    Ok(())
}
