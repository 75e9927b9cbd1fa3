//! What is measured.

use std::time::Duration;

use super::contender::Who::{self, Few, Haproxy, Mainstay, Nginx, Relay, Responder, Varnish};

/// One situation.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name in the tables.
    pub name: &'static str,
    /// Bytes of an answer's body.
    pub body: usize,
    /// Bytes of a request's body, which is posted then; none is got.
    pub posted: usize,
    /// Client connections.
    pub connections: usize,
    /// How they are used.
    pub wire: Wire,
    /// Requests a second, or as many as go through.
    pub rate: Option<u32>,
    /// Where the contenders have their answers from.
    pub from: From,
    /// How long a backend takes for an answer.
    pub takes: Duration,
    /// How many backends there are.
    pub backends: usize,
    /// Who takes part.
    pub who: &'static [Who],
}

/// Where answers come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum From {
    Backends,
    Files,
    Cache,
    /// A page that is made, on the contender's own server.
    Application(Language),
}

/// What an application is written in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Php,
    Python,
}

/// How connections are used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1, kept alive.
    Clear,
    /// The same, a connection for each request.
    Anew,
    /// HTTP/1.1, kept alive, over TLS 1.3.
    Tls,
    /// The same over TLS 1.3, a connection with new keys for each request.
    Handshake,
    /// HTTP/2 over TLS, many requests at once; by h2load.
    Http2,
    /// HTTP/1.1, one request each and then nothing: what is measured is memory.
    Idle,
    /// The same over TLS.
    IdleTls,
    /// The same by HTTP/2 over TLS, as browsers do.
    IdleHttp2,
}

impl Wire {
    pub fn is_encrypted(self) -> bool {
        !matches!(self, Wire::Clear | Wire::Anew | Wire::Idle)
    }

    pub fn is_idle(self) -> bool {
        matches!(self, Wire::Idle | Wire::IdleTls | Wire::IdleHttp2)
    }
}

/// A body that fits into one packet with its head.
const SMALL: usize = 128;
const KIB: usize = 1024;
/// As many connections as a busy site has open, and as HAProxy takes where a process may have 20,000 descriptors.
const IDLE: usize = 9_000;
/// What a page takes that is made for its visitor: who sends many requests at a time is silent meanwhile, and so is the backend.
const PAGE: Duration = Duration::from_millis(5);
const PROXIES: &[Who] = &[Mainstay, Haproxy, Nginx, Relay];
const ENCRYPTING: &[Who] = &[Mainstay, Haproxy, Nginx];
const FILE_SERVERS: &[Who] = &[Mainstay, Nginx, Responder];
const WHOLE_SITES: &[Who] = &[Mainstay, Nginx];
const CACHES: &[Who] = &[Mainstay, Haproxy, Nginx, Varnish, Responder];

const fn proxy(name: &'static str, body: usize, connections: usize, rate: Option<u32>) -> Case {
    let (wire, from) = (Wire::Clear, From::Backends);
    Case { name, body, posted: 0, connections, wire, rate, from, takes: Duration::ZERO, backends: 2, who: PROXIES }
}

const fn posted(name: &'static str, posted: usize, rate: Option<u32>) -> Case {
    Case { posted, ..proxy(name, SMALL, 64, rate) }
}

const fn encrypted(name: &'static str, connections: usize, wire: Wire, rate: Option<u32>) -> Case {
    Case { wire, who: ENCRYPTING, ..proxy(name, SMALL, connections, rate) }
}

const fn files(name: &'static str, body: usize, rate: Option<u32>) -> Case {
    Case { from: From::Files, who: FILE_SERVERS, ..proxy(name, body, 64, rate) }
}

const fn made(name: &'static str, language: Language, rate: Option<u32>) -> Case {
    Case { from: From::Application(language), who: WHOLE_SITES, ..proxy(name, KIB, 16, rate) }
}

/// All of them. Fixed rates keep one core about a quarter busy: what counts there is waking up. Where it is the server's own work
/// that is looked at, it is saturated.
pub const CASES: [Case; 30] = [
    proxy("proxy-small-64-rate", SMALL, 64, Some(8000)),
    proxy("proxy-small-256-rate", SMALL, 256, Some(8000)),
    proxy("proxy-small-64-saturated", SMALL, 64, None),
    proxy("proxy-small-256-saturated", SMALL, 256, None),
    proxy("proxy-16k", 16 * KIB, 64, Some(4000)),
    proxy("proxy-1m", 1024 * KIB, 16, Some(300)),
    posted("post-1k-rate", KIB, Some(8000)),
    posted("post-1k-saturated", KIB, None),
    posted("post-64k-saturated", 64 * KIB, None),
    Case { wire: Wire::Anew, who: ENCRYPTING, ..proxy("proxy-connect", SMALL, 8, None) },
    encrypted("https-keepalive", 64, Wire::Tls, None),
    encrypted("https-handshake", 8, Wire::Handshake, None),
    encrypted("h2-multiplexed", 8, Wire::Http2, None),
    Case { body: 16 * KIB, ..encrypted("h2-multiplexed-16k", 8, Wire::Http2, None) },
    Case { posted: KIB, ..encrypted("h2-post-1k", 8, Wire::Http2, None) },
    Case { posted: KIB, takes: PAGE, ..encrypted("h2-post-1k-burst", 1, Wire::Http2, None) },
    files("static-1k", KIB, None),
    files("static-16k", 16 * KIB, None),
    files("static-1m", 1024 * KIB, None),
    Case { wire: Wire::Http2, connections: 8, who: WHOLE_SITES, ..files("h2-static-1k", KIB, None) },
    Case { from: From::Cache, who: CACHES, ..proxy("cache-hit", KIB, 64, None) },
    made("page-php-rate", Language::Php, Some(2000)),
    made("page-php-saturated", Language::Php, None),
    Case { connections: 400, ..made("page-php-crowd", Language::Php, None) },
    made("page-wsgi-rate", Language::Python, Some(1000)),
    made("page-wsgi-saturated", Language::Python, None),
    encrypted("idle-memory", IDLE, Wire::Idle, None),
    encrypted("idle-memory-tls", IDLE, Wire::IdleTls, None),
    encrypted("idle-memory-h2", IDLE, Wire::IdleHttp2, None),
    Case { backends: 1000, who: &[Mainstay, Few, Haproxy, Nginx], ..proxy("backends-1000", SMALL, 64, Some(8000)) },
];
