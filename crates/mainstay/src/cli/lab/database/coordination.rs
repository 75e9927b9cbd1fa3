//! The store fails, or cannot be reached.

use std::time::Duration;

use anyhow::Context;
use mainstay_lab::Loss;
use mainstay_site::names::ServerName;

use super::Scenario;
use super::act::{Act, ETCD, LEASE, OVER_THE_LEASE};

/// etcd's leader notices that it has no quorum within its election timeout, and ends no lease before.
const NOTICED: Duration = Duration::from_secs(1);
/// A statement that was on its way.
const UNDER_WAY: Duration = Duration::from_millis(500);
/// Writes go on within this time after the quorum is back.
const RESUMED: Duration = Duration::from_secs(3);
/// Readers are asked every 20 ms, and are cut once from who led.
const READS: Duration = Duration::from_secs(1);

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "db-cut-off-from-store",
        "the primary is cut off from the store, and neither from clients nor from replicas",
        |act| cut_off(act, true, true),
    ),
    Scenario::new("db-one-way-to-store", "nothing that the primary sends reaches the store", |act| {
        cut_off(act, true, false)
    }),
    Scenario::new("db-one-way-from-store", "nothing that the store sends reaches the primary", |act| {
        cut_off(act, false, true)
    }),
    Scenario::new(
        "db-store-leader-and-primary",
        "the store's leader is killed when the primary's server loses its power",
        both,
    ),
    Scenario::new(
        "db-store-quorum-lost",
        "no member of the store reaches another: writes stop within the lease, reads stay, writes go on within 3 s",
        quorum_lost,
    ),
];

fn cut_off(act: &mut Act<'_>, out: bool, back: bool) -> anyhow::Result<()> {
    let ports = act.stage.store_ports();
    let wires = act.stage.wires()?;
    if out {
        wires.lose(Loss { from: Some(&act.primary), to: None, ports: &ports })?;
    }
    if back {
        wires.lose(Loss { from: None, to: Some(&act.primary), ports: &ports })?;
    }
    act.goes_on("while the primary was cut off from the store")?;
    act.wait(OVER_THE_LEASE);
    act.stage.wires()?.heal()
}

fn both(act: &mut Act<'_>) -> anyhow::Result<()> {
    let leader: ServerName = act.stage.store_leader()?.context("the store has no leader")?;
    let primary = act.primary.clone();
    if leader != primary {
        act.kill(&leader, ETCD)?;
    }
    act.power_off(&primary)?;
    act.goes_on("while the primary was off")?;
    act.wait(OVER_THE_LEASE);
    act.power_on(&primary)
}

fn quorum_lost(act: &mut Act<'_>) -> anyhow::Result<()> {
    act.promised.read_gap_max = Some(READS);
    let ports = act.stage.store_ports();
    let lost = act.workload.now();
    act.stage.wires()?.lose(Loss { ports: &ports, ..Loss::default() })?;
    act.wait(OVER_THE_LEASE + NOTICED);
    let last = act.workload.last_acknowledged().unwrap_or_default();
    let most = NOTICED + LEASE + UNDER_WAY;
    act.promise(last <= lost + most, || {
        format!("a write was acknowledged {} ms after the quorum was lost", last.saturating_sub(lost).as_millis())
    });
    let back = act.workload.now();
    act.stage.wires()?.heal()?;
    act.goes_on("after the quorum was back")?;
    let resumed = act.workload.acknowledged_after(last).unwrap_or(act.workload.now()).saturating_sub(back);
    act.promise(resumed <= RESUMED, || format!("writes went on {} ms after the quorum was back", resumed.as_millis()));
    Ok(())
}
