//! What is measured.

use super::contender::Who::{self, Haproxy, Mainstay, Nginx, Relay};

/// One situation.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name in the tables.
    pub name: &'static str,
    /// Bytes of an answer's body.
    pub body: usize,
    /// Client connections, all kept alive.
    pub connections: usize,
    /// Requests a second, or as many as go through.
    pub rate: Option<u32>,
    /// Whether the contenders answer from files or pass on to the backends.
    pub from: From,
    /// Who takes part.
    pub who: &'static [Who],
}

/// Where answers come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum From {
    Backends,
    Files,
}

/// A body that fits into one packet with its head.
const SMALL: usize = 128;
const KIB: usize = 1024;
const PROXIES: &[Who] = &[Mainstay, Haproxy, Nginx, Relay];
const FILE_SERVERS: &[Who] = &[Mainstay, Nginx];

const fn proxy(name: &'static str, body: usize, connections: usize, rate: Option<u32>) -> Case {
    Case { name, body, connections, rate, from: From::Backends, who: PROXIES }
}

const fn files(name: &'static str, body: usize, rate: Option<u32>) -> Case {
    Case { name, body, connections: 64, rate, from: From::Files, who: FILE_SERVERS }
}

/// All of them. Fixed rates keep one core about a quarter busy.
pub const CASES: [Case; 9] = [
    proxy("proxy-small-64-rate", SMALL, 64, Some(8000)),
    proxy("proxy-small-256-rate", SMALL, 256, Some(8000)),
    proxy("proxy-small-64-saturated", SMALL, 64, None),
    proxy("proxy-small-256-saturated", SMALL, 256, None),
    proxy("proxy-16k", 16 * KIB, 64, Some(4000)),
    proxy("proxy-1m", 1024 * KIB, 16, Some(300)),
    files("static-1k", KIB, Some(8000)),
    files("static-16k", 16 * KIB, Some(4000)),
    files("static-1m", 1024 * KIB, Some(300)),
];
