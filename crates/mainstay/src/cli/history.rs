//! `mainstay history`: the generations of a site's configuration, and how far its servers follow the last.

use std::process::ExitCode;

use anyhow::Context;
use mainstay_node::clock::Utc;
use mainstay_site::model::FORMAT;
use mainstay_site::names::Domain;
use mainstay_site::wire::rollout::{Following, Progress, Standing, Summary, View};
use serde::Serialize;

use super::apply::fleet::Fleet;
use super::running::Which;
use super::up::runtime;
use crate::render::{self, Paint};

/// Show the generations of a site's configuration, and who follows which
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::HISTORY)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Told {
    format: u32,
    site: Domain,
    rollout: View,
    generations: Vec<Summary>,
}

/// Asks and prints.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let running = args.which.running()?;
    let site = running.site.clone();
    let fleet = Fleet::of(running, &site);
    let told = runtime()?.block_on(async {
        let rollout = fleet.settled_view().await?;
        let generations = fleet.generations().await?;
        anyhow::Ok(Told { format: FORMAT, site: site.domain.clone(), rollout, generations })
    })?;
    if args.json {
        render::print_json(&told)?;
    } else {
        render::print(&table(&told, &Paint(render::colour(&std::io::stdout()))));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(told: &Told, paint: &Paint) -> String {
    let mut out = String::new();
    for one in &told.generations {
        let now = if told.rollout.target == Some(one.generation) { "→" } else { " " };
        let releases: Vec<String> = one.codebases.iter().map(|it| format!("{} {}", it.app, it.release)).collect();
        let time = Utc(one.at_ms).to_string();
        out += &format!(
            "{now} {:>4}  {time}  {} servers  {}  {}\n",
            one.generation,
            one.servers,
            one.what,
            paint.dim(&releases.join(", "))
        );
    }
    if let Some(outcome) = &told.rollout.outcome {
        let state = match outcome.state {
            Progress::Converging => paint.yellow("is being followed"),
            Progress::Converged => paint.green("is followed"),
            Progress::Stopped => paint.red("has stopped"),
        };
        out += &format!("\ngeneration {} {state}: {}\n", outcome.generation, outcome.because);
    }
    let target = told.rollout.target.unwrap_or_default();
    let behind = |it: &&Standing| it.at < target || it.state != Following::Well;
    for standing in told.rollout.servers.iter().filter(behind) {
        let because = if standing.state == Following::Away { "is away" } else { &standing.because };
        out += &format!("  {} follows generation {}: {because}\n", standing.server, standing.at);
    }
    out
}

impl Fleet {
    /// The generations, as the first says them that can ask the store.
    async fn generations(&self) -> anyhow::Result<Vec<Summary>> {
        let mut last = None;
        for server in &self.running.site.servers {
            match self.client(&server.name)?.generations().await {
                Ok(all) if !all.is_empty() => return Ok(all),
                Ok(_) => {}
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error).context("no server can tell"),
            None => Ok(Vec::new()),
        }
    }
}
