//! What the balancer and the web server share: the engine made from a plan, and its report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use mainstay_http::files::Folder;
use mainstay_http::{
    Address, Checks, Config, Counters, Declared, Limits, Listeners, Pool, Reuse, Route, Server, Settings, Speaks,
    Sticky, Target,
};
use mainstay_machines::health::{self, State as Seen};
use mainstay_machines::{balance, outlier};
use mainstay_site::model::Algorithm;
use mainstay_site::plan;
use mainstay_site::wire::{Part, Report, State};
use tokio::sync::watch;

use crate::clock;
use crate::service::{Context, Reporter};

/// Figures in the report are at most this old.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Requests at one server at a time: far above what a tier serves, so that one that hangs cannot collect them all.
const BACKEND_REQUESTS_MAX: u32 = 4096;
/// Requests that may wait for a server: more than this are not served before their visitors give up.
const WAITING_MAX: u32 = 1000;

/// For a server that became well again to get its whole share: long enough for it to fill its caches and connect to what
/// is behind it, short against the time it was away.
const SLOW_START: Duration = Duration::from_secs(10);

/// Why the engine ended unasked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The supervisor handed over no socket.
    #[error("no listening socket called `http` was handed over: the plan and the supervisor disagree")]
    NoSocket,
    /// Cookies could be forged.
    #[error(
        "`sticky` needs a key that the site's secrets do not have; restart the supervisor, which makes the missing ones"
    )]
    NoKey,
    /// A folder that the plan has served.
    #[error("cannot serve the folder {}: {source}", .path.display())]
    Folder {
        /// The culprit.
        path: std::path::PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A thread, a runtime or a listener failed.
    #[error("the HTTP engine failed: {0}")]
    Engine(#[from] std::io::Error),
}

/// A pool with what it was planned as.
pub(crate) struct Tier {
    plan: plan::Pool,
    pool: Arc<Pool>,
}

impl Tier {
    /// The pool that `plan` asks for. Nobody in it is well before the first check. `key` signs its cookies.
    ///
    /// # Errors
    /// If it has cookies and there is no key.
    pub(crate) fn new(plan: &plan::Pool, key: &str) -> Result<Tier, Error> {
        if plan.sticky.is_some() && key.is_empty() {
            return Err(Error::NoKey);
        }
        let declared = plan.backends.iter().map(|backend| Declared {
            name: backend.name.to_string(),
            weight: backend.weight,
            spare: backend.spare,
            address: Some(Address::Tcp(backend.address)),
            well: false,
        });
        let settings = Settings {
            name: plan.name.clone(),
            algorithm: algorithm(plan.algorithm),
            backend_requests_max: BACKEND_REQUESTS_MAX,
            waiting_max: WAITING_MAX,
            reuse: Reuse::Always,
            outliers: Some(outlier::Config::default()),
            slow_start: SLOW_START,
            sticky: plan.sticky.as_deref().map(|cookie| Sticky::new(cookie, key.as_bytes())),
        };
        Ok(Tier { pool: Pool::new(settings, declared.collect()), plan: plan.clone() })
    }

    /// The route that leads to it, past `folders`.
    pub(crate) fn route(&self, host: Option<String>, prefix: &str, folders: Vec<Folder>) -> Route {
        Route { host, prefix: prefix.into(), folders, pool: self.pool.clone(), speaks: Speaks::Http, cache: None }
    }

    fn stand(&self, seen: &[mainstay_http::Seen]) -> (&str, Stand) {
        let stand = match self.pool.is_well() {
            true => Stand::Well,
            false if seen.iter().any(|backend| backend.state == Seen::Ill) => Stand::Lost,
            false => Stand::NotYet,
        };
        (&self.plan.name, stand)
    }

    fn check(&self, server: &mut Server) -> Arc<Checks> {
        let target = |(backend, it): (usize, &plan::Backend)| Target {
            backend,
            address: Address::Tcp(it.address),
            path: self.plan.health.path.clone(),
        };
        let config = health::Config {
            interval: Duration::from_millis(self.plan.health.interval_ms),
            timeout: Duration::from_millis(self.plan.health.timeout_ms),
            rise: self.plan.health.rise,
            fall: self.plan.health.fall,
        };
        server.check(self.pool.clone(), self.plan.backends.iter().enumerate().map(target).collect(), config)
    }
}

fn algorithm(declared: Algorithm) -> balance::Algorithm {
    match declared {
        Algorithm::RoundRobin => balance::Algorithm::RoundRobin,
        Algorithm::LeastConnections => balance::Algorithm::LeastConnections,
        Algorithm::Fastest => balance::Algorithm::Fastest,
        Algorithm::Observed => balance::Algorithm::Observed,
        Algorithm::Predictive => balance::Algorithm::Predictive,
        Algorithm::SourceHash => balance::Algorithm::SourceHash,
        Algorithm::ConsistentHash => balance::Algorithm::ConsistentHash,
    }
}

/// The bounds of a tier. One behind another takes heads that are a little larger, since each tier says in them where a
/// request came from: what the front door lets in gets through.
pub(crate) fn limits(front: bool) -> Limits {
    let mut limits = Limits::default();
    if !front {
        limits.head.size_bytes_max += 2 * 1024;
        limits.head.headers_max += 16;
    }
    limits
}

/// Serves until the service is asked to end.
pub(crate) fn run(mut context: Context, config: Config, tiers: Vec<Tier>) -> Result<(), Error> {
    let listeners = Listeners { http: context.sockets.take_tcp("http"), https: context.sockets.take_tcp("https") };
    if listeners.http.is_empty() {
        return Err(Error::NoSocket);
    }
    let mut server = Server::new(config);
    let checks = tiers.iter().map(|tier| tier.check(&mut server)).collect();
    let view = View { tiers, checks, config: server.config(), counters: server.counters() };
    let stop = context.shutdown.watch();
    let reporting = std::thread::Builder::new().name("report".into()).spawn({
        let (reporter, stop) = (context.reporter.clone(), stop.clone());
        move || view.keep_reporting(&reporter, stop)
    })?;
    server.run(listeners, &stop)?;
    reporting.join().map_err(|_| std::io::Error::other("the report's thread panicked"))??;
    Ok(())
}

/// What the report is made from.
struct View {
    tiers: Vec<Tier>,
    checks: Vec<Arc<Checks>>,
    config: Arc<ArcSwap<Config>>,
    counters: Arc<Counters>,
}

impl View {
    fn keep_reporting(&self, reporter: &Reporter, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            let mut changes: Vec<_> = self.checks.iter().map(|checks| checks.changes()).collect();
            while !*stop.borrow() {
                reporter.publish(self.report());
                let _ = tokio::time::timeout(REPORT_EVERY, async {
                    tokio::select! {
                        _ = any_change(&mut changes) => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                })
                .await;
            }
        });
        Ok(())
    }

    fn report(&self) -> Report {
        let mut parts = Vec::new();
        let mut ill = Vec::new();
        for (tier, checks) in self.tiers.iter().zip(&self.checks) {
            let ejections = tier.pool.ejections();
            for (backend, seen) in checks.seen().into_iter().enumerate() {
                let name = format!("{} on {}", tier.plan.name, seen.name);
                let since_ms = clock::unix_ms().saturating_sub(seen.since.elapsed().as_millis() as u64);
                let state = match seen.state {
                    Seen::Well => State::Serving,
                    Seen::Ill => State::Failed,
                    Seen::Unknown => State::Starting,
                };
                let (state, because) = match ejections.iter().find(|it| it.backend == backend) {
                    Some(ejection) if state == State::Serving => (State::Degraded, ejection.to_string()),
                    _ => (state, seen.because),
                };
                if state != State::Serving {
                    ill.push(format!("{name}: {because}"));
                }
                parts.push(Part { name, state, since_ms, because, pid: None });
            }
        }
        let stands: Vec<(&str, Stand)> =
            self.tiers.iter().zip(&self.checks).map(|(tier, checks)| tier.stand(&checks.seen())).collect();
        ill.extend(self.missing());
        let (state, because) = verdict(&stands, &ill);
        Report { state, because, facts: Vec::new(), parts, counters: self.totals() }
    }

    fn totals(&self) -> BTreeMap<String, u64> {
        let backends = self.tiers.iter().flat_map(|tier| tier.pool.backends());
        let ejections = backends.map(|(_, figures)| figures.ejections.load(Ordering::Relaxed)).sum();
        let mut totals = self.counters.totals();
        totals.insert("ejections_total".to_owned(), ejections);
        let cache = self.config.load().routes.iter().find_map(|route| route.cache.clone());
        totals.extend(cache.map(|cache| cache.totals()).unwrap_or_default());
        totals
    }
}

