//! Reading the declaration: what most verbs begin with.

use std::path::{Path, PathBuf};

use anyhow::Context;
use mainstay_site::declaration::{Disk, parse};
use mainstay_site::model::Site;

use super::exit::Invalid;
use crate::render;

/// Which file.
#[derive(clap::Args, Debug)]
pub struct File {
    /// The declaration
    #[arg(value_name = "FILE", default_value = "site.toml")]
    pub file: PathBuf,
}

/// A declaration that was found valid.
pub struct Declaration {
    /// What it declares.
    pub site: Site,
    /// The folder that its paths are relative to.
    pub folder: PathBuf,
}

/// The disk around the declaration.
struct Around<'a>(&'a Path);

impl Disk for Around<'_> {
    fn is_folder(&self, path: &str) -> bool {
        self.0.join(path).is_dir()
    }
    fn is_file(&self, path: &str) -> bool {
        self.0.join(path).is_file()
    }
}

impl File {
    /// Reads the file; every mistake in it goes to standard error.
    pub fn load(&self) -> anyhow::Result<Declaration> {
        let path = &self.file;
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("cannot read the declaration `{}`; name another file as the last argument", path.display())
        })?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match parse(&text, &Around(folder)) {
            Ok(site) => Ok(Declaration { site, folder: folder.to_owned() }),
            Err(mistakes) => {
                let colour = render::colour(&std::io::stderr());
                Err(Invalid(render::diagnostics(&path.display().to_string(), &text, &mistakes, colour)).into())
            }
        }
    }
}
