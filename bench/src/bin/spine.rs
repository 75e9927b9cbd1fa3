//! The newcomer's waits: how long `up`, `down` and `check` take, and how much memory an idle service holds.
//!
//! Needs root and a release build of the binary: `cargo build --release && cargo run --release -p mainstay-bench --bin spine`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use mainstay_bench::{Row, print};

/// Enough to see an outlier, few enough for a coffee.
const RUNS: usize = 5;
const SERVERS: usize = 1000;

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
    let binary = root().join("target/release/mainstay");
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
    let declaration = root().join(format!("designs/{design}.toml"));
    let declaration = declaration.to_str().context("the repository's path is text")?;
    let folder = tempfile::tempdir()?;
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
    timed(&["down", "foobar.com"])?;
    let (mut cold, mut warm, mut down, mut memory) = (vec![], vec![], vec![], vec![]);
    for _ in 0..RUNS {
        forget_servers(Path::new(state))?;
        cold.push(timed(&up)?);
        down.push(timed(&["down", "foobar.com"])?);
        warm.push(timed(&up)?);
        memory.push(largest()?);
        down.push(timed(&["down", "foobar.com"])?);
    }
    timed(&["down", "foobar.com", "--purge", "--yes"])?;
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

/// Resident megabytes of the largest Mainstay process that looks after the site.
fn largest() -> Result<f64> {
    let output = mainstay(&["status", "foobar.com", "--json"])?;
    let whole: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let services = whole["servers"].as_array().context("status lists servers")?.iter();
    let bytes = services.flat_map(|server| server["services"].as_array().into_iter().flatten());
    let largest = bytes.filter_map(|service| service["rss_bytes"].as_u64()).max().context("a service runs")?;
    Ok(largest as f64 / 1e6)
}
