//! What happened, counted. Shared by all threads; read by the service's report and by collectors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::Refusal;
use crate::guard::Addresses;
use crate::observe::Lanes;

/// Declares [`Counters`] from one table: a field, its name as Prometheus writes it, and what it says, once.
macro_rules! counters {
    ($($(#[doc = $says:literal])+ $field:ident = $name:literal,)*) => {
        /// Totals since the engine started.
        #[derive(Default)]
        pub struct Counters {
            $($(#[doc = $says])+ pub $field: AtomicU64,)*
            refusals: Refusals,
            pub(crate) lanes: Lanes,
            pub(crate) addresses: Addresses,
        }

        impl Counters {
            /// Each but answers and refusals: its name, what it says, its value.
            pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$(($name, concat!($($says,)+), &self.$field),)*]
                    .into_iter()
                    .map(|(name, says, counter)| (name, says, load(counter)))
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections = "connections_total",
    /// Connections open now.
    open = "connections_open",
    /// Connections turned away because of the bound on all together.
    turned_away = "connections_turned_away_total",
    /// Connections turned away because their address had as many as it may.
    crowded = "connections_over_address_limit_total",
    /// Requests answered with 429 because a rate was exceeded.
    rate_limited = "requests_rate_limited_total",
    /// Requests for which no backend was free in time.
    unserved = "requests_unserved_total",
    /// Requests tried again at another backend.
    retries = "retries_total",
    /// Requests that might have been tried again but for the retry budget.
    retries_denied = "retries_denied_total",
    /// Requests that a second backend was asked too because the first was silent.
    hedges = "hedges_total",
    /// Requests that the second backend was the first to answer.
    hedges_won = "hedges_won_total",
    /// Exchanges that ended because the client went away.
    client_aborts = "client_aborts_total",
    /// Exchanges cut off after the answer had begun.
    truncated = "truncated_total",
    /// TLS connections with new keys.
    tls_full = "tls_full_handshakes_total",
    /// TLS connections that went on with the session of an earlier one.
    tls_resumed = "tls_resumed_handshakes_total",
    /// TLS connections that did not come about.
    tls_failed = "tls_failed_handshakes_total",
    /// Connections by HTTP/2.
    http2_connections = "http2_connections_total",
    /// Connections by HTTP/2 that were ended because they sent frames that only cost.
    http2_floods = "http2_floods_total",
    /// Connections that became WebSockets.
    tunnels = "websockets_total",
    /// Access log lines lost because the writer was slow.
    log_drops = "access_log_drops_total",
    /// Connections lost to a panic.
    panics = "panics_total",
}

/// One for each [`Refusal`].
struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Default for Refusals {
    fn default() -> Self {
        Refusals(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The place of a status' class, 1xx to 5xx, among five.
pub(crate) fn class(status: u16) -> usize {
    usize::from(status / 100).clamp(1, 5) - 1
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    pub(crate) fn refused(&self, refusal: Refusal) {
        count(&self.refusals.0[refusal as usize]);
    }

    /// What was refused, by its name.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL.iter().zip(&self.refusals.0).map(|(refusal, refused)| (refusal.name(), load(refused)))
    }

    /// Every total by its Prometheus name; refusals only where there were any.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let mut totals: BTreeMap<String, u64> = self.each().map(|(name, _, value)| (name.to_owned(), value)).collect();
        let now = self.lanes.sums();
        totals.insert("connections_idle".to_owned(), now.idle);
        totals.insert("requests_in_progress".to_owned(), now.busy);
        totals.insert("requests_total".to_owned(), now.requests());
        for (class, answers) in now.answers.into_iter().enumerate() {
            totals.insert(format!("responses_{}xx_total", class + 1), answers);
        }
        for (name, refused) in self.refusals().filter(|(_, refused)| *refused > 0) {
            totals.insert(format!("refused_{}_total", name.replace('-', "_")), refused);
        }
        totals
    }
}
