//! What answers a request: decided by whoever knows the application, carried out by the engine.

use std::path::PathBuf;

/// Knows what answers which path.
pub trait Scripts: Send + Sync {
    /// What answers `path`, percent-encoded as in the request line and without its query. Called on the threads that
    /// serve: it may look at file names, and may not wait.
    fn target(&self, path: &str) -> Target;
}

/// What answers a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A script is run.
    Script(Script),
    /// A file is sent as it is.
    File(PathBuf),
    /// The visitor is sent elsewhere: an encoded path, to which the query is added.
    Redirect(String),
    /// Nothing for visitors.
    Refused,
}

/// A script to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// `DOCUMENT_ROOT`: absolute.
    pub root: PathBuf,
    /// `SCRIPT_FILENAME`: absolute.
    pub file: PathBuf,
    /// `SCRIPT_NAME`: its path below the root, with the slash in front.
    pub name: String,
    /// `PATH_INFO`: what follows it in the path of the request, decoded; empty if nothing does.
    pub info: String,
}
