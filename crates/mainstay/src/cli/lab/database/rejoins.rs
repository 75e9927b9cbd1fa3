//! Failures while a server comes back, and after it did.

use std::time::Duration;

use anyhow::Context;
use mainstay_site::wire::database::{Server, Wish};

use super::Scenario;
use super::act::{Act, MARIADBD, OVER_THE_LEASE};

/// Until somebody else leads.
const ELECTED: Duration = Duration::from_secs(30);
/// Until a clone of some megabytes is a member.
const CLONED: Duration = Duration::from_secs(60);

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "db-second-failure",
        "the new primary's mariadbd is killed while the old one comes back as a replica",
        second_failure,
    ),
    Scenario::new(
        "db-promoted-clone",
        "a replica that was just copied anew is all that is left, and becomes the primary",
        clone,
    ),
];

fn second_failure(act: &mut Act<'_>) -> anyhow::Result<()> {
    act.kill(&act.primary, MARIADBD)?;
    let next = act.another_leads(ELECTED)?;
    act.kill(&next, MARIADBD)
}

fn clone(act: &mut Act<'_>) -> anyhow::Result<()> {
    let (copied, other) = {
        let replicas = act.replicas();
        let [copied, other] = replicas.as_slice() else { anyhow::bail!("this takes two replicas") };
        (copied.clone(), other.clone())
    };
    let position =
        |act: &Act<'_>| act.agreed().ok().and_then(|agreed| agreed.cluster.map(|cluster| cluster.sync.len()));
    act.order(Wish::Rejoin { server: Server::from(&copied) })?;
    act.until(CLONED, || format!("{copied} does not leave the others"), |act| Ok(position(act) == Some(1)))?;
    act.until(CLONED, || format!("{copied} is no member again"), |act| Ok(position(act) == Some(2)))?;
    act.power_off(&other)?;
    let alone = |act: &Act<'_>| Ok(act.sync().is_ok_and(|sync| sync == [copied.clone()]));
    act.until(CLONED, || format!("{other} is still relied on"), alone)?;
    act.goes_on("with the copy alone")?;
    let primary = act.primary.clone();
    act.power_off(&primary)?;
    // With one vote of three nothing can be decided: the store's members come back first.
    act.power_on(&other)?;
    let next = act.another_leads(ELECTED).context("the copy does not take over")?;
    act.promise(next == copied, || format!("{next} was promoted, and not the copy {copied}"));
    act.wait(OVER_THE_LEASE);
    act.power_on(&primary)
}
