//! `mainstay down`: stops a site that is up, or clears away what a killed `up` left.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mainstay_lab::{Held, Place, Record, sweep};
use mainstay_site::model::Site;
use mainstay_site::names::Domain;

use super::running::{Which, not_up};
use super::site_folder::SiteFolder;
use super::up::say;

/// How long `up` may take to stop its servers: as long as it allows itself, and a little.
const UP_ENDS_WITHIN: Duration = Duration::from_secs(100);

/// How long servers that lost their `up` may take.
const SERVERS_END_WITHIN: Duration = Duration::from_secs(95);

/// Stop a site; its data stays
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::DOWN)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Delete the site's data too: databases, uploads, keys
    #[arg(long)]
    purge: bool,
    /// Do not ask before deleting
    #[arg(long, requires = "purge")]
    yes: bool,
    /// The folder that keeps the site, as given to `up`; for --purge of a site that is not up
    #[arg(long, value_name = "DIR", requires = "purge")]
    state: Option<PathBuf>,
}

/// Stops the site, and deletes its data if that was asked for and confirmed.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let domain = args.which.domain()?;
    let place = Place::usual(&domain);
    let record = place.read()?;
    let folder = match (&args.state, &record) {
        (None, Some(record)) => SiteFolder(record.state.clone()),
        (asked, _) => SiteFolder::choose(asked.as_deref(), &domain)?,
    };
    // Asked before anything is stopped: whoever says no keeps a running site.
    if args.purge && !args.yes && !confirmed(&domain, &folder)? {
        say("nothing was stopped or deleted");
        return Ok(ExitCode::SUCCESS);
    }
    match record {
        Some(record) => stop(&place, &record, !args.purge)?,
        None => say(&not_up(&domain)),
    }
    if args.purge {
        purge(&domain, &folder)?;
        place.hold()?.map(|held| place.clear(held)).transpose()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn stop(place: &Place, record: &Record, keeps: bool) -> anyhow::Result<()> {
    let (site, begun) = (&record.site, Instant::now());
    let held = match place.hold()? {
        Some(held) => held,
        None => end_up(place, record)?,
    };
    // An `up` that ended well has forgotten its record.
    if let Some(left) = place.read()? {
        say(&format!("{site}: clearing away what a killed `mainstay up` left"));
        sweep(&left, SERVERS_END_WITHIN)?;
        place.forget()?;
    }
    drop(held);
    let data = if keeps { format!("; the data stays in {}", record.state.display()) } else { String::new() };
    say(&format!("{site} is down ({:.1} s){data}", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// Asks the living `up` to end; it stops its servers in order. The lock is ours when it has.
fn end_up(place: &Place, record: &Record) -> anyhow::Result<Held> {
    let up = record.up;
    say(&format!("stopping {}", record.site));
    up.signal(rustix::process::Signal::TERM);
    if !up.ended_by(Instant::now() + UP_ENDS_WITHIN) {
        bail!("`mainstay up` (process {}) does not end; `kill -9 {}`, then `mainstay down` again", up.pid, up.pid);
    }
    place.hold()?.with_context(|| format!("another `mainstay` has taken {} over", record.site))
}

fn confirmed(domain: &Domain, folder: &SiteFolder) -> anyhow::Result<bool> {
    ensure!(stdin().is_terminal(), "--purge asks before it deletes, and nobody is there to ask; add --yes");
    let shown = folder.0.display();
    write!(
        stderr(),
        "This deletes everything of {domain}: databases, uploads and keys in {shown}.\nType the site's name to go on: "
    )?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == domain.as_str())
}

fn purge(domain: &Domain, folder: &SiteFolder) -> anyhow::Result<()> {
    let shown = folder.0.display();
    if !folder.0.exists() {
        say(&format!("there is no data of {domain} in {shown}"));
        return Ok(());
    }
    // Only what we made ourselves is deleted.
    let kept: Option<Site> = folder.read("site.json")?;
    match kept {
        Some(kept) if kept.domain == *domain => {}
        Some(kept) => bail!("{shown} keeps {}, not {domain}; nothing was deleted", kept.domain),
        None => bail!("{shown} is not the folder of a site (it has no .site/site.json); nothing was deleted"),
    }
    std::fs::remove_dir_all(&folder.0).with_context(|| format!("{shown} cannot be deleted whole"))?;
    say(&format!("deleted {shown}"));
    Ok(())
}
