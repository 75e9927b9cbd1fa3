//! What can go wrong with a job.

use std::io;
use std::path::PathBuf;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not there.
    #[error("{program} was not found; install the Debian package {package}")]
    Missing {
        /// Its name.
        program: &'static str,
        /// What brings it.
        package: &'static str,
    },
    /// A program failed.
    #[error("{what} failed: {why}")]
    Program {
        /// What it was to do.
        what: &'static str,
        /// Its last words.
        why: String,
    },
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A statement.
    #[error("{server}: {source}")]
    Statement {
        /// Who was asked.
        server: String,
        /// What it said.
        source: mysql_async::Error,
    },
    /// A server that is too slow.
    #[error("{server} did not {what} within {within_s} s")]
    Slow {
        /// Who.
        server: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        within_s: u64,
    },
    /// Nowhere to put it.
    #[error(
        "no folder is declared for backups; name one with --to, or write [database] backup = {{ to = \"/var/backups/site\" }}"
    )]
    NoFolder,
    /// It belongs to somebody else.
    #[error(
        "the database, which runs as user {user}, may not write to {}; name a folder that is not there yet, which is then made, \
         or give it that one: chown {user} {}",
        folder.display(),
        folder.display()
    )]
    NotOurs {
        /// Which.
        folder: PathBuf,
        /// Who we are.
        user: u32,
    },
    /// Relative to what?
    #[error("{} is no absolute path", .0.display())]
    Relative(PathBuf),
    /// One at a time.
    #[error("a {0} is under way; ask again when it is done")]
    Busy(String),
    /// There is no backup that reaches back so far.
    #[error("no full backup in {} is as old as that; the oldest ended at {oldest}", folder.display())]
    TooEarly {
        /// Where was looked.
        folder: PathBuf,
        /// What there is.
        oldest: String,
    },
    /// There is no backup at all.
    #[error("there is no full backup in {}", .0.display())]
    Empty(PathBuf),
    /// The archive does not reach so far.
    #[error("{0}")]
    Gap(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Impossible(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

/// Names the file of a failed operation on it.
pub trait At<T> {
    /// With the path that it was about.
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|source| Error::File { path: path.into(), source })
    }
}