/// How a tier stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stand {
    /// Somebody serves.
    Well,
    /// Nobody ever did.
    NotYet,
    /// Nobody does any more.
    Lost,
}

/// `ill` has the backends that are not well, each with its reason. A tier that is not up yet is no failure: it is what a
/// cold start waits for.
fn verdict(tiers: &[(&str, Stand)], ill: &[String]) -> (State, String) {
    let any = |wanted| tiers.iter().any(|(_, stand)| *stand == wanted);
    let down: Vec<&str> = tiers.iter().filter(|(_, stand)| *stand != Stand::Well).map(|(name, _)| *name).collect();
    let why = ill.join("; ");
    match (down.is_empty(), ill.is_empty()) {
        (true, true) => (State::Serving, "every backend is well".into()),
        (true, false) => (State::Degraded, why),
        // One application of several is away.
        _ if any(Stand::Well) => (State::Degraded, format!("nobody serves {}: {why}", down.join(" and "))),
        _ if any(Stand::Lost) => (State::Failed, format!("nobody serves {}: {why}", down.join(" and "))),
        _ => (State::Starting, format!("waits for {why}")),
    }
}

impl View {
    /// The folders that cannot be served from, and what is answered instead.
    fn missing(&self) -> Vec<String> {
        let config = self.config.load();
        let folders = config.routes.iter().flat_map(|route| &route.folders);
        let told = |folder: &Folder| {
            let why = folder.missing()?;
            let instead = if folder.fall_through { "is asked of the application" } else { "is answered with 404" };
            Some(format!("{why}; what is below {} {instead} until it can", folder.prefix))
        };
        folders.filter_map(told).collect()
    }
}

