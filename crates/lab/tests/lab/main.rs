//! The lab on this machine's kernel: namespaces, cables, power, relays. As root everything must work; without, only
//! what needs no namespace is tried, and the rest says so.

#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what was not tried is said")]

mod bench;
mod left;
mod loopback;
mod network;
mod power;
mod relay;
