//! The services against foreign peers: dig, MariaDB's own server and client.

mod dns;
mod support;