/// Returns at the next change of any of them.
async fn any_change(changes: &mut [watch::Receiver<u64>]) {
    let mut all: Vec<_> = changes.iter_mut().map(|change| Box::pin(change.changed())).collect();
    std::future::poll_fn(|context| {
        let changed = all.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
        if changed { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_that_was_never_up_is_waited_for_and_one_that_is_lost_has_failed() {
        use Stand::{Lost, NotYet, Well};
        let told = |tiers: &[(&str, Stand)], ill: &[&str]| {
            let (state, because) = verdict(tiers, &ill.iter().map(ToString::to_string).collect::<Vec<_>>());
            format!("{}: {because}", state.as_str())
        };
        assert_eq!(told(&[("web", Well)], &[]), "serving: every backend is well");
        assert_eq!(told(&[("web", Well)], &["b: not up yet"]), "degraded: b: not up yet");
        assert_eq!(told(&[("web", NotYet)], &["a: x", "b: y"]), "starting: waits for a: x; b: y");
        assert_eq!(told(&[("web", Lost)], &["a: x"]), "failed: nobody serves web: a: x");
        assert_eq!(told(&[("app-a", NotYet), ("app-b", NotYet)], &["x"]), "starting: waits for x");
        assert_eq!(told(&[("app-a", NotYet), ("app-b", Lost)], &["x"]), "failed: nobody serves app-a and app-b: x");
        assert_eq!(told(&[("app-a", Well), ("app-b", Lost)], &["x"]), "degraded: nobody serves app-b: x");
    }
}
