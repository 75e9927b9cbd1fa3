//! Processes stand still for longer than the lease, and then go on as if nothing had been.

use rustix::process::Signal;

use super::Scenario;
use super::act::{Act, MARIADBD, OVER_THE_LEASE, ROLE};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "db-pause-mariadbd",
        "the primary's mariadbd is stopped for longer than the lease, then goes on",
        |act| pause(act, &[MARIADBD]),
    ),
    Scenario::new(
        "db-pause-role",
        "the role of the primary is stopped for longer than the lease, then goes on",
        |act| pause(act, &[ROLE]),
    ),
    Scenario::new(
        "db-pause-both",
        "role and mariadbd of the primary are stopped for longer than the lease, then go on",
        |act| pause(act, &[ROLE, MARIADBD]),
    ),
    Scenario::new(
        "db-pause-server",
        "every process of the primary's server is stopped for longer than the lease, then all go on",
        pause_server,
    ),
];

fn pause(act: &mut Act<'_>, each: &[&[&str]]) -> anyhow::Result<()> {
    let primary = act.primary.clone();
    each.iter().try_for_each(|words| act.signal(&primary, words, Signal::STOP))?;
    act.goes_on("while it stood still")?;
    act.wait(OVER_THE_LEASE);
    // Whoever took its place may have killed it meanwhile.
    each.iter().rev().for_each(|words| drop(act.signal(&primary, words, Signal::CONT)));
    Ok(())
}

fn pause_server(act: &mut Act<'_>) -> anyhow::Result<()> {
    let primary = act.primary.clone();
    act.signal_all(&primary, Signal::STOP)?;
    let went_on = act.goes_on("while it stood still");
    act.wait(OVER_THE_LEASE);
    act.signal_all(&primary, Signal::CONT)?;
    went_on
}
