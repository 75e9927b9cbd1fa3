//! Varnish. It logs into its own shared memory, which nobody reads here.

use std::path::Path;

use anyhow::{Context, Result};
use mainstay_bench::arena::{peer, word};

use crate::arena::{self, VARNISH};

pub fn command(folder: &Path) -> Result<Vec<String>> {
    let backend = arena::backends(1).next().map(|address| format!("{address}:8080")).context("a backend")?;
    let words = ["-F", "-j", "none", "-a", &format!("{VARNISH}:80"), "-b", &backend, "-s", "malloc,64m"];
    let words = words.into_iter().map(String::from);
    let libraries = format!("LD_LIBRARY_PATH={}", word(&peer("lib/x86_64-linux-gnu")?));
    let program = ["env".into(), libraries, word(&peer("sbin/varnishd")?), "-n".into(), word(&folder.join("work"))];
    Ok(program.into_iter().chain(words).collect())
}
