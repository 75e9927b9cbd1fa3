//! Reading the declaration: what most verbs begin with.

use std::path::{Path, PathBuf};

use anyhow::Context;
use mainstay_site::declaration::{Diagnostic, Disk, parse};
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

/// A declaration with mistakes.
pub struct Wrong {
    /// Its file, as it was named.
    pub file: String,
    /// What it says.
    pub text: String,
    /// At least one.
    pub mistakes: Vec<Diagnostic>,
}

impl File {
    /// Reads the file.
    pub fn read(&self) -> anyhow::Result<Result<Declaration, Wrong>> {
        let path = &self.file;
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("cannot read the declaration `{}`; name another file as the last argument", path.display())
        })?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(match parse(&text, &Around(folder)) {
            Ok(site) => Ok(Declaration { site, folder: folder.to_owned() }),
            Err(mistakes) => Err(Wrong { file: path.display().to_string(), text, mistakes }),
        })
    }

    /// Reads the file; every mistake in it goes to standard error.
    pub fn load(&self) -> anyhow::Result<Declaration> {
        self.read()?.map_err(|wrong| {
            let colour = render::colour(&std::io::stderr());
            Invalid(render::diagnostics(&wrong.file, &wrong.text, &wrong.mistakes, colour)).into()
        })
    }
}
