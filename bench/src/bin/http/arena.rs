//! Where the bench takes place: a network namespace with the addresses of everybody in it.

use std::io;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, UnshareFlags, sched_setaffinity, unshare_unsafe};

/// The front doors.
pub const MAINSTAY: &str = "10.80.0.10";
pub const HAPROXY: &str = "10.80.0.20";
pub const NGINX: &str = "10.80.0.30";
pub const RELAY: &str = "10.80.0.40";
pub const VARNISH: &str = "10.80.0.50";
/// Mainstay once more, with two backends.
pub const FEW: &str = "10.80.0.60";

/// The machines behind them; all are this bench.
pub fn backends(count: usize) -> impl Iterator<Item = Ipv4Addr> {
    (0..count).map(|number| Ipv4Addr::from_bits(Ipv4Addr::new(10, 81, 0, 1).to_bits() + number as u32))
}

/// The core of the contenders, and the one of clients and backends.
pub const THEIR_CORE: &str = "0";
const OUR_CORE: usize = 1;
/// Twice as many as the most connections of a case.
const OPEN_FILES: u64 = 20_000;

/// Leaves the host's network for one of its own, and moves to the core of the clients.
pub fn enter() -> Result<()> {
    // SAFETY: unsharing is unsafe only for the descriptor table, which stays shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("the bench makes a network namespace: run it as root")?;
    ip(&["link", "set", "lo", "up"])?;
    for address in [MAINSTAY, HAPROXY, NGINX, RELAY, VARNISH, FEW] {
        ip(&["address", "add", &format!("{address}/32"), "dev", "lo"])?;
    }
    ip(&["route", "add", "local", "10.81.0.0/16", "dev", "lo"])?;
    // Ten thousand connections, in each of the programs.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    ensure!(
        maximum.is_none_or(|maximum| maximum >= OPEN_FILES),
        "the bench needs {OPEN_FILES} descriptors (ulimit -Hn)"
    );
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
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
