//! The services against foreign peers: dig, MariaDB's own server and client, Python from the package index.

mod app;
mod database;
mod dns;
mod mariadb;
mod support;
