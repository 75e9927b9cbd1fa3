//! Who is where, and how many connections each may have.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use mainstay_bench::arena;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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

/// Twice as many as the most connections of a case.
const OPEN_FILES: u64 = 20_000;

/// Leaves the host's network for one of its own.
pub fn enter() -> Result<()> {
    arena::enter(&[MAINSTAY, HAPROXY, NGINX, RELAY, VARNISH, FEW])?;
    arena::ip(&["route", "add", "local", "10.81.0.0/16", "dev", "lo"])?;
    // Ten thousand connections, in each of the programs.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    ensure!(
        maximum.is_none_or(|maximum| maximum >= OPEN_FILES),
        "the bench needs {OPEN_FILES} descriptors (ulimit -Hn)"
    );
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    Ok(())
}
