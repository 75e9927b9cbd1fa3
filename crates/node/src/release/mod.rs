//! Releases of a codebase: named by what is in them, built once, placed on every server that needs them.
//!
//! - [`identify()`] names the contents of a folder: the same files give the same [`ReleaseId`] on every machine.
//! - [`build()`] makes `BUILDS/APP-RELEASE/{code,venv}`: a copy nobody edits, and what the code depends on.
//! - [`install()`] puts a build below a server's state directory as `releases/APP-RELEASE`.
//!
//! All three are for whoever prepares a server (they block and may reach the package index); the services only read
//! the result.

mod build;
mod command;
mod error;
mod identify;
mod install;
mod kept;
mod python;
#[cfg(test)]
mod tests;
mod tree;

use std::path::PathBuf;

use mainstay_site::names::{AppName, ReleaseId};

pub use build::build;
pub use error::Error;
pub use identify::identify;
pub use install::{SharedOwner, install};
pub use kept::{RELEASES_KEPT, note_use};
pub use python::GRANIAN;
pub use tree::IGNORED;

/// A release that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The application that it is of.
    pub app: AppName,
    /// What it is called.
    pub id: ReleaseId,
    /// `BUILDS/APP-RELEASE`, absolute.
    pub folder: PathBuf,
}

impl Release {
    /// The name of a release's folder: `APP-RELEASE`.
    pub fn folder_name(app: &AppName, id: &ReleaseId) -> String {
        format!("{app}-{id}")
    }

    /// The copy of the codebase.
    pub fn code(&self) -> PathBuf {
        self.folder.join("code")
    }

    /// The Python environment (a link to one that releases with the same requirements share); `None` for other kinds.
    pub fn venv(&self) -> Option<PathBuf> {
        let venv = self.folder.join("venv");
        venv.exists().then_some(venv)
    }
}
