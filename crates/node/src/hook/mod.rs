//! Tells somebody outside that a floating address has come here: the program that the declaration names (`hook` of `cluster`),
//! which moves the address in a cloud whose network does not follow gratuitous ARP.
//!
//! It is a service of its own, under a user of its own, which looks whether the addresses are here. So whatever the program does,
//! and however long it takes, holds up neither the adverts nor the proxy, and touches nothing of theirs.

mod call;
mod watch;

use std::io;

use mainstay_site::plan;
use tokio::runtime;

use crate::service::Context;

/// Why nobody can be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime failed, or the kernel does not say which addresses are here.
    #[error("the addresses of this server cannot be watched: {0}")]
    Io(#[from] io::Error),
}

/// Watches and calls until asked to end.
///
/// # Errors
/// [`Error`].
pub fn run(context: Context, config: &plan::Hook) -> Result<(), Error> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(watch::serve(context, config))
}
