//! What runs on a server: the supervisor, and one module per service. Service modules never import a sibling.
pub mod app;
pub mod database;
pub mod dns;
pub mod harness;
pub mod log;
pub mod page;
pub mod platform;
pub mod release;
pub mod service;
pub mod sql;
