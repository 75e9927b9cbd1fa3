//! What ARCHITECTURE.md and dependencies.toml say of the crates, held against the crates.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod dependencies;
mod edges;
mod pure;
mod services;
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Asks cargo; what it links does not depend on the machine that runs the test.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).arg("--locked").current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A crate of ours, without what its tests need.
struct Member {
    /// Without `mainstay-`.
    name: String,
    /// Ours that it links, without `mainstay-`.
    ours: Vec<String>,
}

/// Every crate of the workspace with its direct dependencies.
fn metadata() -> Value {
    serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap()
}

/// Every crate below `crates/`.
fn members() -> Vec<Member> {
    let metadata = metadata();
    let crates = root().canonicalize().unwrap().join("crates");
    let packages = metadata["packages"].as_array().unwrap().iter();
    let members = packages.filter(|package| Path::new(package["manifest_path"].as_str().unwrap()).starts_with(&crates));
    members.map(member).collect()
}

fn member(package: &Value) -> Member {
    let linked = package["dependencies"].as_array().unwrap().iter().filter(|edge| edge["kind"] != "dev");
    let ours = linked.filter(|edge| edge["path"].is_string());
    Member { name: short(&package["name"]), ours: ours.map(|edge| short(&edge["name"])).collect() }
}

fn short(name: &Value) -> String {
    let name = name.as_str().unwrap();
    name.strip_prefix("mainstay-").unwrap_or(name).to_owned()
}

/// Third-party crates that `package` links on Linux, as `name version`, sorted.
fn linked(package: &str) -> Vec<String> {
    let target = "x86_64-unknown-linux-gnu";
    let tree = ["tree", "--package", package, "--edges", "normal,no-proc-macro", "--target", target];
    let text = cargo(&[&tree[..], &["--prefix", "none", "--format", "{p}"]].concat());
    // `serde v1.0.2 (*)` stands for one that was listed before, `site v0.1.0 (/path)` for one of ours.
    let lines = text.lines().filter(|line| !line.is_empty()).map(|line| line.trim_end_matches(" (*)"));
    let mut all: Vec<String> = lines.filter(|line| !line.contains('(')).map(|line| line.replace(" v", " ")).collect();
    all.sort();
    all.dedup();
    all
}
