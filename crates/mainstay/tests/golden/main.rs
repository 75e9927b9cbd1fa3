//! What a person reads, word for word.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod designs;
mod help;
mod schema;
mod wrong;

/// Runs the binary in `folder`.
fn mainstay(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    command.args(arguments).current_dir(folder).env_remove("COLUMNS").output().unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The exit codes that `mainstay help` documents.
const INVALID: i32 = 3;
const DENIED: i32 = 4;
