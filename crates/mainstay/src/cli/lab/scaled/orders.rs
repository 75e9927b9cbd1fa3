//! What an operator orders, by the verbs that operators have: each is a process of its own, which can be killed.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mainstay_site::names::Generation;
use mainstay_site::wire::rollout::{Progress, View};

use super::super::patience::until;
use super::super::stage::Stage;
use crate::cli::up::book_first;

/// Until the first generation is in the servers' books.
const BOOKED: Duration = Duration::from_secs(30);
/// Until servers agree again after something died, with as much for those that were away.
const CONVERGES: Duration = Duration::from_secs(150);
/// What an order to a dozen servers on two busy cores may take before the scenario is given up.
const ORDER: Duration = Duration::from_secs(300);

/// Notes the generation with which the site was brought up, as `mainstay up` does.
pub fn book(stage: &Stage) -> anyhow::Result<()> {
    until(BOOKED, || {
        let servers = stage.site.servers.iter().map(|server| &server.name);
        let booked = book_first(&stage.folder, &stage.site, &stage.prepared, "site.toml", servers);
        Ok((!stage.runtime.block_on(booked)).then(|| "the first generation is not in all servers' books".into()))
    })
}

/// Runs `mainstay` with these words to its end; how long it took and what came of it.
pub fn order(words: &[&str]) -> anyhow::Result<(Duration, Output)> {
    let begun = Instant::now();
    let mut child = begin(words)?;
    let ended = until(ORDER, || Ok(child.try_wait()?.is_none().then(|| "it has not ended".into())));
    if ended.is_err() {
        child.kill()?;
    }
    let took = begun.elapsed();
    let output = child.wait_with_output()?;
    ended.with_context(|| format!("mainstay {}: {}", words.join(" "), said(&output)))?;
    Ok((took, output))
}

/// The same, which must succeed.
pub fn carried_out(words: &[&str]) -> anyhow::Result<Duration> {
    let (took, output) = order(words)?;
    ensure!(output.status.success(), "mainstay {}: {}", words.join(" "), said(&output));
    Ok(took)
}

/// Begins it only.
pub fn begin(words: &[&str]) -> anyhow::Result<Child> {
    let own = std::env::current_exe().context("this program's own file cannot be found")?;
    let mut command = Command::new(own);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("mainstay {} cannot be started", words.join(" ")))
}

/// Both streams of what was said.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Writes another declaration into the site's file; gives the file.
pub fn declare(stage: &Stage, change: impl FnOnce(String) -> String) -> anyhow::Result<PathBuf> {
    let file = stage.root.join("site.toml");
    let before = fs::read_to_string(&file)?;
    let after = change(before.clone());
    ensure!(before != after, "the declaration does not change");
    fs::write(&file, after)?;
    Ok(file)
}

/// Has the servers follow the site's file, and waits for them.
pub fn apply(stage: &Stage) -> anyhow::Result<Duration> {
    let file = stage.root.join("site.toml");
    carried_out(&["apply", "--yes", "--wait", &file.display().to_string()])
}

/// How far the rollout is, as the first server says that knows.
pub fn rollout(stage: &Stage) -> Option<View> {
    stage.site.servers.iter().find_map(|server| {
        let view = stage.runtime.block_on(stage.control(&server.name).rollout()).ok()?;
        view.unreachable.is_none().then_some(view)
    })
}

/// What is to be followed.
pub fn target(stage: &Stage) -> anyhow::Result<Generation> {
    rollout(stage).and_then(|view| view.target).context("no server knows what is to be followed")
}

/// Waits until every server follows the same generation, and whoever leads says so.
pub fn converged(stage: &Stage) -> anyhow::Result<()> {
    until(CONVERGES, || Ok(differing(stage)))
}

fn differing(stage: &Stage) -> Option<String> {
    let Some(View { target: Some(target), outcome: Some(outcome), .. }) = rollout(stage) else {
        return Some("no server knows what is to be followed".into());
    };
    if (outcome.generation, outcome.state) != (target, Progress::Converged) {
        return Some(format!("generation {target} is not followed yet: {}", outcome.because));
    }
    stage.site.servers.iter().find_map(|server| {
        let status = stage.runtime.block_on(stage.control(&server.name).status());
        match status {
            Ok(status) if status.generation == target => None,
            Ok(status) => Some(format!("{} follows generation {}", server.name, status.generation)),
            Err(error) => Some(format!("{}: {error}", server.name)),
        }
    })
}
