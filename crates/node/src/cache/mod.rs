//! Redis for the applications: owns the life of one `redis-server`.
//!
//! What it keeps can be had elsewhere, or it would not be a cache. From that follow the settings of `configuration`: nothing is
//! written to the disk, and when memory is full, what was not used for longest goes. The process outlives its role, so that an
//! upgrade of Mainstay costs no value.

mod configuration;
mod process;
mod report;
mod role;

use std::io;

use mainstay_site::plan;
use tokio::runtime;

use crate::platform::program;
use crate::redis;
use crate::service::Context;

/// What is wrong with the cache.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Redis is not there.
    #[error(
        "neither Redis nor Valkey was found in {}; install the Debian package redis-tools, which has the server's program and \
         starts nothing",
        program::PATH
    )]
    Missing,
    /// It ended by itself.
    #[error("Redis {how}; its last words are in the log; tried again in {wait_s} s")]
    Crashed {
        /// How.
        how: String,
        /// The pause.
        wait_s: u64,
    },
    /// It runs and does not do what it is asked.
    #[error("Redis (process {pid}) cannot be used: {because}")]
    Unusable {
        /// Its process.
        pid: u32,
        /// Why.
        because: redis::Error,
    },
    /// A file or process operation failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Looks after Redis until asked to end, then ends it too.
///
/// # Errors
/// Only what no waiting mends: a runtime that cannot be made.
pub fn run(context: Context, config: &plan::Redis) -> Result<(), Error> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(role::serve(context, config));
    Ok(())
}
