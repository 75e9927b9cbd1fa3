//! Processes are killed.

use super::Scenario;
use super::act::{Act, MARIADBD, ROLE, SUPERVISOR};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("db-kill-mariadbd", "kill -9 of the primary's mariadbd", |act| kill(act, &[MARIADBD])),
    Scenario::new("db-kill-role", "kill -9 of the role that looks after the primary", |act| kill(act, &[ROLE])),
    Scenario::new("db-kill-both", "kill -9 of the primary's mariadbd and of its role", |act| {
        kill(act, &[ROLE, MARIADBD])
    }),
    Scenario::new("db-kill-supervisor", "kill -9 of the supervisor of the primary's server", |act| {
        kill(act, &[SUPERVISOR])
    }),
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
