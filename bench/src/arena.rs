//! Where a bench takes place: a network namespace with the addresses of everybody in it, the contenders on one core, clients
//! and what is behind the contenders on the other.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, UnshareFlags, sched_setaffinity, unshare_unsafe};

/// The core of the contenders.
pub const THEIR_CORE: &str = "0";
/// The one of everybody else.
const OUR_CORE: usize = 1;

/// Leaves the host's network for one of its own that has `addresses`, and moves to the core of the clients.
///
/// # Errors
/// Without root, without a second core, or without iproute2.
pub fn enter(addresses: &[&str]) -> Result<()> {
    // SAFETY: unsharing is unsafe only for the descriptor table, which stays shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("the bench makes a network namespace: run it as root")?;
    ip(&["link", "set", "lo", "up"])?;
    for address in addresses {
        ip(&["address", "add", &format!("{address}/32"), "dev", "lo"])?;
    }
    let mut cores = CpuSet::new();
    cores.set(OUR_CORE);
    sched_setaffinity(None, &cores).context("the bench needs two cores")
}

/// Runs ip(8).
///
/// # Errors
/// What it says.
pub fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("ip is in iproute2")?;
    ensure!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A folder that everybody may read.
///
/// # Errors
/// It cannot be made.
pub fn folder() -> io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("mainstay-bench-").tempdir()?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(folder)
}

/// A file of the packages that `bench/peers` unpacked, below their `/usr`.
///
/// # Errors
/// It is not there.
pub fn peer(path: &str) -> Result<PathBuf> {
    fetched(&format!("peers/usr/{path}"))
}

/// Something else that `bench/peers` fetched.
///
/// # Errors
/// It is not there.
pub fn fetched(path: &str) -> Result<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache").join(path);
    ensure!(found.exists(), "{} is missing: run bench/peers", found.display());
    Ok(found.canonicalize()?)
}

/// The shipped binary, built as this one is.
///
/// # Errors
/// It is not there.
pub fn mainstay() -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("mainstay");
    ensure!(beside.exists(), "{} is missing: cargo build --release --workspace", beside.display());
    Ok(beside)
}

/// Asks a process to end, and waits for it.
pub fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
    let _ = child.wait();
}

/// Starts a contender on its core, in a session of its own, as systemd does: where the kernel shares the processor among sessions
/// (sched(7), autogroup), who is in that of the load goes behind it.
///
/// # Errors
/// If util-linux is missing.
pub fn started(argv: &[String], output: &File) -> Result<Child> {
    let mut command = Command::new("setsid");
    command.args(["taskset", "--cpu-list", THEIR_CORE]).args(argv).stdin(Stdio::null());
    let child = command.stdout(output.try_clone()?).stderr(output.try_clone()?).spawn();
    child.context("setsid is in util-linux")
}

/// A path as an argument.
pub fn word(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
