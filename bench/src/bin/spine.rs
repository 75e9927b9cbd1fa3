//! The newcomer's waits: how long `up`, `down` and `check` take, and how much memory an idle service holds.
//!
//! Needs root and a release build: `bin/release && target/shipped/release/spine`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use mainstay_bench::arena::mainstay as binary;
use mainstay_bench::{Row, print};

/// Enough to see an outlier, few enough for a coffee.
const RUNS: usize = 5;
const SERVERS: usize = 1000;
/// A site of its own, so that one that runs here is left alone.
const DOMAIN: &str = "bench.test";

fn main() -> Result<()> {
    let mut rows = vec![check()?];
    for (short, design) in [("D0", "0-simple"), ("D1", "1-distributed")] {
        rows.extend(up_and_down(short, design)?);
    }
    print(&rows)?;
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn mainstay(arguments: &[&str]) -> Result<std::process::Output> {
    let binary = binary()?;
    Command::new(&binary).args(arguments).output().with_context(|| format!("cannot run {}", binary.display()))
}

/// Runs the binary and gives the seconds that it took.
fn timed(arguments: &[&str]) -> Result<f64> {
    let start = Instant::now();
    let output = mainstay(arguments)?;
    ensure!(output.status.success(), "mainstay {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(start.elapsed().as_secs_f64())
}

fn check() -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("site.toml");
    let code = root().join("examples/guestbook-flask").canonicalize()?;
    let mut text = format!(
        "format = 1\n[site]\ndomain = \"foobar.com\"\n[app]\npath = {code:?}\nkind = \"wsgi\"\nentry = \"guestbook:app\"\n"
    );
    for number in 0..SERVERS {
        let role = match number {
            0..2 => "\"dns\", \"balancer\"",
            2..300 => "\"web\"",
            300..990 => "\"app\"",
            _ => "\"database\"",
        };
        let (high, low) = (number / 250, number % 250 + 1);
        text.push_str(&format!("[servers.s{number}]\naddress = \"10.80.{high}.{low}\"\nroles = [{role}]\n"));
    }
    std::fs::write(&file, text)?;
    let file = file.to_str().context("a temporary path is text")?;
    let figures = (0..RUNS).map(|_| timed(&["check", file])).collect::<Result<Vec<_>>>()?;
    Ok(Row::alone(format!("check of {SERVERS} servers"), &figures, "s"))
}

fn up_and_down(short: &str, design: &str) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(root().join(format!("designs/{design}.toml")))?;
    let examples = root().join("examples").canonicalize()?;
    let examples = examples.to_str().context("the repository's path is text")?;
    let folder = tempfile::tempdir()?;
    let declaration = folder.path().join("site.toml");
    std::fs::write(&declaration, text.replace("foobar.com", DOMAIN).replace("../examples", examples))?;
    let declaration = declaration.to_str().context("a temporary path is text")?;
    let _running = Running;
    let state = folder.path().join("state");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let state = state.to_str().context("a temporary path is text")?;
    let up = [
        "up",
        declaration,
        "--detach",
        "--state",
        state,
        "--http",
        "18080",
        "--https",
        "18443",
        "--dns",
        "15300",
        "--page",
        "19080",
    ];
    // The codebase's dependencies are made once, outside the measurement.
    timed(&up)?;
    timed(&["down", DOMAIN])?;
    let (mut cold, mut warm, mut down, mut memory) = (vec![], vec![], vec![], vec![]);
    for _ in 0..RUNS {
        forget_servers(Path::new(state))?;
        cold.push(timed(&up)?);
        down.push(timed(&["down", DOMAIN])?);
        warm.push(timed(&up)?);
        memory.push(largest()?);
        down.push(timed(&["down", DOMAIN])?);
    }
    timed(&["down", DOMAIN, "--purge", "--yes"])?;
    Ok(vec![
        Row::alone(format!("{short} up, no data yet"), &cold, "s"),
        Row::alone(format!("{short} up, with data"), &warm, "s"),
        Row::alone(format!("{short} down"), &down, "s"),
        Row::alone(format!("{short} largest idle process"), &memory, "MB"),
    ])
}

/// Deletes every server's state and keeps what the site shares: releases and Python environments.
fn forget_servers(state: &Path) -> Result<()> {
    for entry in std::fs::read_dir(state)? {
        let path = entry?.path();
        if path.join("store.redb").exists() {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Resident megabytes of the largest Mainstay process: `up`, process 1 and the supervisor of every server, the services.
fn largest() -> Result<f64> {
    let binary = binary()?.canonicalize()?;
    let mut largest = 0_u64;
    for entry in std::fs::read_dir("/proc")? {
        let process = entry?.path();
        // A process that ends meanwhile is not idle.
        if !std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe == binary) {
            continue;
        }
        let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
        let kib =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok());
        largest = largest.max(kib.unwrap_or_default());
    }
    ensure!(largest > 0, "no process of {} runs", binary.display());
    Ok(largest as f64 * 1024.0 / 1e6)
}

/// The site of the bench; ended however the bench ends.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing to end is the usual case.
        let _ = mainstay(&["down", DOMAIN]);
    }
}
