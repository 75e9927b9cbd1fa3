//! A member of the store: owns the life of one `etcd`.
//!
//! A member that has its data is started with it, whoever else is there. One without must not be taken for the one that it was:
//! it has forgotten what it voted for. So it asks the others first (`entry`), and begins a new store only with nobody.

mod arguments;
mod duties;
mod entry;
mod places;
mod report;
mod role;
#[cfg(test)]
mod tests;
mod turn;

use std::io;
use std::path::Path;

use mainstay_site::plan;
use tokio::runtime;

use crate::platform::program;
use crate::service::Context;
use crate::store;

/// What is wrong with the member.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// etcd is not there.
    #[error(
        "etcd was not found in {}; install the Debian package etcd-server (and mask its own service)",
        program::PATH
    )]
    Missing,
    /// The plan does not name this server.
    #[error("the plan of the store on {0} does not name {0} among the members")]
    NoMember(String),
    /// The secrets lack what the members know each other by.
    #[error("there is no certificate for {0} in its secrets.json; `mainstay up` and `mainstay apply` make it")]
    NoCertificate(String),
    /// It ended by itself.
    #[error("etcd {how}; its last words are in the log; tried again in {wait_s} s")]
    Crashed {
        /// How.
        how: String,
        /// The pause.
        wait_s: u64,
    },
    /// It may not begin anew and nobody lets it in.
    #[error(
        "this member's data is gone, and it may come back only through the others, of whom a majority does not answer: {because}; \
         start their servers. If they are lost for good, remove {marker} here: this member then begins a new, empty store"
    )]
    Alone {
        /// Whom it asked.
        because: store::Error,
        /// What forbids it to begin anew.
        marker: String,
    },
    /// The others refuse something.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A file or process operation failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Notes in the state directory of a member that no server of its site has ever run: it need not look around for others that
/// may keep a store, which takes as long as the slowest of them may take to answer.
///
/// # Errors
/// As mkdir(2) and open(2).
pub fn note_first(state: &Path, config: &plan::Store) -> io::Result<()> {
    let first = state.join(&config.data).with_file_name(places::FIRST);
    first.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(first, "No server of the site has run yet: this one begins its store with the others.\n")
}

/// Looks after `etcd` until asked to end, then ends it too.
///
/// # Errors
/// Only what no waiting mends: a plan without this server, secrets without certificates, a runtime that cannot be made.
pub fn run(context: Context, config: &plan::Store) -> Result<(), Error> {
    let places = places::Places::new(&context.launch, config)?;
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(role::serve(context, config, places));
    Ok(())
}
