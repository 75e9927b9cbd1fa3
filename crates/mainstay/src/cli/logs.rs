//! `mainstay logs`: the last lines of a service's log stream.

use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use mainstay_node::control::Client;
use mainstay_site::names::{ServerName, ServiceName};

use super::log_line::readable_all;
use super::running::Which;
use super::up::{runtime, say};
use crate::render;

/// How often a followed log is looked at: as quick as the eye.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Show the last lines of a service's log
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::LOGS)]
pub struct Args {
    /// The server's name
    server: String,
    /// The service's name; without it, the log of the server's supervisor
    service: Option<String>,
    #[command(flatten)]
    site: Site,
    /// How many lines
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,
    /// Print the records as they are stored, JSON
    #[arg(long)]
    json: bool,
    /// Stay, and print what comes
    #[arg(short, long)]
    follow: bool,
}

/// Which site, named by an option: the server comes first here.
#[derive(clap::Args, Debug)]
struct Site {
    /// The site's domain; may be left out when only one is up
    #[arg(long = "site", value_name = "SITE")]
    domain: Option<String>,
}

/// Prints the lines, and what comes if that was asked for.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let running = Which::named(args.site.domain.clone()).running()?;
    let server = ServerName(args.server.clone());
    let known: Vec<&str> = running.site.servers.iter().map(|one| one.name.as_str()).collect();
    ensure!(
        known.contains(&args.server.as_str()),
        "{} has no server {server}; it has {}",
        running.site.domain,
        known.join(", ")
    );
    let state = running.folder.server(&server);
    let name = args.service.clone().unwrap_or_else(|| "server".into());
    let path = state.join("log").join(format!("{name}.log"));
    let told = |text: &str| render::print(&if args.json { text.to_owned() } else { readable_all(text) });
    match &args.service {
        Some(service) => {
            let client = Client::new(state.join("control.sock"));
            match runtime()?.block_on(client.logs(&ServiceName(service.clone()), args.lines)) {
                Ok(text) => told(&text),
                Err(mainstay_node::control::Error::Unreachable { .. }) => {
                    say(&format!("{server} does not answer; this is what its log file has"));
                    told(&tail(&path, args.lines)?);
                }
                Err(error) => bail!(error),
            }
        }
        None => told(&tail(&path, args.lines)?),
    }
    if args.follow { follow(&path, &told) } else { Ok(ExitCode::SUCCESS) }
}

/// The last lines of a file.
fn tail(path: &Path, lines: usize) -> anyhow::Result<String> {
    let text = std::fs::read(path).with_context(|| format!("the log {} cannot be read", path.display()))?;
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].iter().map(|line| format!("{line}\n")).collect())
}

/// Prints what is appended, across rotations, until Ctrl-C or until nobody reads.
fn follow(path: &Path, told: &dyn Fn(&str)) -> anyhow::Result<ExitCode> {
    let mut at = std::fs::metadata(path).map_or(0, |known| known.len());
    runtime()?.block_on(async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let mut file = match std::fs::File::open(path) {
                Ok(file) => file,
                // Between a rotation and the next line.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => bail!(error),
            };
            let length = file.metadata()?.len();
            if length < at {
                at = 0;
            }
            file.seek(SeekFrom::Start(at))?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            // A line that is still being written is for the next look.
            text.truncate(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
            at += text.len() as u64;
            told(&String::from_utf8_lossy(&text));
        }
    })
}
