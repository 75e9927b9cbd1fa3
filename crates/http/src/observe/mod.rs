//! What the engine shows of itself, in the formats that collectors know already.
//!
//! | format | below `/.mainstay/` | and where collectors look |
//! |---|---|---|
//! | nginx's `stub_status` | `stub_status` | `/stub_status`, `/nginx_status` |
//! | HAProxy's statistics | `stats;csv` | `/;csv`, `/stats;csv`, `/haproxy;csv`, `/haproxy?stats;csv`, each with `;norefresh` |
//! | Prometheus | `metrics` | that path is the collector's to choose: applications have a `/metrics` of their own |
//!
//! Figures are for the operator. They are shown to who connects from the server itself or from another of the site
//! ([`Config::observers`](crate::Config)), and asks for himself: what a proxy passes on, our own front door included, says so in a
//! header, and is a visitor's. To everyone else these paths are as if they were not there.

mod lane;
mod metrics;
mod samples;
mod statistics;
mod stub_status;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub(crate) use lane::{Lane, Lanes};

use crate::checks::{Checked, Seen};
use crate::codec::{Kind, Method};
use crate::config::Config;
use crate::counters::Counters;
use crate::event_loop::sleep;
use crate::exchange::{Outcome, Trip};
use crate::pool::Pool;
use crate::wire::Wire;
use samples::Samples;

/// What there is to see of an engine, besides its configuration.
pub(crate) struct Scene {
    pub(crate) counters: Arc<Counters>,
    checked: watch::Receiver<Vec<Arc<Checked>>>,
    samples: Samples,
    since: Instant,
}

impl Scene {
    pub(crate) fn new(counters: Arc<Counters>, checked: watch::Receiver<Vec<Arc<Checked>>>) -> Scene {
        Scene { counters, checked, samples: Samples::default(), since: Instant::now() }
    }

    /// Takes a sample each second, for ever.
    pub(crate) async fn keep_sampling(&self) {
        loop {
            self.samples.take(self);
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// The pools of `config`, each once.
    fn pools(config: &Config) -> Vec<&Arc<Pool>> {
        let mut pools: Vec<&Arc<Pool>> = Vec::new();
        for route in config.routes.iter() {
            if !pools.iter().any(|known| Arc::ptr_eq(known, &route.pool)) {
                pools.push(&route.pool);
            }
        }
        pools
    }

    /// What the checks know of a pool; nothing if it is not checked.
    fn seen(&self, pool: &Arc<Pool>) -> Vec<Seen> {
        let checked = self.checked.borrow();
        let checks = checked.iter().find(|checked| Arc::ptr_eq(&checked.pool, pool));
        checks.map(|it| it.checks.seen()).unwrap_or_default()
    }
}

/// A way of showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    StubStatus,
    Statistics,
    Metrics,
}

impl View {
    /// What `target` asks for.
    fn of(target: &str) -> Option<View> {
        match target.strip_suffix('/').unwrap_or(target) {
            "/.mainstay/stub_status" | "/stub_status" | "/nginx_status" => Some(View::StubStatus),
            "/.mainstay/metrics" => Some(View::Metrics),
            target => statistics(target).then_some(View::Statistics),
        }
    }
}

fn statistics(target: &str) -> bool {
    let Some(place) = target.strip_suffix(";norefresh").unwrap_or(target).strip_suffix(";csv") else { return false };
    matches!(place, "/" | "/stats" | "/haproxy" | "/haproxy?stats" | "/.mainstay/stats")
}

/// A page of figures.
struct Sheet {
    kind: &'static str,
    text: String,
}

impl Trip<'_> {
    /// Answers who asks for figures and may see them; `None` for everyone else.
    pub(crate) async fn observe(&self, wire: &mut Wire) -> Option<Outcome> {
        let view = View::of(self.request.target())?;
        let asks = matches!(self.request.method, Method::Get | Method::Head);
        if !asks || !self.may_observe(wire) {
            return None;
        }
        let (scene, config) = (&self.worker.scene, self.config);
        let sheet = match view {
            View::StubStatus => Sheet { kind: "text/plain", text: stub_status::text(&scene.counters) },
            View::Statistics => Sheet { kind: "text/plain", text: statistics::text(scene, config) },
            View::Metrics => Sheet { kind: metrics::KIND, text: metrics::text(scene, config) },
        };
        Some(self.sheet(&sheet, wire).await)
    }

    fn may_observe(&self, wire: &Wire) -> bool {
        let Some((peer, local)) = wire.ends().map(|ends| **ends) else { return false };
        let relayed = |kind| matches!(kind, Kind::ForwardedFor | Kind::Forwarded | Kind::Via | Kind::ForwardedHost);
        let hop = |name: &str| name.eq_ignore_ascii_case("via") || name.eq_ignore_ascii_case("x-real-ip");
        near(peer.ip(), local.ip(), &self.config.observers)
            && !self.request.head.headers().any(|(kind, name, _)| relayed(kind) || hop(name))
    }

    async fn sheet(&self, sheet: &Sheet, wire: &mut Wire) -> Outcome {
        let persists = self.goes_on();
        let mut out = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n",
            sheet.kind,
            sheet.text.len()
        );
        if let Some(connection) = self.connection(persists) {
            out.push_str(&format!("Connection: {connection}\r\n"));
        }
        out.push_str("\r\n");
        if self.request.method != Method::Head {
            out.push_str(&sheet.text);
        }
        let written = wire.stream.write(out.as_bytes(), self.config.limits.progress_within).await.is_ok();
        Outcome { status: 200, bytes: out.len() as u64, persists: persists && written, backend: None, tries: 0 }
    }
}

/// Whether `peer` is this server, which it reached at the address `own`, or one that may observe it.
fn near(peer: IpAddr, own: IpAddr, observers: &[IpAddr]) -> bool {
    peer.is_loopback() || peer == own || observers.contains(&peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_of_the_site_are_near() {
        let [own, other, visitor] = ["10.80.0.11", "10.80.0.12", "203.0.113.9"].map(|text| text.parse().unwrap());
        let near = |peer: IpAddr| near(peer, own, &[other]);
        assert!(near(own) && near(other) && near("127.0.0.1".parse().unwrap()) && near("::1".parse().unwrap()));
        assert!(!near(visitor) && !near("10.80.0.13".parse().unwrap()));
    }

    #[test]
    fn collectors_find_what_they_look_for() {
        for (target, view) in [
            ("/stub_status", Some(View::StubStatus)),
            ("/nginx_status/", Some(View::StubStatus)),
            ("/.mainstay/stub_status", Some(View::StubStatus)),
            ("/;csv", Some(View::Statistics)),
            ("/;csv;norefresh", Some(View::Statistics)),
            ("/haproxy?stats;csv", Some(View::Statistics)),
            ("/.mainstay/stats;csv", Some(View::Statistics)),
            ("/.mainstay/metrics", Some(View::Metrics)),
            ("/metrics", None),
            ("/", None),
            ("/stats", None),
            ("/a/stub_status", None),
            ("/page?x=;csv", None),
        ] {
            assert_eq!(View::of(target), view, "{target}");
        }
    }
}
