//! What runs on a server: the supervisor, and one module per service. Service modules never import a sibling.
pub mod app;
pub mod balancer;
pub mod clock;
pub mod control;
pub mod database;
pub mod dns;
mod engine;
pub mod harness;
pub mod log;
pub mod platform;
pub mod prepare;
pub mod release;
pub mod service;
pub mod sql;
pub mod store;
pub mod supervisor;
mod unix_http;
pub mod web;
