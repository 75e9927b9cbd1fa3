//! Where the bench takes place: a network namespace with the addresses of everybody in it.

use std::io;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, UnshareFlags, sched_setaffinity, unshare_unsafe};

/// The front doors.
pub const MAINSTAY: &str = "10.80.0.10";
pub const HAPROXY: &str = "10.80.0.20";
pub const NGINX: &str = "10.80.0.30";
pub const RELAY: &str = "10.80.0.40";
/// The machines behind them; all are this bench.
pub const BACKENDS: [&str; 2] = ["10.80.0.111", "10.80.0.112"];

/// The core of the contenders, and the one of clients and backends.
pub const THEIR_CORE: &str = "0";
const OUR_CORE: usize = 1;

/// Leaves the host's network for one of its own, and moves to the core of the clients.
pub fn enter() -> Result<()> {
    // SAFETY: unsharing is unsafe only for the descriptor table, which stays shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("the bench makes a network namespace: run it as root")?;
    ip(&["link", "set", "lo", "up"])?;
    for address in [MAINSTAY, HAPROXY, NGINX, RELAY].iter().chain(&BACKENDS) {
        ip(&["address", "add", &format!("{address}/32"), "dev", "lo"])?;
    }
    let mut cores = CpuSet::new();
    cores.set(OUR_CORE);
    sched_setaffinity(None, &cores).context("the bench needs two cores")?;
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("ip is in iproute2")?;
    ensure!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A folder that everybody may read.
pub fn folder() -> io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("mainstay-bench-").tempdir()?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(folder)
}
