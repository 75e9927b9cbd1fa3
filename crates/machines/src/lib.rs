//! The decisions of Mainstay, pure.
//!
//! Nothing here opens a socket, reads a clock or touches a file: time and randomness are arguments,
//! so that every decision can be replayed, simulated, and compared with a model over all short histories.
//!
//! State machines share one idiom: `new(config, now)`, `handle(now, input)`, `poll() -> Option<Output>` until it is
//! `None`, then sleep until `deadline()`.

pub mod backoff;
pub mod balance;
pub mod budget;
pub mod database;
pub mod election;
pub mod gtid;
pub mod health;
pub mod limiter;
pub mod line;
pub mod membership;
pub mod outlier;
pub mod rate;
pub mod rollout;
mod time;
pub mod vrrp;

pub use time::Time;
