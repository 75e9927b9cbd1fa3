//! Replicas that have not applied what they acknowledged.

use std::time::Duration;

use mainstay_lab::scenario::Held;

use super::Scenario;
use super::act::{Act, MARIADBD, OVER_THE_LEASE};

/// So much is received and not applied.
const BEHIND: Duration = Duration::from_secs(3);

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "db-stopped-sql-thread",
        "no replica applies what it receives when the primary's mariadbd is killed",
        |act| {
            for replica in act.replicas() {
                act.stage.runtime.block_on(act.stage.inside(&replica, "").stop_applying())?;
            }
            act.kill(&act.primary, MARIADBD)
        },
    ),
    Scenario::new(
        "db-lagging-sql-thread",
        "every replica is seconds behind when the primary's mariadbd is killed",
        |act| {
            let held = hold(act)?;
            act.wait(BEHIND);
            act.kill(&act.primary, MARIADBD)?;
            drop(held);
            Ok(())
        },
    ),
    Scenario::new(
        "db-crash-unapplied",
        "replicas crash with what they acknowledged and did not apply, and the primary's server loses its power",
        crash_unapplied,
    ),
];

fn hold(act: &Act<'_>) -> anyhow::Result<Vec<Held>> {
    let hold = |replica| act.stage.runtime.block_on(act.stage.inside(&replica, "").hold_applying());
    act.replicas().into_iter().map(hold).collect()
}

/// What was acknowledged meanwhile is nowhere but in their relay logs.
fn crash_unapplied(act: &mut Act<'_>) -> anyhow::Result<()> {
    let held = hold(act)?;
    act.wait(BEHIND);
    let primary = act.primary.clone();
    act.power_off(&primary)?;
    act.replicas().iter().try_for_each(|replica| act.kill(replica, MARIADBD))?;
    drop(held);
    act.goes_on("while the primary was off")?;
    act.wait(OVER_THE_LEASE);
    act.power_on(&primary)
}
