//! The services against foreign peers: dig, MariaDB's own server and client.

mod database;
mod dns;
mod mariadb;
mod support;
