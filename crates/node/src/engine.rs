//! What the balancer and the web server share: the engine made from a plan, and its report.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use mainstay_http::files::Folder;
use mainstay_http::{
    Address, Cache, CacheSettings, Checked, Config, Counters, Declared, Limits, Listeners, Live, Local, Pool, Reuse,
    Route, Server, Settings, Speaks, Sticky, Target,
};
use mainstay_machines::health::{self, State as Seen};
use mainstay_machines::{balance, outlier};
use mainstay_site::model::{self, Algorithm};
use mainstay_site::names::ServerName;
use mainstay_site::plan;
use mainstay_site::wire::{Part, Report, State};
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::fellows::{self, Shared};
use crate::platform::bind::cores;
use crate::purge;
use crate::service::{Context, Declined, Launch, Offer, Reporter};

/// Figures in the report are at most this old.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Requests at one server at a time: far above what a tier serves, so that one that hangs cannot collect them all.
const BACKEND_REQUESTS_MAX: u32 = 4096;
/// Requests that may wait for a server, or an application's for a worker: what comes at 2,000 a second in the two that a database takes
/// to change its primary, or a worker to start. Each takes 4 to 8 KB meanwhile. What is too slow for them is found out by the clock.
pub(crate) const WAITING_MAX: u32 = 4096;

/// For a server that became well again to get its whole share: long enough for it to fill its caches and connect to what
/// is behind it, short against the time it was away.
const SLOW_START: Duration = Duration::from_secs(10);

