//! What does not come up, and why, with the last lines of its log.

use mainstay_node::control::Client;
use mainstay_node::page::{Overview, Sight};
use mainstay_site::names::Role;
use mainstay_site::wire::{ServiceStatus, State};

use super::progress::{say, sign};
use crate::cli::log_line::readable;
use crate::cli::site_folder::SiteFolder;
use crate::render::Paint;

/// So many times a service was started again when it is not only slow: with the supervisor's pauses that is some
/// seconds of trying.
const RESTARTS: u32 = 3;

/// Lines of its log: a Python traceback fits.
const LINES: usize = 15;

/// Whether everything serves.
pub fn all_well(seen: &Overview) -> bool {
    seen.servers.iter().all(|sight| sight.state == State::Serving)
}

/// Whether something failed and nothing is on its way that may mend it: services wait for deeper ones, so what starts
/// above a failure cannot.
pub fn stuck(seen: &Overview) -> bool {
    let services = || seen.servers.iter().filter_map(|sight| sight.status.as_ref()).flat_map(|status| &status.services);
    let answers = seen.servers.iter().all(|sight| sight.status.is_some());
    let Some(deepest) = services().filter(|service| hopeless(service)).map(depth).min() else { return false };
    let hope = |service: &ServiceStatus| service.state == State::Starting && !hopeless(service);
    answers && !services().any(|service| hope(service) && depth(service) <= deepest)
}

fn hopeless(service: &ServiceStatus) -> bool {
    let down = matches!(service.state, State::Failed | State::Starting);
    service.state == State::Failed || (down && service.restarts >= RESTARTS)
}

/// How far from the visitor: a service may need those with a smaller figure, never one with a larger.
fn depth(service: &ServiceStatus) -> u8 {
    match service.role {
        Role::Store | Role::Database | Role::Dns | Role::Cache => 0,
        Role::App if service.name.as_str() == "sql" => 1,
        Role::App => 2,
        Role::Web => 3,
        Role::Balancer | Role::Firewall | Role::Monitor => 4,
    }
}

/// Names every server and service that does not serve, with the last words of the deepest: the others wait for those.
pub async fn tell(seen: &Overview, folder: &SiteFolder, paint: &Paint) {
    let services = seen.servers.iter().filter_map(|sight| sight.status.as_ref()).flat_map(|status| &status.services);
    let deepest = services.filter(|service| unwell(service)).map(depth).min().unwrap_or_default();
    for sight in seen.servers.iter().filter(|sight| sight.state != State::Serving) {
        match &sight.status {
            None => tell_server(sight, folder, paint),
            Some(status) => {
                for service in status.services.iter().filter(|service| unwell(service)) {
                    let words = depth(service) == deepest || service.restarts > 0;
                    tell_service(sight, service, words.then_some(folder), paint).await;
                }
            }
        }
    }
}

fn unwell(service: &ServiceStatus) -> bool {
    service.state != State::Serving
}

fn tell_server(sight: &Sight, folder: &SiteFolder, paint: &Paint) {
    say(&paint.red(&format!("{} {}: {}", sign(sight.state), sight.server, sight.because)));
    let console = super::live::console(folder, &sight.server);
    let text = std::fs::read(&console).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    quote(&lines[lines.len().saturating_sub(LINES)..].join("\n"), paint);
    say(&paint.dim(&format!("    from {}", console.display())));
}

async fn tell_service(sight: &Sight, service: &ServiceStatus, logs: Option<&SiteFolder>, paint: &Paint) {
    let (server, name, state) = (&sight.server, &service.name, service.state);
    let line = format!("{} {server} {name} is {}: {}", sign(state), state.as_str(), service.because);
    say(&if state == State::Failed { paint.red(&line) } else { paint.yellow(&line) });
    let parts = service.report.iter().flat_map(|report| &report.parts).filter(|part| part.state != State::Serving);
    parts.for_each(|part| {
        say(&format!("    {} {} is {}: {}", sign(part.state), part.name, part.state.as_str(), part.because))
    });
    let Some(folder) = logs else { return };
    let client = Client::new(folder.server(server).join("control.sock"));
    if let Ok(text) = client.logs(name, LINES).await {
        quote(&text, paint);
    }
    say(&paint.dim(&format!("    more: mainstay logs {server} {name}")));
}

/// Of what is said again and again, as with every try, only the last time.
fn quote(text: &str, paint: &Paint) {
    let lines: Vec<String> = text.lines().map(readable).collect();
    let words = |line: &str| line.split_once(' ').map_or(line, |(_time, words)| words).to_owned();
    for (at, line) in lines.iter().enumerate() {
        if !lines[at + 1..].iter().any(|later| words(later) == words(line)) {
            say(&paint.dim(&format!("    │ {line}")));
        }
    }
}
