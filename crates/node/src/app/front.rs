//! The engine before the workers: takes requests on the service's sockets and hands them out.

use std::sync::Arc;
use std::time::Duration;

use mainstay_http::{Config, Declared, FastCgi, Limits, Logged, Pool, Reuse, Route, Settings, Speaks, Spool};
use mainstay_machines::balance::Algorithm;
use mainstay_site::model::{self, AppKind};
use mainstay_site::plan;

use super::php::POST_BYTES_MAX;
use super::script::Root;
use super::{Folders, Launch};
use crate::engine;

/// Requests that a WSGI worker has at a time: more than it has threads, so that it never waits for us, and few enough that
/// a slow one does not take them all.
const WSGI_REQUESTS_MAX: u32 = 128;
/// Requests that a worker with an event loop has at a time. Each WebSocket is one for as long as it is open.
const ASYNC_REQUESTS_MAX: u32 = 4096;
/// For requests under way when the service ends; with the workers' own time it stays below the 10 s of the service.
const DRAIN_MAX: Duration = Duration::from_secs(6);
/// Large bodies of requests that wait on disk at a time, in all: fourteen of the largest.
const SPOOL_BYTES_MAX: u64 = 1 << 30;
/// For a script that nobody waits for any more: background jobs that a page starts with a request of its own
/// (WordPress's cron, a backup) take minutes. After that it is stuck, and its worker is started anew.
const UNHEARD_MAX: Duration = Duration::from_secs(15 * 60);

/// The workers as a pool, none of which is there yet.
pub(super) fn pool(config: &plan::App) -> Arc<Pool> {
    // A PHP worker runs one script at a time.
    let (backend_requests_max, reuse) = match config.kind {
        AppKind::Php { .. } => (1, Reuse::Always),
        AppKind::Wsgi { .. } => (WSGI_REQUESTS_MAX, Reuse::Repeatable),
        AppKind::Asgi { .. } => (ASYNC_REQUESTS_MAX, Reuse::Repeatable),
        AppKind::Http { .. } => (ASYNC_REQUESTS_MAX, Reuse::Never),
    };
    let settings = Settings {
        name: config.app.to_string(),
        algorithm: Algorithm::LeastConnections,
        backend_requests_max,
        waiting_max: engine::WAITING_MAX,
        reuse,
        ..Settings::default()
    };
    let worker =
        |number| Declared { name: format!("worker {number}"), weight: 1, spare: false, address: None, well: false };
    Pool::new(settings, (0..config.workers).map(worker).collect())
}

/// What the engine does with a request: everything is for the workers.
pub(super) fn config(launch: &Launch, config: &plan::App, folders: &Folders, pool: Arc<Pool>) -> Config {
    let speaks = match &config.kind {
        AppKind::Php { entry } => {
            let shared = config.shared.iter().map(|(path, _)| path.clone());
            Speaks::FastCgi(FastCgi {
                scripts: Box::new(Root::new(folders.code.clone(), &config.prefix, entry, shared)),
                spool: Spool::new(folders.temporary.clone(), SPOOL_BYTES_MAX),
                unheard_within: UNHEARD_MAX,
            })
        }
        AppKind::Http { speaks: model::Speaks::Http2, .. } => Speaks::Http2,
        AppKind::Http { .. } | AppKind::Wsgi { .. } | AppKind::Asgi { .. } => Speaks::Http,
    };
    let mut limits = Limits { drain_within: DRAIN_MAX, ..engine::limits(false) };
    // A worker that is behind with accepting is busy, and not away: it is on this machine.
    limits.connect_within = limits.hold_within;
    limits.call_within = matches!(speaks, Speaks::Http2).then_some(limits.tunnel_idle_within);
    if matches!(speaks, Speaks::FastCgi(_)) {
        limits.body_bytes_max = POST_BYTES_MAX;
    }
    Config {
        via: format!("app={}", launch.server),
        front: false,
        routes: [Route { host: None, prefix: "/".into(), folders: Vec::new(), pool, speaks, cache: None }].into(),
        limits,
        compresses: true,
        // The web tier has logged it; here it would push what the codebase says out of the log.
        logged: Logged::Failed,
        ..Config::default()
    }
}
