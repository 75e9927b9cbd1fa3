//! The engine over real sockets: scripted backends, clients that behave and clients that do not.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod balance;
mod cache;
mod coded;
mod engine;
mod faults;
mod files;
mod framing;
mod guard;
mod hedge;
mod hostile;
mod http2;
mod kept;
mod live;
mod local;
mod reencrypt;
mod responder;
mod scripts;
mod secure;
mod spliced;
mod spread;
mod strict;
mod tls;
mod websocket;
