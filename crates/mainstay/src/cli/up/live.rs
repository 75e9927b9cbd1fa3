//! The site while it is up: switched on, watched, switched off.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mainstay_lab::{Boot, Held, Lab, Mode, Options, Relays};
use mainstay_node::page::{Observer, Overview, Page, Sight};
use mainstay_site::findings::findings;
use mainstay_site::names::ServerName;
use mainstay_site::plan::Notice;
use mainstay_site::wire::State;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::addresses::{Addresses, Ports};
use super::growth::{self, Growth};
use super::prepare::Prepared;
use super::progress::{self, say};
use super::{Up, detach, trouble};
use crate::cli::exit::UNWELL;
use crate::cli::host_pids;
use crate::cli::site_folder::SiteFolder;
use crate::render::{self, Paint};

/// Between two looks while it comes up: quick enough to be there when it serves.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// For how long things must be stuck before we say so: a first try may fail because a neighbour was not up.
const STUCK_FOR: Duration = Duration::from_secs(8);

/// A failure that is not seen again for so long is over.
const RETRY_WITHIN: Duration = Duration::from_secs(3);

/// How long servers may take to stop in order: as long as the lab's init gives them. A second Ctrl-C is quicker.
const STOP_WITHIN: Duration = Duration::from_secs(95);

/// What became of the wait.
enum Outcome {
    Serving,
    Unwell,
    Told,
}

/// Switches everything on, stays until it is told to stop, switches everything off.
pub fn run(up: Up, held: Held, prepared: Prepared, ports: &Ports, what: String) -> anyhow::Result<ExitCode> {
    raise_open_files();
    let addresses = ports.take(&up.site, &prepared.plans)?;
    super::runtime()?.block_on(async {
        let mut signals = Signals::catch()?;
        let Addresses { bound, page, links, published, https, doors } = addresses;
        let options = Options { mode: up.mode, place: up.place.clone(), state: up.folder.0.clone(), published };
        let mut lab = Lab::start(&up.site, options, held)?;
        let relays = bound.serve(lab.internet())?;
        let site = Arc::new(up.site.clone());
        let latest = Arc::new(ArcSwap::from_pointee(Overview::unseen(&site, mainstay_node::clock::unix_ms())));
        let shown = Page {
            site: Arc::clone(&site),
            findings: findings(&site).into(),
            links: elsewhere(&links),
            latest: Arc::clone(&latest),
        };
        let page = growth::Hosted::begin(shown, page)?;
        for server in &site.servers {
            lab.power_on(&server.name, boot(&up.program, up.mode, &up.folder, &server.name))?;
        }
        let mut observer = Observer::new(Arc::clone(&site), up.folder.watched(&site));
        let outcome = come_up(&up, &mut lab, &mut observer, &latest, &mut signals).await?;
        let code = match outcome {
            Outcome::Told => return stop(lab, relays, signals, &up).await,
            Outcome::Serving => 0,
            Outcome::Unwell => UNWELL,
        };
        summarise(&up, &links, &notices(&latest.load()), https, code);
        if up.background {
            detach::let_go(code, &up.place.folder().join("up.log"))?;
        }
        let mut growth = Growth::new(&up, Arc::clone(&site), doors, page, prepared, what);
        stay(&mut lab, &mut observer, &latest, &mut signals, &mut growth).await;
        stop(lab, relays, signals, &up).await
    })
}

/// The addresses without the page's own, on which whoever reads them is already.
fn elsewhere(links: &[(String, String)]) -> Arc<[(String, String)]> {
    links.iter().filter(|(what, _)| what != "Status").cloned().collect()
}

/// What a server runs: the lab's init, and below it the supervisor.
pub fn boot(program: &Path, mode: Mode, folder: &SiteFolder, server: &ServerName) -> Boot {
    let mut argv = vec![program.into(), "init".into()];
    if mode == Mode::Namespaces {
        argv.push("--mount-proc".into());
    }
    argv.extend(["--".into(), program.into(), "serve".into(), "--server".into(), server.as_str().into()]);
    argv.extend(["--state".into(), folder.server(server).into()]);
    argv.extend(["--plan".into(), folder.common().join("plans.json").into()]);
    Boot { argv, console: console(folder, server) }
}

/// Where process 1 and the supervisor of a server say what they do.
pub fn console(folder: &SiteFolder, server: &ServerName) -> PathBuf {
    folder.server(server).join("log").join("server.log")
}

/// Waits until everything serves, something is stuck, or the time is over.
async fn come_up(
    up: &Up,
    lab: &mut Lab,
    observer: &mut Observer,
    latest: &ArcSwap<Overview>,
    signals: &mut Signals,
) -> anyhow::Result<Outcome> {
    let (mut shown, mut clock) = (progress::Servers::new(), interval(LOOK_EVERY));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let deadline = Instant::now() + up.patience;
    let mut stuck: Option<(Instant, Instant)> = None;
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = signals.told() => return Ok(Outcome::Told),
        }
        let seen = look(observer, lab).await;
        shown.show(&seen);
        latest.store(Arc::new(seen.clone()));
        if trouble::all_well(&seen) {
            return Ok(Outcome::Serving);
        }
        let now = Instant::now();
        // What is tried again every other second is no less stuck during the try.
        stuck = stuck.filter(|(_, last)| now - *last < RETRY_WITHIN);
        if trouble::stuck(&seen) {
            stuck = Some((stuck.map_or(now, |(first, _)| first), now));
        }
        if now >= deadline || stuck.is_some_and(|(first, last)| last - first >= STUCK_FOR) {
            trouble::tell(&seen, &up.folder, &Paint(render::colour(&std::io::stderr()))).await;
            return Ok(Outcome::Unwell);
        }
    }
}

