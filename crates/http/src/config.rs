//! What an engine is told, as one immutable value that can be swapped while it runs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::access::LogFormat;
use crate::cache::Cache;
use crate::codec::HeadLimits;
use crate::exchange::Spool;
use crate::fastcgi::Scripts;
use crate::files::Folder;
use crate::guard::Rate;
use crate::pool::Pool;
use crate::secure::Doors;
use crate::tls::ServerTls;

/// Everything that the path of a request depends on. A copy shares its routes.
#[derive(Clone, Default)]
pub struct Config {
    /// How this hop is called in `X-Mainstay-Via`: `web=server1`.
    pub via: String,
    /// Whether visitors connect here: then nothing that a client says of forwarding is believed.
    pub front: bool,
    /// Tried in order.
    pub routes: Arc<[Route]>,
    /// How much and how long.
    pub limits: Limits,
    /// How often may be asked; only the front door asks.
    pub rates: Vec<Arc<Rate>>,
    /// Who may see its figures, besides whoever asks from an address of its own server.
    pub observers: Vec<IpAddr>,
    /// Whether answers of backends are compressed for whoever takes that: once, where they are made.
    pub compresses: bool,
    /// Which requests get a line in the log.
    pub logged: Logged,
    /// How visitors are met on the listeners for HTTPS; without it these close every connection.
    pub tls: Option<ServerTls>,
    /// Who comes in clear by one of these is sent to HTTPS; nobody if there is none.
    pub doors: Vec<Doors>,
    /// The line of [`hsts`](crate::hsts) in answers by HTTPS.
    pub hsts: Option<Arc<str>>,
    /// How such a line is written.
    pub log: LogFormat,
}

/// Which requests get a line in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Logged {
    /// All.
    #[default]
    All,
    /// Those that were answered with 500 or above, or tried more than once: for a tier behind another that logs all.
    Failed,
}

/// Requests that belong together.
pub struct Route {
    /// Only this host, lower case, without port; any if `None`.
    pub host: Option<String>,
    /// Only paths below this prefix, which ends with `/`.
    pub prefix: String,
    /// Tried first, in order; each knows its URL prefix.
    pub folders: Vec<Folder>,
    /// Who answers everything else.
    pub pool: Arc<Pool>,
    /// What the backends of the pool speak.
    pub speaks: Speaks,
    /// Stores answers of the pool, where it speaks HTTP; several routes may share one.
    pub cache: Option<Arc<Cache>>,
}

/// What a backend speaks.
pub enum Speaks {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without being asked first, in clear (RFC 9113 § 3.3): gRPC.
    Http2,
    /// FastCGI.
    FastCgi(FastCgi),
}

/// How scripts are run by FastCGI.
pub struct FastCgi {
    /// Which script answers what.
    pub scripts: Box<dyn Scripts>,
    /// Where bodies of requests wait until they are whole.
    pub spool: Spool,
    /// How long a script may go on when nobody waits for it any more; then its backend is stuck ([`Pool::stuck`]).
    pub unheard_within: Duration,
}

/// Bounds, each with its reason.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of request and response heads.
    pub head: HeadLimits,
    /// For a TLS handshake: 10 s, as for a request head; nginx allows 60 s, in which an attacker holds a connection for two
    /// packets.
    pub tls_within: Duration,
    /// For a request head to arrive: 10 s, as HAProxy's recommended `timeout http-request`; slow-loris ends here.
    pub head_within: Duration,
    /// Between two requests of a connection: 60 s, nginx's `keepalive_timeout` of 75 s rounded down so that a client behind
    /// common 60 s idle firewalls is not surprised.
    pub idle_within: Duration,
    /// For a body to move at all, in either direction: 30 s, half of nginx's 60 s; a phone out of reach recovers sooner.
    pub progress_within: Duration,
    /// For a WebSocket to be silent in both directions: 1 h, as HAProxy's manual has `timeout tunnel`; applications that ping
    /// do so every minute or so, but not all ping.
    pub tunnel_idle_within: Duration,
    /// For a call of gRPC to be silent in both directions: `None`: as any other request. It says by its Content-Type alone
    /// that it is one, so this is for tiers with such applications behind them.
    pub call_within: Option<Duration>,
    /// For a backend to accept: 1 s. The next hop is on the same network; a lost SYN is sent again after 1 s.
    pub connect_within: Duration,
    /// For a backend to begin its answer: 60 s, nginx's `proxy_read_timeout`.
    pub answer_within: Duration,
    /// For a backend to become available: 10 s, longer than the restart of a role (1 s) or of an application (some
    /// seconds), shorter than a visitor's patience.
    pub hold_within: Duration,
    /// Bytes of a request body; unlimited by default, since the application knows its own uploads.
    pub body_bytes_max: u64,
    /// Connections per engine: 20,000, of which each costs a few KiB.
    pub connections_max: usize,
    /// Connections of one address, of IPv6 of one network of 64 bits: 1,024. Behind one address may be a company or the
    /// subscribers that share one of a mobile carrier (64 is a usual number) with six connections each and more; one visitor
    /// alone can take a twentieth of all.
    pub address_connections_max: u32,
    /// Whether connections from this machine itself are not bounded so.
    pub spares_loopback: bool,
    /// For requests in flight when the engine ends: 10 s.
    pub drain_within: Duration,
    /// For a client that is idle when the engine ends to ask once more: 1 s, since whoever has asked of late is likely to ask
    /// again, and whoever has not hardly does so in the very instant in which its connection is closed.
    pub last_within: Duration,
    /// How often a request is tried in all: 3, so that one dead and one dying backend are survived.
    pub tries_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head: HeadLimits::default(),
            tls_within: Duration::from_secs(10),
            head_within: Duration::from_secs(10),
            idle_within: Duration::from_secs(60),
            progress_within: Duration::from_secs(30),
            tunnel_idle_within: Duration::from_secs(3600),
            call_within: None,
            connect_within: Duration::from_secs(1),
            answer_within: Duration::from_secs(60),
            hold_within: Duration::from_secs(10),
            body_bytes_max: u64::MAX,
            connections_max: 20_000,
            address_connections_max: 1024,
            spares_loopback: true,
            drain_within: Duration::from_secs(10),
            last_within: Duration::from_secs(1),
            tries_max: 3,
        }
    }
}

impl Route {
    /// Everything to the backends of `pool`, by HTTP/1.1.
    pub fn to(pool: Arc<Pool>) -> Route {
        Route { host: None, prefix: "/".into(), folders: Vec::new(), pool, speaks: Speaks::Http, cache: None }
    }
}

impl Config {
    /// The first route for `host` (without port) and `path`.
    pub(crate) fn route(&self, host: &str, path: &str) -> Option<&Route> {
        let fits = |route: &&Route| {
            route.host.as_deref().is_none_or(|is| is.eq_ignore_ascii_case(host)) && below(path, &route.prefix).is_some()
        };
        self.routes.iter().find(fits)
    }

    /// Whether every route has somebody to ask.
    pub(crate) fn is_well(&self) -> bool {
        self.routes.iter().all(|route| route.pool.is_well())
    }
}

/// What follows `prefix` in `path`. The prefix `/a/` covers `/a/b` and, for its folder's own sake, `/a`.
pub(crate) fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix).or_else(|| (prefix.strip_suffix('/') == Some(path)).then_some(""))
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn prefixes_end_at_slashes() {
        assert_eq!(below("/static/a.css", "/static/"), Some("a.css"));
        assert_eq!(below("/static", "/static/"), Some(""));
        assert_eq!(below("/statics/a", "/static/"), None);
        assert_eq!(below("/x", "/"), Some("x"));
    }
}
