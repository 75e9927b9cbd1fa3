//! `mainstay serve --server NAME`: the supervisor of one server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use mainstay_node::prepare;
use mainstay_node::supervisor::{self, Options, Source};
use mainstay_site::names::ServerName;
use mainstay_site::plan::{Plan, derive};

use super::declaration::File;

/// Run one server: everything its plan says, until it is stopped
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::SERVE)]
pub struct Args {
    /// Which server of the site this is
    #[arg(long, value_name = "NAME")]
    server: String,
    /// Where everything is kept [default: /var/lib/mainstay/SITE/SERVER for root, else below ~/.local/state/mainstay]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The plan, as `mainstay plan --json` prints it; the stored one stays in force if it is newer
    #[arg(long, value_name = "FILE", conflicts_with = "declaration")]
    plan: Option<PathBuf>,
    /// The declaration to derive the plan from
    #[arg(long, value_name = "FILE")]
    declaration: Option<PathBuf>,
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
    let server = ServerName(args.server);
    if let Some(path) = args.declaration {
        return declared(server, args.state, path);
    }
    let plan = args.plan.as_deref().map(|path| read(path, &server)).transpose()?;
    let state = match (args.state, &plan) {
        (Some(state), _) => state,
        (None, Some(plan)) => supervisor::default_state(&plan.site, &plan.server),
        (None, None) => return Err(anyhow!("without a plan the server's folder must be named: --state DIR")),
    };
    let plan = plan.map_or(Source::Stored, |plan| Source::Given(Box::new(plan)));
    Ok(Options { server, state, plan })
}

/// One plan, or the plans of all servers, of which this one's is taken.
fn read(path: &Path, server: &ServerName) -> anyhow::Result<Plan> {
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
            .find(|plan| plan.server == *server)
            .ok_or_else(|| anyhow!("{} holds no plan for {server}", path.display())),
    }
}

/// Prepares the server's disk, so that the plan can be carried out.
fn declared(server: ServerName, state: Option<PathBuf>, path: PathBuf) -> anyhow::Result<Options> {
    let declaration = File { file: path }.load()?;
    let site = declaration.site;
    let known: Vec<&str> = site.servers.iter().map(|server| server.name.as_str()).collect();
    anyhow::ensure!(site.server(&server).is_some(), "there is no server `{server}`; the site has {}", known.join(", "));
    let state = state.unwrap_or_else(|| supervisor::default_state(&site.domain, &server));
    let mut progress = |text: &str| tracing::info!("{text}");
    let releases = prepare::build(&site, &declaration.folder, &state.join("builds"), &mut progress)?;
    prepare::install(&site, &server, &releases, &state)?;
    prepare::secrets(&site, &server, &declaration.folder, &state)?;
    let (name, codebases) = (server.clone(), prepare::codebases(&releases));
    let index = site.servers.iter().position(|server| server.name == name).context("the server is gone")?;
    let plan = move |generation| derive(&site, &codebases, generation).swap_remove(index);
    Ok(Options { server, state, plan: Source::Declared(Box::new(plan)) })
}
