//! The HTTP engine: the path of every request. Knows sockets, pools and files; not servers, roles or the declaration.
//!
//! ```text
//! server      an event loop per core, each with a listener of its own
//!   connection    one request after the other: head, route, answer, log line
//!     send          from files
//!     exchange      to a backend by HTTP or FastCGI and back, both directions at once, retried where that is safe
//!       cached        from the cache, or for it
//!       pool, idle    who is asked; connections that wait for their next request
//!   guard         who may ask how often; a panic costs one connection
//!   observe       figures for collectors: stub_status, statistics in CSV, Prometheus
//!   checks        the active health checks, once for the process
//! codec       HTTP/1.1 without I/O: what is ambiguous is refused
//! ```

mod access;
mod cache;
mod checks;
mod clock;
pub mod codec;
mod config;
mod connection;
mod counters;
mod encoding;
mod event_loop;
mod exchange;
pub mod fastcgi;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guard;
mod http2;
mod idle;
mod observe;
mod page;
mod park;
mod patience;
mod pool;
mod secure;
mod send;
mod server;
mod spares;
mod splice;
mod sticky;
mod stream;
pub mod tls;
mod trace;
mod wire;
mod worker;

pub use access::LogFormat;
pub use cache::{Cache, CacheSettings};
pub use checks::{Checked, Checks, Seen, Target};
pub use config::{Config, FastCgi, Limits, Logged, Route, Speaks};
pub use counters::Counters;
pub use exchange::Spool;
pub use guard::{Ban, By, Message, Rate, RateSettings};
pub use pool::{Declared, Ejection, Figures, Lease, Pool, Refused, Reuse, Settings, Standing, Wanted};
pub use secure::{Doors, hsts};
pub use server::{Listeners, Live, Server};
pub use sticky::Sticky;
pub use stream::{Address, Local};
