//! Servers as network namespaces on one machine. Drives the binary; links nothing of the node.
//!
//! ```text
//!  host            ms-SITE__internet        ms-SITE__bridge          ms-SITE_web1
//!  127.0.0.1:8080 ──relay──> 203.0.113.1 ──── br0 ── p1 ──────────── eth0 10.80.0.11
//!                  (publish)                   ├──── p2 ──────────── …
//! ```
//!
//! The bridge lives in a namespace of its own, so that the host's routes, bridges and firewall are not touched. Every
//! server has also a process, mount and host name namespace, whose process 1 is given by the caller ([`Boot`]): its
//! death is the server's power cut.
//!
//! What exists is on record ([`Record`]) before it is made, so that whoever comes after a killed `up` can clean up.

pub mod init;
mod lab;
mod names;
mod namespace;
mod network;
mod pids;
mod power;
mod process;
mod publish;
mod record;
mod resolver;
pub mod scenario;
mod sweep;

pub use lab::{Lab, Options};
pub use network::{Cable, Loss, Wires};
pub use pids::HostPids;
pub use power::Boot;
pub use process::ProcessId;
pub use publish::{Bound, Publication, Relays, Taken, Targets};
pub use record::{Held, Mode, Place, Published, Record, ServerRecord};
pub use sweep::{Swept, sweep};
pub use {names::VARIABLE, namespace::within};
