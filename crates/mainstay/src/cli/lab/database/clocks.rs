//! Wall clocks jump.
//!
//! Only MariaDB's: a library (libfaketime) stands between it and its clock. Nothing else of a server is shown another time, and
//! nothing else goes by it: leases and deadlines are counted on clocks that do not jump (`CLOCK_BOOTTIME`, etcd's own).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use mainstay_site::names::ServerName;

use super::super::ground::Ground;
use super::Scenario;
use super::act::{Act, LEASE};

const DAY_S: i64 = 86_400;
/// The library looks at its file once a second, and the question takes a moment.
const CLOCK_OFF_S_MAX: i64 = 10;
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
    for (servers, days) in
        [(&primary[..], 1), (&primary[..], -1), (&replicas[..], 1), (&replicas[..], -1), (&replicas[..], 0)]
    {
        servers.iter().try_for_each(|server| act.stage.set_clock(server, &format!("{days:+}d")))?;
        act.wait(LEASE);
        servers.iter().try_for_each(|server| shows(act, server, days))?;
        act.goes_on(&format!("after a clock jumped to {days:+} d"))?;
    }
    act.stage.set_clock(&primary[0], "+0")?;
    let now = act.stage.primary()?;
    act.promise(now == primary[0], || format!("{} was replaced by {now}, because a clock jumped", primary[0]));
    Ok(())
}

/// Whether it really jumped.
fn shows(act: &Act<'_>, server: &ServerName, days: i64) -> anyhow::Result<()> {
    let shown = act.stage.runtime.block_on(act.stage.inside(server, "").clock())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let off = shown.cast_signed() - now.cast_signed() - days * DAY_S;
    ensure!(off.abs() < CLOCK_OFF_S_MAX, "{server}'s clock is {off} s off from where it was set");
    Ok(())
}
