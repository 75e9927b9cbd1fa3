//! Wall clocks jump.
//!
//! Only MariaDB's: a library (libfaketime) stands between it and its clock. Nothing else of a server is shown another time, and
//! nothing else goes by it: leases and deadlines are counted on clocks that do not jump (`CLOCK_BOOTTIME`, etcd's own).

use std::time::Duration;

use super::super::ground::Ground;
use super::Scenario;
use super::act::{Act, LEASE};

/// Nobody has a reason to be replaced.
const GAP: Duration = Duration::from_millis(1_500);

pub const SCENARIOS: &[Scenario] = &[Scenario::new(
    "db-clock-jump",
    "MariaDB's clock jumps a day ahead on the primary, then a day back, then on all replicas",
    jump,
)
.on(Ground::FakedClocks)];

fn jump(act: &mut Act<'_>) -> anyhow::Result<()> {
    act.promised.gap_max = Some(GAP);
    let primary = [act.primary.clone()];
    let replicas = act.replicas();
    for (servers, offset) in [
        (&primary[..], "+1d"),
        (&primary[..], "-1d"),
        (&replicas[..], "+1d"),
        (&replicas[..], "-1d"),
        (&replicas[..], "+0"),
    ] {
        servers.iter().try_for_each(|server| act.stage.set_clock(server, offset))?;
        act.wait(LEASE);
        act.goes_on(&format!("after a clock jumped by {offset}"))?;
    }
    act.stage.set_clock(&primary[0], "+0")?;
    let now = act.stage.primary()?;
    act.promise(now == primary[0], || format!("{} was replaced by {now}, because a clock jumped", primary[0]));
    Ok(())
}
