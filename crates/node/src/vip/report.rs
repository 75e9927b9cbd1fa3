//! What the service says of itself.

use std::collections::BTreeMap;

use mainstay_machines::vrrp::State as Vrrp;
use mainstay_site::wire::vip::{Router, View};
use mainstay_site::wire::{Part, Report, State};

use super::ear::Refused;
use super::seal::Disbelief;

/// What is counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn refused(&mut self, why: Refused) {
        self.count(match why {
            Refused::Malformed => "refused_malformed_total",
            Refused::Stranger => "refused_strangers_total",
            Refused::Foreign => "refused_foreign_total",
            Refused::Unbelieved(Disbelief::Unsigned) => "refused_unsigned_total",
            Refused::Unbelieved(Disbelief::Forged) => "refused_forged_total",
            Refused::Unbelieved(Disbelief::Replayed) => "refused_replayed_total",
        });
    }
}

/// `broken`: why no address can be held.
pub(super) fn report(view: &View, since_ms: &[u64], broken: Option<&str>, counters: &Counters) -> Report {
    let parts: Vec<Part> = view.routers.iter().zip(since_ms).map(|(router, since)| part(router, *since)).collect();
    let worst = parts.iter().map(|part| part.state).max().unwrap_or(State::Serving);
    let (state, because) = match broken {
        Some(broken) => (State::Failed, broken.to_owned()),
        None => {
            (worst, parts.iter().map(|part| format!("{} {}", part.name, part.because)).collect::<Vec<_>>().join("; "))
        }
    };
    let fitness = view.fitness.map_or("not known yet".to_owned(), |fitness| fitness.to_string());
    let own =
        view.routers.iter().filter(|router| router.state == Vrrp::Master).map(|router| router.address.to_string());
    let facts = vec![
        ("this server".to_owned(), fitness),
        ("holds".to_owned(), own.collect::<Vec<_>>().join(" ")),
        ("handed over".to_owned(), if view.away { "yes" } else { "no" }.to_owned()),
    ];
    let counters = counters.0.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    Report { state, because, facts, parts, counters }
}

fn part(router: &Router, since_ms: u64) -> Part {
    let (state, is) = match router.state {
        Vrrp::Master if router.priority < 100 => (State::Degraded, "is here".to_owned()),
        Vrrp::Master => (State::Serving, "is here".to_owned()),
        Vrrp::Fault => (State::Degraded, elsewhere(router)),
        Vrrp::Backup => (State::Serving, elsewhere(router)),
        Vrrp::Initialize => (State::Starting, elsewhere(router)),
    };
    let because = format!("{is}: {}, since {}", router.state.as_str(), router.because);
    Part { name: router.address.to_string(), state, since_ms, because, pid: None }
}

fn elsewhere(router: &Router) -> String {
    router.master.map_or_else(|| "is nowhere that is known".to_owned(), |master| format!("is at {master}"))
}
