//! The services against foreign peers: dig, MariaDB's own server and client, Python from the package index.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod app;
mod cache;
mod cluster;
mod coordination;
mod database;
mod dns;
mod etcd;
mod hook;
mod mariadb;
mod member;
mod php;
mod sql;
mod store;
mod support;
mod upkeep;
mod web;
