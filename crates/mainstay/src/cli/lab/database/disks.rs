//! Disks fill up.

use mainstay_site::names::ServerName;

use super::super::ground::Ground;
use super::Scenario;
use super::act::{Act, OVER_THE_LEASE};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("db-disk-full-primary", "the disk of the primary is full for some seconds", |act| {
        let primary = act.primary.clone();
        fill(act, &primary)
    })
    .on(Ground::SmallDisks),
    Scenario::new("db-disk-full-replica", "the disk of a replica is full for some seconds", |act| {
        let replica = act.replica()?;
        fill(act, &replica)
    })
    .on(Ground::SmallDisks),
];

fn fill(act: &mut Act<'_>, server: &ServerName) -> anyhow::Result<()> {
    act.stage.fill_disk(server)?;
    let went_on = act.goes_on("while the disk was full");
    act.wait(OVER_THE_LEASE);
    act.stage.free_disks()?;
    went_on
}
