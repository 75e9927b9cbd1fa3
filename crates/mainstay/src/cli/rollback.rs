//! `mainstay rollback`: an earlier generation again.

use std::process::ExitCode;

use anyhow::Context;
use mainstay_site::names::Generation;

use super::apply::enact::{Change, How, enact};
use super::apply::fleet::Fleet;
use super::running::Which;
use super::up::runtime;

/// Go back to an earlier generation of a site's configuration
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::ROLLBACK)]
pub struct Args {
    /// To which; the one before the present one if left out
    #[arg(value_name = "GENERATION")]
    generation: Option<u64>,
    /// The site's domain; may be left out when only one is up
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    #[command(flatten)]
    how: How,
}

/// Makes what was the next generation.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let running = Which::named(args.site).running()?;
    let site = running.site.clone();
    let fleet = Fleet::of(running, &site);
    runtime()?.block_on(async {
        let now = fleet.now().await?;
        let target = now.target.context("no generation was ever applied: there is nothing to go back to")?;
        let to = match args.generation {
            Some(number) => Generation(number),
            None => fleet.record(target).await?.before.context("there was no generation before this one")?,
        };
        let record = fleet.record(to).await?;
        let what = format!("back to generation {to}");
        let mut site = record.site;
        mainstay_site::votes::leave(&now.site, &mut site);
        let change = Change { site, codebases: record.codebases, what, retreats: false, source: None };
        enact(&fleet, &now, change, &args.how).await
    })
}
