//! Where the bench takes place: a network namespace with the addresses of everybody in it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, UnshareFlags, sched_setaffinity, unshare_unsafe};

/// The application server, whose endpoint is on its loopback.
pub const APP: &str = "10.80.0.10";
/// The peer.
pub const HAPROXY: &str = "10.80.0.20";
/// The database server.
pub const DATABASE: &str = "10.80.0.60";

/// The core of the contenders, and the one of clients and database.
pub const THEIR_CORE: &str = "0";
const OUR_CORE: usize = 1;

/// Leaves the host's network for one of its own, and moves to the core of clients and database.
pub fn enter() -> Result<()> {
    // SAFETY: unsharing is unsafe only for the descriptor table, which stays shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("the bench makes a network namespace: run it as root")?;
    ip(&["link", "set", "lo", "up"])?;
    for address in [APP, HAPROXY, DATABASE] {
        ip(&["address", "add", &format!("{address}/32"), "dev", "lo"])?;
    }
    let mut cores = CpuSet::new();
    cores.set(OUR_CORE);
    sched_setaffinity(None, &cores).context("the bench needs two cores")
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

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the packages that `bench/peers` unpacked.
pub fn peer(path: &str) -> Result<PathBuf> {
    let found = root().join(".cache/peers/usr").join(path);
    ensure!(found.exists(), "{} is missing: run bench/peers", found.display());
    Ok(found.canonicalize()?)
}

/// The shipped binary, built as this one is.
pub fn mainstay() -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("mainstay");
    ensure!(beside.exists(), "{} is missing: cargo build --release --workspace", beside.display());
    Ok(beside)
}
