//! `mainstay lab scenario`.

use std::process::ExitCode;

use anyhow::ensure;

use super::{database, site};
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
    /// Name them all
    #[arg(long)]
    list: bool,
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
    let of = |is_one: fn(&str) -> bool| args.names.iter().filter(|name| is_one(name)).cloned().collect::<Vec<_>>();
    let mut well = true;
    for (wanted, run) in [(of(site::is_one), site::run as Run), (of(database::is_one), database::run)] {
        well &= wanted.is_empty() || run(&wanted, args.runs, args.json)?;
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Runs scenarios of one kind so often, for programs or for people; whether what is promised was kept in all.
type Run = fn(&[String], u32, bool) -> anyhow::Result<bool>;

/// Names and what they are.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    database::names().chain(site::names())
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
