//! The processes of a server: supervisor, services and init, as real as they ship, killed and stopped in every way.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod init;
mod scene;
mod successor;
mod supervisor;