/// Why the engine ended unasked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The supervisor handed over no socket.
    #[error("no listening socket called `http` was handed over: the plan and the supervisor disagree")]
    NoSocket,
    /// The launch of another service.
    #[error("it is another kind of service")]
    Foreign,
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
    /// HTTPS without what it takes.
    #[error("secrets.json holds no certificate; `mainstay up` and `mainstay serve --declaration` put one there")]
    NoCertificate,
    /// What there is cannot be used.
    #[error(transparent)]
    Certificate(#[from] mainstay_http::tls::Error),
    /// A thread, a runtime or a listener failed.
    #[error("the HTTP engine failed: {0}")]
    Engine(#[from] std::io::Error),
}

/// What an HTTP tier does, made from its launch.
pub(crate) struct Made {
    pub(crate) launch: Launch,
    pub(crate) config: Config,
    pub(crate) tiers: Vec<Tier>,
}

impl Made {
    /// The other front doors of the site. An engine is made for an HTTP tier alone.
    fn fellows(&self) -> &[(ServerName, SocketAddr)] {
        match &self.launch.service.config {
            plan::Config::Balancer(balancer) => &balancer.door.fellows,
            plan::Config::Web(web) => &web.door.fellows,
            _ => &[],
        }
    }

    fn checked(&self) -> Vec<Arc<Checked>> {
        self.tiers.iter().map(|tier| tier.checked.clone()).collect()
    }
}

/// The cache of all routes: what one application does not need, another has. One of another size begins empty.
pub(crate) fn cache(settings: Option<&model::Cache>, before: Option<&Made>) -> Option<Arc<Cache>> {
    let settings = settings?;
    let was = before.and_then(|made| match &made.launch.service.config {
        plan::Config::Web(web) => web.cache.as_ref(),
        plan::Config::Balancer(balancer) => balancer.cache.as_ref(),
        _ => None,
    });
    let known = before.filter(|_| was == Some(settings));
    let known = known.and_then(|made| made.config.routes.iter().find_map(|route| route.cache.clone()));
    let memory_bytes = settings.memory_bytes;
    Some(known.unwrap_or_else(|| Cache::new(CacheSettings { memory_bytes, ..CacheSettings::default() })))
}

/// A pool with what it was planned as.
#[derive(Clone)]
pub(crate) struct Tier {
    plan: plan::Pool,
    pool: Arc<Pool>,
    checked: Arc<Checked>,
}

impl Tier {
    /// The pool that `plan` asks for: that of `before` if nothing has changed, else one that goes on with what is known of
    /// the backends that they share. Nobody else in it is well before the first check.
    ///
    /// # Errors
    /// If it has cookies and there is no key.
    pub(crate) fn new(plan: &plan::Pool, launch: &Launch, before: Option<&Made>) -> Result<Tier, Error> {
        let key = &launch.secrets.sticky;
        if plan.sticky.is_some() && key.is_empty() {
            return Err(Error::NoKey);
        }
        let known = before.and_then(|made| made.tiers.iter().find(|tier| tier.plan.name == plan.name));
        let same_key = before.is_some_and(|made| made.launch.secrets.sticky == *key);
        if let Some(known) = known.filter(|known| known.plan == *plan && same_key) {
            return Ok(known.clone());
        }
        let (settings, declared) = (settings(plan, key), declared(plan, launch));
        let pool = match known {
            Some(known) => known.pool.following(settings, declared),
            None => Pool::new(settings, declared),
        };
        let (targets, config) = checks(plan, launch);
        let checked = Checked::new(pool.clone(), targets, config, known.map(|known| &*known.checked));
        Ok(Tier { plan: plan.clone(), pool, checked })
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
}

/// Whoever runs on the same server is not asked by way of the network.
fn address(plan: &plan::Pool, backend: &plan::Backend, launch: &Launch) -> Address {
    let address = backend.address;
    if backend.name != launch.server {
        return Address::Tcp(address);
    }
    let paths = plan::local_sockets(&plan.name, cores()).map(|path| launch.state.join(path)).collect();
    Address::Local(Local { paths, address })
}

fn declared(plan: &plan::Pool, launch: &Launch) -> Vec<Declared> {
    let declared = |backend: &plan::Backend| Declared {
        name: backend.name.to_string(),
        weight: backend.weight,
        spare: backend.spare,
        address: Some(address(plan, backend, launch)),
        well: false,
    };
    plan.backends.iter().map(declared).collect()
}

fn settings(plan: &plan::Pool, key: &str) -> Settings {
    Settings {
        name: plan.name.clone(),
        algorithm: algorithm(plan.algorithm),
        backend_requests_max: BACKEND_REQUESTS_MAX,
        waiting_max: WAITING_MAX,
        // What must not be sent twice goes on a connection of its own, unless an answer has just come from there: one that was idle may
        // lead to a machine that is off, and nobody could say then whether the request had arrived. A handshake that succeeds says
        // that somebody is there.
        reuse: Reuse::Lively,
        outliers: Some(outlier::Config::default()),
        slow_start: SLOW_START,
        sticky: plan.sticky.as_deref().map(|cookie| Sticky::new(cookie, key.as_bytes())),
        hedge_after: plan.hedge_ms.map(|after| Duration::from_millis(after.into())),
    }
}

fn checks(plan: &plan::Pool, launch: &Launch) -> (Vec<Target>, health::Config) {
    let target = |(backend, it): (usize, &plan::Backend)| Target {
        backend,
        address: address(plan, it, launch),
        path: plan.health.path.clone(),
    };
    let config = health::Config {
        interval: Duration::from_millis(plan.health.interval_ms),
        timeout: Duration::from_millis(plan.health.timeout_ms),
        rise: plan.health.rise,
        fall: plan.health.fall,
    };
    (plan.backends.iter().enumerate().map(target).collect(), config)
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
/// request came from: what the front door lets in gets through. And it is patient for longer, so that who waits in vain is cut off at the
/// door, which knows why, and no tier behind it is taken for one that broke off.
pub(crate) fn limits(front: bool) -> Limits {
    let mut limits = Limits::default();
    if !front {
        limits.head.size_bytes_max += 2 * 1024;
        limits.head.headers_max += 16;
        limits.progress_within += Duration::from_secs(10);
    }
    limits
}

/// Makes what a launch asks for, with what can be taken over of what was made before.
pub(crate) type Make = fn(&Launch, Option<&Made>) -> Result<Made, Error>;

/// Serves until the service is asked to end.
pub(crate) fn run(mut context: Context, make: Make) -> Result<(), Error> {
    let sockets = &mut context.sockets;
    let (http, https) = (sockets.take_tcp("http"), sockets.take_tcp("https"));
    let listeners = Listeners { http, https, local: std::mem::take(&mut sockets.local) };
    if listeners.http.is_empty() {
        return Err(Error::NoSocket);
    }
    let made = make(&context.launch, None)?;
    let server = Server::new(made.config.clone());
    let live = server.live();
    live.swap(made.config.clone(), made.checked());
    let followed = server.live();
    context.purges.answer(move |purge| purge::carry_out(&followed.config(), purge));
    let stop = context.shutdown.watch();
    let shared = Arc::new(Shared::default());
    let telling = share(&mut context, &made, server.live(), shared.clone(), stop.clone())?;
    let mut view = View { made, make, live, counters: server.counters(), shared };
    let reporting = std::thread::Builder::new().name("report".into()).spawn({
        let (reporter, offers, stop) = (context.reporter.clone(), context.launches.follow(), stop.clone());
        move || view.keep_reporting(&reporter, offers, stop)
    })?;
    server.run(listeners, &stop)?;
    reporting.join().map_err(|_| std::io::Error::other("the report's thread panicked"))??;
    if let Some(telling) = telling {
        telling.join().map_err(|_| std::io::Error::other("the thread that shares rates panicked"))?;
    }
    Ok(())
}

/// Has the site's other doors told what is admitted here, and hears them, where the plan has it.
fn share(
    context: &mut Context,
    made: &Made,
    live: Live,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) -> Result<Option<JoinHandle<()>>, Error> {
    shared.follow(made.fellows());
    let Some(socket) = context.sockets.take_udp("limits").pop() else { return Ok(None) };
    Ok(Some(fellows::spawn(socket, &context.launch.secrets.limits, live, shared, stop)?))
}

/// What the report is made from.
struct View {
    made: Made,
    make: Make,
    live: Live,
    counters: Arc<Counters>,
    shared: Arc<Shared>,
}

impl View {
    fn keep_reporting(
        &mut self,
        reporter: &Reporter,
        mut offers: mpsc::Receiver<Offer>,
        mut stop: watch::Receiver<bool>,
    ) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            let mut changes = self.changes();
            while !*stop.borrow() {
                reporter.publish(self.report());
                tokio::select! {
                    _ = any_change(&mut changes) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                    () = tokio::time::sleep(REPORT_EVERY) => {}
                    Some(offer) = offers.recv() => {
                        let answer = self.follow(offer.launch);
                        changes = self.changes();
                        reporter.publish(self.report());
                        // Who asked may have lost patience; it will ask how we are.
                        let _ = offer.answer.send(answer);
                    }
                }
            }
        });
        Ok(())
    }

    fn changes(&self) -> Vec<watch::Receiver<u64>> {
        self.made.tiers.iter().map(|tier| tier.checked.checks().changes()).collect()
    }

    /// Does what `launch` asks for from now on, without a restart.
    fn follow(&mut self, launch: Launch) -> Result<(), Declined> {
        let (known, generation) = (&self.made.launch, launch.generation);
        if (&known.site, &known.server, &known.state) != (&launch.site, &launch.server, &launch.state) {
            return Err(Declined::Restart("it is another server's".into()));
        }
        if known.service.listens != launch.service.listens || known.service.user != launch.service.user {
            return Err(Declined::Restart("it listens elsewhere".into()));
        }
        let made = (self.make)(&launch, Some(&self.made)).map_err(|error| match error {
            Error::Foreign => Declined::Restart(error.to_string()),
            error => Declined::Unusable(error.to_string()),
        })?;
        self.live.swap(made.config.clone(), made.checked());
        for tier in &self.made.tiers {
            let next = made.tiers.iter().find(|next| next.plan.name == tier.plan.name);
            if let Some(next) = next.filter(|next| !Arc::ptr_eq(&next.pool, &tier.pool)) {
                tier.pool.supersede(next.pool.clone());
            }
        }
        self.made = made;
        self.shared.follow(self.made.fellows());
        tracing::info!(generation = generation.0, "follows another plan without a restart");
        Ok(())
    }

    fn report(&self) -> Report {
        let mut parts = Vec::new();
        let mut ill = Vec::new();
        for tier in &self.made.tiers {
            let ejections = tier.pool.ejections();
            for (backend, seen) in tier.checked.checks().seen().into_iter().enumerate() {
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
            self.made.tiers.iter().map(|tier| tier.stand(&tier.checked.checks().seen())).collect();
        ill.extend(self.missing());
        let (state, because) = verdict(&stands, &ill);
        let mut facts = vec![("follows".to_owned(), format!("generation {}", self.made.launch.generation))];
        facts.extend(self.shared.fact());
        Report { state, because, facts, parts, counters: self.totals() }
    }

    fn totals(&self) -> BTreeMap<String, u64> {
        let backends = self.made.tiers.iter().flat_map(|tier| tier.pool.backends());
        let ejections = backends.map(|(_, figures)| figures.ejections.load(Ordering::Relaxed)).sum();
        let mut totals = self.counters.totals();
        totals.insert("ejections_total".to_owned(), ejections);
        totals.insert("limits_disbelieved_total".to_owned(), self.shared.disbelieved());
        let cache = self.made.config.routes.iter().find_map(|route| route.cache.clone());
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
        let folders = self.made.config.routes.iter().flat_map(|route| &route.folders);
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
