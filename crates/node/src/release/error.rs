//! Why a release could not be made or placed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a release could not be made or placed: the culprit and the next step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The declaration names a folder that is not there.
    #[error("there is no codebase at {}: correct `path` of the application in site.toml", .0.display())]
    Missing(PathBuf),
    /// A link that would mean something else, or nothing, on another machine.
    #[error("{} links to {}, which is not inside the codebase: put a copy in its place", .link.display(), .target.display())]
    LinkOutside {
        /// The link, relative to the codebase.
        link: PathBuf,
        /// Where it points.
        target: PathBuf,
    },
    /// A socket, pipe or device.
    #[error("{} is neither a file, a folder nor a link: remove it from the codebase", .0.display())]
    Odd(PathBuf),
    /// More files than any codebase has.
    #[error("the codebase at {} has more than {limit} files: is `path` the right folder?", .path.display())]
    TooMany {
        /// The codebase.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
    /// Someone edited the codebase meanwhile.
    #[error("the codebase at {} changed while it was being copied: try again", .0.display())]
    Changed(PathBuf),
    /// A file or folder that cannot be read or written.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// `read`, `write`, …
        doing: &'static str,
        /// The culprit.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The role's user would not get at the release.
    #[error("user {user} may not enter {}, so no worker could run from it: `chmod o+x` it, or choose another state directory", .folder.display())]
    Closed {
        /// The culprit.
        folder: PathBuf,
        /// The role's user.
        user: u32,
    },
    /// No interpreter that the role's user may execute.
    #[error("no Python 3 that every user may execute (looked at {looked}): apt-get install python3 python3-venv")]
    NoPython {
        /// Every candidate and what is wrong with it.
        looked: String,
    },
    /// Debian ships the module apart.
    #[error("{} cannot make virtual environments: apt-get install python3-venv", .0.display())]
    NoVenvModule(PathBuf),
    /// The package index is out of reach.
    #[error(
        "the Python package index cannot be reached, and {app} needs packages from it: check the network, or set PIP_INDEX_URL\n{tail}"
    )]
    NoNetwork {
        /// Which application.
        app: String,
        /// pip's last lines.
        tail: String,
    },
    /// pip failed for another reason.
    #[error("pip could not install what {} asks for: correct it and try again\n{tail}", .requirements.display())]
    Pip {
        /// The file.
        requirements: PathBuf,
        /// pip's last lines.
        tail: String,
    },
    /// Another command failed.
    #[error("`{command}` failed\n{tail}")]
    Command {
        /// The command.
        command: String,
        /// Its last lines.
        tail: String,
    },
    /// A command took too long.
    #[error("`{command}` had not finished after {} s\n{tail}", .limit.as_secs())]
    TimedOut {
        /// The command.
        command: String,
        /// How long it had.
        limit: Duration,
        /// Its last lines.
        tail: String,
    },
}

/// Adds to an `io::Error` what was being done and to what.
pub(super) trait At<T> {
    /// `doing` reads after "cannot": `read`, `create`.
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { doing, path: path.to_owned(), source })
    }
}

impl<T> At<T> for Result<T, rustix::io::Errno> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(io::Error::from).at(doing, path)
    }
}
