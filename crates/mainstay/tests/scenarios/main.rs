//! The laboratory: the real binary on network namespaces, with real MariaDB, Python and foreign clients.
//!
//! Every scenario starts a site of its own, does something to it, and looks from outside: through the published ports,
//! `mainstay status`, `dig`. They need root, and say so instead of passing without it.
#![allow(clippy::print_stderr, reason = "figures that a person may want to see")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod client;
mod lab;
mod load;
mod steady;

mod applied;
mod cached;
mod changed;
mod distributed;
mod hooked;
mod https;
mod interrupted;
mod killed;
mod lacking;
mod limited;
mod simple;
mod verbs;
mod wordpress;
