//! What happened, counted. Shared by all threads; read by the service's report.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::Refusal;

/// Totals since the engine started.
pub struct Counters {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections turned away because of the bound.
    pub turned_away: AtomicU64,
    /// Answers by class: 1xx to 5xx.
    pub answers: [AtomicU64; 5],
    /// Requests for which no backend was free in time.
    pub unserved: AtomicU64,
    /// Requests tried again at another backend.
    pub retries: AtomicU64,
    /// Requests that might have been tried again but for the retry budget.
    pub retries_denied: AtomicU64,
    /// Exchanges that ended because the client went away.
    pub client_aborts: AtomicU64,
    /// Exchanges cut off after the answer had begun.
    pub truncated: AtomicU64,
    /// Connections that became WebSockets.
    pub tunnels: AtomicU64,
    /// Access log lines lost because the writer was slow.
    pub log_drops: AtomicU64,
    refusals: Vec<AtomicU64>,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            answers: Default::default(),
            unserved: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            retries_denied: AtomicU64::new(0),
            client_aborts: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
            tunnels: AtomicU64::new(0),
            log_drops: AtomicU64::new(0),
            refusals: Refusal::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5);
        count(&self.answers[class - 1]);
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        count(&self.refusals[refusal as usize]);
    }

    /// Every total by its Prometheus name; refusals only where there were any.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut totals = BTreeMap::from([
            ("requests_total".to_owned(), self.answers.iter().map(load).sum()),
            ("connections_total".to_owned(), load(&self.connections)),
            ("connections_open".to_owned(), load(&self.open)),
            ("connections_turned_away_total".to_owned(), load(&self.turned_away)),
            ("requests_unserved_total".to_owned(), load(&self.unserved)),
            ("retries_total".to_owned(), load(&self.retries)),
            ("retries_denied_total".to_owned(), load(&self.retries_denied)),
            ("client_aborts_total".to_owned(), load(&self.client_aborts)),
            ("truncated_total".to_owned(), load(&self.truncated)),
            ("websockets_total".to_owned(), load(&self.tunnels)),
            ("access_log_drops_total".to_owned(), load(&self.log_drops)),
        ]);
        for (class, answers) in self.answers.iter().enumerate() {
            totals.insert(format!("responses_{}xx_total", class + 1), load(answers));
        }
        for (refusal, refused) in Refusal::ALL.iter().zip(&self.refusals).filter(|(_, refused)| load(refused) > 0) {
            totals.insert(format!("refused_{}_total", refusal.name().replace('-', "_")), load(refused));
        }
        totals
    }
}