/// What the servers say; a server whose process 1 has ended says nothing any more.
async fn look(observer: &mut Observer, lab: &mut Lab) -> Overview {
    let mut seen = observer.look().await;
    for sight in seen.servers.iter_mut().filter(|sight| sight.status.is_none()) {
        if !lab.is_on(&sight.server) {
            sight.state = State::Failed;
            sight.because = "switched off: its process 1 has ended".into();
        }
    }
    host_pids::put(&mut seen.servers, lab.record());
    seen
}

/// Watches, and says what changes, until it is told to stop.
async fn stay(
    lab: &mut Lab,
    observer: &mut Observer,
    latest: &ArcSwap<Overview>,
    signals: &mut Signals,
    growth: &mut Growth<'_>,
) {
    let (mut clock, mut told) = (interval(Duration::from_secs(1)), String::new());
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = signals.told() => return,
        }
        let (before, seen) = (latest.load_full(), look(observer, lab).await);
        let known = |is: &Sight| before.servers.iter().find(|was| was.server == is.server && was.state != is.state);
        for (was, is) in seen.servers.iter().filter_map(|is| Some((known(is)?, is))) {
            let time = mainstay_node::clock::Utc(seen.at_ms);
            let (server, from, to) = (&is.server, was.state.as_str(), is.state.as_str());
            say(&format!("{time} {} {server}: {from} → {to}: {}", progress::sign(is.state), is.because));
        }
        // Tried again each second, and said once.
        let because =
            growth.look(lab, observer, &seen).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
        if !because.is_empty() && because != told {
            say(&format!("the site cannot be changed as it was asked for: {because}"));
        }
        told = because;
        latest.store(Arc::new(seen));
    }
}

async fn stop(lab: Lab, relays: Relays, mut signals: Signals, up: &Up) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    say(&format!("\nstopping {}", up.site.domain));
    let processes: Vec<_> = lab.record().servers.iter().filter_map(|server| server.process).collect();
    let mut stopping = tokio::task::spawn_blocking(move || {
        drop(relays);
        lab.stop(STOP_WITHIN)
    });
    let swept = loop {
        tokio::select! {
            swept = &mut stopping => break swept??,
            () = signals.told() => {
                say("told twice: cutting the power");
                processes.iter().for_each(|process| process.signal(rustix::process::Signal::KILL));
            }
        }
    };
    let killed =
        if swept.killed > 0 { format!(", {} processes had to be killed", swept.killed) } else { String::new() };
    let (took, folder) = (begun.elapsed().as_secs_f64(), up.folder.0.display());
    say(&format!("stopped in {took:.1} s{killed}; the data stays in {folder}"));
    Ok(ExitCode::SUCCESS)
}

fn notices(seen: &Overview) -> Vec<Notice> {
    let mut all: Vec<Notice> = seen
        .servers
        .iter()
        .filter_map(|sight| sight.status.as_ref())
        .flat_map(|status| status.notices.clone())
        .collect();
    all.sort();
    all.dedup();
    all
}

fn summarise(up: &Up, links: &[(String, String)], notices: &[Notice], https: bool, code: u8) {
    let paint = Paint(render::colour(&std::io::stdout()));
    let (site, took) = (&up.site.domain, up.begun.elapsed().as_secs_f64());
    let mut text = match code {
        0 => format!("\n{} is up ({took:.1} s)\n\n", paint.bold(site.as_str())),
        _ => format!(
            "\n{} is up in part ({took:.1} s): what is said above does not serve\n\n",
            paint.bold(site.as_str())
        ),
    };
    links.iter().for_each(|(what, address)| text += &format!("  {what:<7} {}\n", paint.bold(address)));
    if !notices.is_empty() {
        text += "\n  Declared, not enforced yet:\n";
        notices
            .iter()
            .for_each(|notice| text += &format!("    {} {}: {}\n", paint.yellow("!"), notice.declared, notice.instead));
    }
    if up.site.tls.is_some() && !https {
        text += "    HTTPS is not published: no server answers it yet\n";
    }
    let how = if up.background { format!("`mainstay down {site}`") } else { "Ctrl-C".into() };
    text += &format!("\n  Stop with {how}; the data stays in {}\n", up.folder.0.display());
    render::print(&text);
}

/// Every relayed connection takes two descriptors, and many systems give a process 1,024 unless it asks for more.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Not to be allowed more is no error: fewer connections fit through the relays.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// What tells `up` to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> anyhow::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
