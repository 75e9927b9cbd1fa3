//! `mainstay serve --server NAME`: the supervisor of one server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use mainstay_node::supervisor::{self, Options};
use mainstay_site::plan::Plan;

/// Run one server: everything its plan says, until it is stopped.
#[derive(clap::Args)]
pub struct Args {
    /// Which server of the site this is.
    #[arg(long)]
    server: String,
    /// Where everything is kept [default: /var/lib/mainstay/SITE/SERVER for root, else below ~/.local/state/mainstay].
    #[arg(long)]
    state: Option<PathBuf>,
    /// The server's plan, as `mainstay plan --json` prints it; the stored one if it is newer.
    #[arg(long)]
    plan: Option<PathBuf>,
}

/// Supervises until it is told to stop.
pub fn run(args: Args) -> ExitCode {
    mainstay_node::log::start();
    let options = match options(args) {
        Ok(options) => options,
        Err(error) => {
            tracing::error!("{error:#}");
            return ExitCode::from(2);
        }
    };
    match supervisor::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.code())
        }
    }
}

fn options(args: Args) -> anyhow::Result<Options> {
    let plan = args.plan.as_deref().map(|path| read(path, &args.server)).transpose()?;
    let state = match (args.state, &plan) {
        (Some(state), _) => state,
        (None, Some(plan)) => supervisor::default_state(&plan.site, &plan.server),
        (None, None) => return Err(anyhow!("without a plan the server's folder must be named: --state DIR")),
    };
    Ok(Options { server: args.server.as_str().into(), state, plan })
}

/// One plan, or the plans of all servers, of which this one's is taken.
fn read(path: &Path, server: &str) -> anyhow::Result<Plan> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Plans {
        One(Box<Plan>),
        All(Vec<Plan>),
    }
    let text = fs::read(path).with_context(|| format!("the plan {} cannot be read", path.display()))?;
    match serde_json::from_slice(&text).with_context(|| format!("{} holds no plan", path.display()))? {
        Plans::One(plan) => Ok(*plan),
        Plans::All(plans) => plans
            .into_iter()
            .find(|plan| plan.server.as_str() == server)
            .ok_or_else(|| anyhow!("{} holds no plan for {server}", path.display())),
    }
}
