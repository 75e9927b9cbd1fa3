//! What does not come up, and why, with the last lines of its log.

use mainstay_node::control::Client;
use mainstay_node::page::{Overview, Sight};
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

/// Whether something failed and nothing is on its way that may mend it.
pub fn stuck(seen: &Overview) -> bool {
    let services = || seen.servers.iter().filter_map(|sight| sight.status.as_ref()).flat_map(|status| &status.services);
    let answers = seen.servers.iter().all(|sight| sight.status.is_some());
    answers
        && services().any(hopeless)
        && !services().any(|service| service.state == State::Starting && !hopeless(service))
}

fn hopeless(service: &ServiceStatus) -> bool {
    let down = matches!(service.state, State::Failed | State::Starting);
    service.state == State::Failed || (down && service.restarts >= RESTARTS)
}

/// Names every server and service that does not serve.
pub async fn tell(seen: &Overview, folder: &SiteFolder, paint: &Paint) {
    for sight in seen.servers.iter().filter(|sight| sight.state != State::Serving) {
        match &sight.status {
            None => tell_server(sight, folder, paint),
            Some(status) => {
                for service in status.services.iter().filter(|service| service.state != State::Serving) {
                    tell_service(sight, service, folder, paint).await;
                }
            }
        }
    }
}

fn tell_server(sight: &Sight, folder: &SiteFolder, paint: &Paint) {
    say(&paint.red(&format!("{} {}: {}", sign(sight.state), sight.server, sight.because)));
    let console = super::live::console(folder, &sight.server);
    let text = std::fs::read(&console).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    quote(&lines[lines.len().saturating_sub(LINES)..].join("\n"), paint);
    say(&paint.dim(&format!("    from {}", console.display())));
}

async fn tell_service(sight: &Sight, service: &ServiceStatus, folder: &SiteFolder, paint: &Paint) {
    let (server, name, state) = (&sight.server, &service.name, service.state);
    let line = format!("{} {server} {name} is {}: {}", sign(state), state.as_str(), service.because);
    say(&if state == State::Failed { paint.red(&line) } else { paint.yellow(&line) });
    let parts = service.report.iter().flat_map(|report| &report.parts).filter(|part| part.state != State::Serving);
    parts.for_each(|part| {
        say(&format!("    {} {} is {}: {}", sign(part.state), part.name, part.state.as_str(), part.because))
    });
    let client = Client::new(folder.server(server).join("control.sock"));
    if let Ok(text) = client.logs(name, LINES).await {
        quote(&text, paint);
    }
    say(&paint.dim(&format!("    more: mainstay logs {server} {name}")));
}

fn quote(text: &str, paint: &Paint) {
    text.lines().for_each(|line| say(&paint.dim(&format!("    │ {}", readable(line)))));
}
