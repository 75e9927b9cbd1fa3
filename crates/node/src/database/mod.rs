//! The database: one role owns the life of one `mariadbd`.
//!
//! A reconciler: at every turn it looks at what runs, asks `machines::database` for the next step, carries it out and
//! says how things are. What it finds running it adopts, so its own death interrupts nothing.

mod accounts;
mod admin;
mod clone;
mod cluster;
mod configuration;
mod copies;
mod engine;
mod errors;
mod follow;
mod install;
mod mariadb;
mod places;
mod process;
mod relay_log;
mod report;
mod rescue;
mod role;
mod steps;
mod upkeep;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use mainstay_machines::backoff::Policy;
use mainstay_site::plan;
use tokio::runtime;

use self::admin::{ADMIN, Fault};
use crate::platform::program;
use crate::service::Context;
use crate::store;

/// The account that replicas log in with.
const REPLICATION: &str = "mainstay_replication";
/// The account that asks for the health of a server and may read nothing. The SQL endpoints know it by this name.
const CHECK: &str = "mainstay_check";

/// How soon `mariadbd` is started again after it ended by itself. It comes back with `read_only = 1` and is looked at before it is
/// opened. One that lived for half a minute was well. As long is the longest pause: what makes a database crash at its start (a full
/// disk, a taken port) is mended by hand, and then it should be back soon.
const RESTARTS: Policy = Policy {
    pause_first: Duration::from_secs(1),
    pause_max: Duration::from_secs(30),
    well_after: Duration::from_secs(30),
};

/// What is wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of MariaDB is not there.
    #[error("{program} was not found in {}; install the Debian package mariadb-server-core", program::PATH)]
    Missing {
        /// Its name.
        program: &'static str,
    },
    /// No data directory could be made.
    #[error("mariadb-install-db failed: {why}; the half-made data directory is kept at {} and not used", kept.display())]
    Install {
        /// The end of its output.
        why: String,
        /// What it left.
        kept: PathBuf,
    },
    /// The state directory is too deep.
    #[error("the path {} has more than {most} bytes, which no Unix socket may; choose a shorter state directory", socket.display())]
    SocketPath {
        /// The socket.
        socket: PathBuf,
        /// The limit.
        most: usize,
    },
    /// It ended by itself.
    #[error("{cause}; {}; tried again in {wait_s} s", errors::remedy(cause))]
    Crashed {
        /// How, and its last words.
        cause: String,
        /// The pause.
        wait_s: u64,
    },
    /// A schema with such a name cannot be made.
    #[error(
        "an application cannot have a schema called \"{0}\": it must be 1 to 64 of a-z 0-9 _ -, not one of MariaDB's own, and not begin with \"mainstay\"; rename the application"
    )]
    Schema(String),
    /// The supervisor did not hand over a password.
    #[error(
        "there is no password for the account \"{0}\" in the site's secrets; restart the supervisor, which makes the missing ones"
    )]
    NoPassword(String),
    /// The data directory knows another password.
    #[error("{} does not know the password of {ADMIN} in the site's secrets; put the secrets.json back that it was made with", data.display())]
    Password {
        /// The data directory.
        data: PathBuf,
    },
    /// A statement failed.
    #[error(transparent)]
    Statement(#[from] Fault),
    /// The plan knows no such database server.
    #[error("{0} is no database server of the plan")]
    NoMember(String),
    /// It does not lead, or not long enough.
    #[error("the lease ends too soon to let clients in")]
    NotLeading,
    /// It does not end.
    #[error("mariadbd {pid} does not end after SIGKILL: its disk does not answer")]
    Unkillable {
        /// Its number.
        pid: u32,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What was received before a start cannot be applied.
    #[error("what was received before the start cannot be applied: {0}")]
    Rescue(String),
    /// A copy could not be made usable.
    #[error("the copy of the data cannot be used: {0}")]
    Copy(String),
    /// No copy was given.
    #[error(transparent)]
    Copies(#[from] copies::Failure),
    /// A task of the role's own.
    #[error("what {0} has ended by itself; the service is started anew, MariaDB goes on")]
    Ended(&'static str),
    /// A file or process operation failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The absolute path of one of MariaDB's programs.
///
/// # Errors
/// It is not installed; the error names the package.
fn find_program(program: &'static str) -> Result<PathBuf, Error> {
    program::find(program).ok_or(Error::Missing { program })
}

/// Looks after `mariadbd` until asked to end, then ends it too.
///
/// # Errors
/// Only what no waiting mends: [`Error::SocketPath`], a runtime that cannot be made. Everything else is in the report and
/// tried again.
pub fn run(context: Context, config: &plan::Database) -> Result<(), Error> {
    let places = places::Places::new(&context.launch, config)?;
    upkeep::start(&context, config, &places)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    if config.store.is_empty() {
        runtime.block_on(role::serve(context, config, places));
        return Ok(());
    }
    runtime.block_on(cluster::serve(context, config, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        let error = find_program("no-such-program").unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("mariadb-server-core"), "{error}");
    }
}
