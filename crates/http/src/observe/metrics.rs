//! Prometheus' text format 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Scene;
use super::lane::BOUNDS_US;
use crate::config::Config;
use crate::pool::{Figures, Pool, Standing};

/// The media type of the format.
pub(super) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is counted.
pub(super) fn text(scene: &Scene, config: &Config) -> String {
    let mut out = Metrics::default();
    let counters = &scene.counters;
    for (name, says, value) in counters.each() {
        out.family(name, says.trim(), if name.ends_with("_total") { "counter" } else { "gauge" });
        out.sample(name, &[], value);
    }
    out.family("responses_total", "Answers by the class of their status.", "counter");
    for (class, answers) in counters.lanes.sums().answers.into_iter().enumerate() {
        out.sample("responses_total", &[("class", &format!("{}xx", class + 1))], answers);
    }
    out.family("refused_total", "Messages refused by the codec, by reason.", "counter");
    for (reason, refused) in counters.refusals() {
        out.sample("refused_total", &[("reason", reason)], refused);
    }
    out.now(scene);
    out.rates(config);
    out.pools(&Scene::pools(config));
    out.0
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The text so far; every name begins with `mainstay_`.
#[derive(Default)]
struct Metrics(String);

impl Metrics {
    fn family(&mut self, name: &str, says: &str, kind: &str) {
        let says = says.replace('\\', "\\\\").replace('\n', " ");
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP mainstay_{name} {says}\n# TYPE mainstay_{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "mainstay_{name}");
        for (place, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if place == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn now(&mut self, scene: &Scene) {
        let sums = scene.counters.lanes.sums();
        for (name, says, value) in [
            ("connections_idle", "Connections that wait for a request.", sums.idle),
            ("requests_in_progress", "Requests that are being answered.", sums.busy),
        ] {
            self.family(name, says, "gauge");
            self.sample(name, &[], value);
        }
        self.family("response_bytes_total", "Bytes of answers' bodies.", "counter");
        self.sample("response_bytes_total", &[], sums.bytes);
        let name = "request_duration_seconds";
        self.family(name, "From a request's head to the end of its answer.", "histogram");
        let mut below = 0;
        for (bound, took) in BOUNDS_US.iter().zip(&sums.took) {
            below += took;
            self.sample(&format!("{name}_bucket"), &[("le", &(*bound as f64 / 1e6).to_string())], below);
        }
        let all: u64 = sums.took.iter().sum();
        self.sample(&format!("{name}_bucket"), &[("le", "+Inf")], all);
        self.sample(&format!("{name}_sum"), &[], sums.took_us as f64 / 1e6);
        self.sample(&format!("{name}_count"), &[], all);
    }

    fn rates(&mut self, config: &Config) {
        if config.rates.is_empty() {
            return;
        }
        self.family("rate_refused_total", "Requests answered with 429, by the rate that refused them.", "counter");
        for rate in &config.rates {
            self.sample("rate_refused_total", &[("rate", &rate.settings().name)], rate.refused());
        }
        self.family("rate_banned", "Visitors that are banned now, by the rate that they did not keep to.", "gauge");
        let now = std::time::Instant::now();
        for rate in &config.rates {
            self.sample("rate_banned", &[("rate", &rate.settings().name)], rate.banned(now) as u64);
        }
        let says = "Requests that the other doors were not told of, for want of room.";
        self.family("rate_untold_total", says, "counter");
        for rate in &config.rates {
            self.sample("rate_untold_total", &[("rate", &rate.settings().name)], rate.untold());
        }
        let says = "Visitors forgotten before they were back at their full burst, for want of room.";
        self.family("rate_forgotten_total", says, "counter");
        for rate in &config.rates {
            self.sample("rate_forgotten_total", &[("rate", &rate.settings().name)], rate.forgotten());
        }
    }

    fn pools(&mut self, pools: &[&Arc<Pool>]) {
        self.family("pool_waiting", "Requests that wait for a backend.", "gauge");
        for pool in pools {
            self.sample("pool_waiting", &[("pool", pool.name())], pool.waiting());
        }
        type Of = fn(&Figures, &Standing) -> u64;
        let figures: [(&str, &str, &str, Of); 6] = [
            ("backend_up", "Whether it is given requests.", "gauge", |_, standing| standing.serves.into()),
            ("backend_requests_in_progress", "Requests at it now.", "gauge", |figures, _| {
                figures.outstanding.load(Ordering::Relaxed).into()
            }),
            ("backend_requests_total", "Requests given to it.", "counter", |figures, _| load(&figures.requests)),
            ("backend_failures_total", "Requests that it did not answer.", "counter", |figures, _| {
                load(&figures.failures)
            }),
            ("backend_ejections_total", "How often it was ejected.", "counter", |figures, _| load(&figures.ejections)),
            ("backend_response_bytes_total", "Bytes of its answers' bodies.", "counter", |figures, _| {
                load(&figures.bytes)
            }),
        ];
        for (name, says, kind, of) in figures {
            self.family(name, says, kind);
            self.each(pools, |out, labels, figures, standing| out.sample(name, labels, of(figures, standing)));
        }
        let name = "backend_responses_total";
        self.family(name, "Its answers by the class of their status.", "counter");
        self.each(pools, |out, labels, figures, _| {
            for (class, answers) in figures.answers.iter().enumerate() {
                let class = format!("{}xx", class + 1);
                out.sample(name, &[labels, &[("class", &class)]].concat(), load(answers));
            }
        });
    }

    /// Once for each backend, with its labels.
    fn each(&mut self, pools: &[&Arc<Pool>], mut tell: impl FnMut(&mut Metrics, &[(&str, &str)], &Figures, &Standing)) {
        for pool in pools {
            for ((name, figures), standing) in pool.backends().zip(&pool.standings()) {
                tell(self, &[("pool", pool.name()), ("backend", name)], figures, standing);
            }
        }
    }
}
