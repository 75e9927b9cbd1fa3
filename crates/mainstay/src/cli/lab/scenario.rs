//! `mainstay lab scenario`.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::ensure;

use super::{charge, database, scaled, site, vip};
use crate::cli::exit::FAILED;
use crate::cli::help;
use crate::render;

/// Run a scenario: clients write, something fails, and what they were told is compared with what is there
#[derive(clap::Args, Debug)]
#[command(after_help = help::LAB_SCENARIO)]
pub struct Args {
    /// Which; several are run one after the other
    #[arg(value_name = "NAME", required_unless_present = "list")]
    names: Vec<String>,
    /// How often
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Draws again what was drawn with this number: the moments of power cuts
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Requests a second in `site-` scenarios; two busy cores may bear less
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Name them all
    #[arg(long)]
    list: bool,
    /// Play them in this process; see [`charge`]
    #[arg(long, hide = true)]
    plays: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Runs what was asked for, one line each.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.list {
        return list(args.json);
    }
    for name in &args.names {
        let known = all().any(|(known, _)| known == name);
        ensure!(known, "there is no scenario {name}; `mainstay lab scenario --list` names them all");
    }
    ensure!(rustix::process::geteuid().is_root(), "scenarios make network namespaces: run them as root");
    if !args.plays {
        return charge::run();
    }
    let asked = Asked { runs: args.runs, json: args.json, rate: args.rate, seed: args.seed.unwrap_or_else(fresh) };
    let mut well = true;
    for (names, run) in KINDS {
        let wanted: Vec<String> =
            args.names.iter().filter(|wanted| names().any(|(name, _)| name == *wanted)).cloned().collect();
        well &= wanted.is_empty() || run(&wanted, asked)?;
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Names and what they are.
type Names = fn() -> Box<dyn Iterator<Item = (&'static str, &'static str)>>;
/// Runs scenarios of one kind; whether what is promised was kept in all.
type Run = fn(&[String], Asked) -> anyhow::Result<bool>;

/// How scenarios are to be run.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// So often each.
    pub runs: u32,
    /// For programs, else for people.
    pub json: bool,
    /// Requests a second of a crowd.
    pub rate: u32,
    /// Of whatever is drawn.
    pub seed: u64,
}

/// A number that nobody had before, of few digits: it is printed, and typed again.
fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos()) ^ (since.as_secs() & 0xffff)
}

const KINDS: [(Names, Run); 4] = [
    (|| Box::new(database::names()), database::run),
    (|| Box::new(site::names()), site::run),
    (|| Box::new(scaled::names()), scaled::run),
    (|| Box::new(vip::names()), vip::run),
];

fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    KINDS.iter().flat_map(|(names, _)| names())
}

fn list(json: bool) -> anyhow::Result<ExitCode> {
    if json {
        let names: Vec<(&str, &str)> = all().collect();
        render::print_json(&names)?;
    } else {
        let lines = all().map(|(name, about)| format!("{name:<28} {about}\n"));
        render::print(&lines.collect::<String>());
    }
    Ok(ExitCode::SUCCESS)
}
