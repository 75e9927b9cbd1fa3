//! `mainstay up`: the whole site on this machine.

mod addresses;
mod detach;
mod growth;
mod heirs;
mod live;
mod prepare;
mod progress;
mod trouble;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mainstay_lab::{Mode, Place};
use mainstay_site::findings::{Group, findings};
use mainstay_site::model::Site;

pub use growth::Leaving;
pub use growth::book_first;
pub use live::boot;
pub use prepare::{Prepared, install_releases, make_secrets, prepare_all, releases};
pub use progress::{say, sign};

use super::apply::apply;
use super::apply::enact::How;
use super::declaration::{Declaration, File};
use super::running::Which;
use super::site_folder::SiteFolder;
use crate::render::{self, Paint};

/// Bring the whole site up on this machine, every server in namespaces of its own
#[derive(clap::Args, Debug)]
#[command(after_help = crate::cli::help::UP)]
pub struct Args {
    #[command(flatten)]
    file: File,
    /// The port of 127.0.0.1 on which the site answers HTTP
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http: u16,
    /// The port of 127.0.0.1 on which the site answers HTTPS
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    https: u16,
    /// The port of 127.0.0.1 on which the site answers DNS, UDP and TCP
    #[arg(long, value_name = "PORT", default_value_t = 5300)]
    dns: u16,
    /// The port of 127.0.0.1 for the status page
    #[arg(long, value_name = "PORT", default_value_t = 9080)]
    page: u16,
    /// The folder that keeps the site [default: /var/lib/mainstay/SITE for root, else below ~/.local/state/mainstay]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Return as soon as the site serves; `mainstay down` stops it
    #[arg(long)]
    detach: bool,
    /// Without root: servers as plain processes on addresses 127.0.x.y, without networks of their own
    #[arg(long)]
    loopback: bool,
    /// How many seconds everything together may take to serve, not counting the building of releases
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// The part of --detach that stays
    #[arg(long, hide = true)]
    background: bool,
}

/// What is to be brought up.
struct Up {
    site: Site,
    /// Our own file, by its name when we were started: since then another program may have taken its place.
    program: PathBuf,
    mode: Mode,
    place: Place,
    folder: SiteFolder,
    patience: Duration,
    background: bool,
    begun: Instant,
}

/// Brings the site up and stays until it is told to stop.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.detach && !args.background {
        return detach::hand_over();
    }
    let declaration = args.file.load()?;
    let up = Up::new(&args, &declaration)?;
    let Some(held) = up.place.hold()? else {
        let running = Which::named(Some(up.site.domain.to_string())).running().with_context(|| already(&up))?;
        progress::say(&already(&up));
        // The same as `mainstay apply`, by one who has said what he wants.
        let how = How { yes: true, wait: true, dry_run: false, timeout: args.timeout };
        return apply(&declaration, running, &args.file.file.display().to_string(), &how);
    };
    introduce(&up, &args);
    let ports = addresses::Ports { http: args.http, https: args.https, dns: args.dns, page: args.page };
    // First of all what only another command line can mend; a codebase may take minutes to build.
    ports.probe()?;
    let prepared = prepare::prepare_all(&declaration, &up.site, &up.folder)?;
    let what = args.file.file.display().to_string();
    live::run(up, held, prepared, &ports, what)
}

impl Up {
    fn new(args: &Args, declaration: &Declaration) -> anyhow::Result<Up> {
        let mode = if args.loopback { Mode::Loopback } else { Mode::Namespaces };
        if mode == Mode::Namespaces && !rustix::process::geteuid().is_root() {
            let file = args.file.file.display();
            bail!(
                "servers as namespaces need root: run `sudo mainstay up {file}`, or `mainstay up --loopback {file}`, \
                 which needs nothing and has no networks, firewalls or floating addresses"
            );
        }
        let declared = &declaration.site;
        let mut site = if args.loopback { declared.on_loopback() } else { declared.clone() };
        // Visitors' addresses have these ports, and a redirect to HTTPS must know its own.
        site.ports.published = Some((args.http, args.https));
        let (place, folder) = (Place::usual(&site.domain), SiteFolder::choose(args.state.as_deref(), &site.domain)?);
        if let Some(before) = folder.read::<Site>("site.json")? {
            site.continues(&before);
        }
        let (patience, begun) = (Duration::from_secs(args.timeout), Instant::now());
        let program = std::env::current_exe().context("this program's own file cannot be found")?;
        Ok(Up { site, program, mode, place, folder, patience, background: args.background, begun })
    }
}

fn already(up: &Up) -> String {
    let (site, record) = (&up.site.domain, up.place.read().ok().flatten());
    let process = record.map(|record| format!(" (process {})", record.up.pid)).unwrap_or_default();
    format!("{site} is up already{process}; `mainstay status {site}` shows it, `mainstay down {site}` stops it")
}

fn introduce(up: &Up, args: &Args) {
    let paint = Paint(render::colour(&std::io::stderr()));
    let count = up.site.servers.len();
    let servers = if count == 1 { "1 server".to_owned() } else { format!("{count} servers") };
    progress::say(&format!("{}  {servers}", paint.bold(up.site.domain.as_str())));
    let found = findings(&up.site);
    let counts = Group::ALL.into_iter().filter_map(|group| {
        let count = found.iter().filter(|finding| finding.group == group).count();
        (count > 0).then(|| format!("{count} {}", group.as_str()))
    });
    let counts: Vec<String> = counts.collect();
    let told = if counts.is_empty() { "no findings".into() } else { format!("findings: {}", counts.join(", ")) };
    progress::say(&paint.dim(&format!("{told} (mainstay check {})", args.file.file.display())));
}

/// A runtime for one verb: everything in it waits, nothing computes.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("the event loop cannot be made")
}
