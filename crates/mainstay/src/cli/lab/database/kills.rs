//! Processes are killed.

use anyhow::ensure;
use mainstay_lab::scenario::processes;
use rustix::process::Signal;

use super::Scenario;
use super::act::{Act, INIT, MARIADBD, ROLE, SUPERVISOR};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("db-kill-mariadbd", "kill -9 of the primary's mariadbd", |act| kill(act, &[MARIADBD])),
    Scenario::new("db-kill-role", "kill -9 of the role that looks after the primary", |act| kill(act, &[ROLE])),
    Scenario::new("db-kill-both", "kill -9 of the primary's mariadbd and of its role", |act| {
        kill(act, &[ROLE, MARIADBD])
    }),
    Scenario::new("db-kill-supervisor", "kill -9 of the supervisor of the primary's server", kill_supervisor),
    Scenario::new(
        "db-crash-all",
        "kill -9 of every mariadbd at once, replicas with what they had not applied",
        crash_all,
    ),
];

fn kill(act: &mut Act<'_>, each: &[&[&str]]) -> anyhow::Result<()> {
    let primary = act.primary.clone();
    each.iter().try_for_each(|words| act.kill(&primary, words))
}

fn crash_all(act: &mut Act<'_>) -> anyhow::Result<()> {
    act.stage.servers().iter().try_for_each(|server| act.kill(server, MARIADBD))
}

/// Not the lab's init: its command line names the supervisor too, and its end is the server's.
fn kill_supervisor(act: &mut Act<'_>) -> anyhow::Result<()> {
    let namespace = act.stage.namespace(&act.primary)?;
    let init = processes(&namespace, INIT);
    let found: Vec<_> = processes(&namespace, SUPERVISOR).into_iter().filter(|found| !init.contains(found)).collect();
    ensure!(!found.is_empty(), "{} runs no supervisor", act.primary);
    found.iter().for_each(|process| process.signal(Signal::KILL));
    Ok(())
}
