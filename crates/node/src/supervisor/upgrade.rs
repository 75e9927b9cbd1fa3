//! Another program in the place of this one: the supervisor ends in the way that has it started again, from the file that is
//! there now, adopts what runs, and then has its services start anew, one after the other.
//!
//! The SQL endpoints and the database go on with the program that they were started with, since their restart would cut
//! connections; `POST /v1/restart/SERVICE` moves them when it suits. Their status says so.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mainstay_site::plan::{Config, Service};
use mainstay_site::wire::State;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::keeper::Wanted;
use super::post::{Post, Refused, View, refusal};

/// How long the new program may take to say what it is.
const SAYS_WITHIN: Duration = Duration::from_secs(5);

/// How long a service may take to serve again before the next one is moved all the same: an application's workers take some
/// seconds.
const SERVES_WITHIN: Duration = Duration::from_secs(30);

/// Between two looks at one that starts.
const LOOK: Duration = Duration::from_millis(50);

/// Whether the file that this program was started from can be run, so that its successor comes up. Its version.
pub(super) async fn probe() -> Result<String, Refused> {
    let own = std::env::args_os().next().unwrap_or_default();
    let unusable = |because: String| {
        let error = format!("{} cannot take over: {because}", own.display());
        Refused::Invalid(refusal(&error, Some("put a working mainstay there; this one goes on")))
    };
    let asked = Command::new(&own).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    match timeout(SAYS_WITHIN, asked).await {
        Ok(Ok(said)) if said.status.success() => Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned()),
        Ok(Ok(said)) => Err(unusable(format!("--version ends with {}", said.status))),
        Ok(Err(error)) => Err(unusable(error.to_string())),
        Err(_) => Err(unusable(format!("--version does not end within {SAYS_WITHIN:?}"))),
    }
}

/// Whether a new process of the service costs nobody a connection.
pub(super) fn moves(service: &Service) -> bool {
    !matches!(service.config, Config::Sql(_) | Config::Database(_) | Config::Store(_))
}

/// A service that is to start anew, and where to see that it has.
pub(super) type Mover = (watch::Sender<Wanted>, Arc<Post>);

/// Has each start anew once the one before serves.
pub(super) async fn roll(movers: Vec<Mover>, view: Arc<View>) {
    for (wanted, post) in movers {
        let before = post.status.load().pid;
        tracing::info!("{} moves to the new program", post.name);
        wanted.send_modify(|wanted| wanted.restarts += 1);
        let deadline = Instant::now() + SERVES_WITHIN;
        let serves = || {
            let status = post.status.load();
            status.pid.is_some() && status.pid != before && matches!(status.state, State::Serving | State::Degraded)
        };
        while !serves() && Instant::now() < deadline {
            sleep(LOOK).await;
        }
    }
    view.upgrading.store(false, Ordering::SeqCst);
}
