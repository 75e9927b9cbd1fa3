//! Reading the declaration: what most verbs begin with.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use mainstay_site::declaration::{Diagnostic, Disk, parse};
use mainstay_site::model::Site;

use super::exit::Invalid;
use crate::render;

/// Which file.
#[derive(clap::Args, Debug)]
pub struct File {
    /// The declaration of the site
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
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
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

fn unreadable(path: &Path, error: std::io::Error) -> anyhow::Error {
    let file = path.display();
    match error.kind() {
        ErrorKind::NotFound => anyhow!(
            "there is no file `{file}`; name the declaration as the last argument (`mainstay help` shows a small one)"
        ),
        ErrorKind::IsADirectory => {
            anyhow!("`{file}` is a folder; name the file in it: {}", path.join("site.toml").display())
        }
        ErrorKind::InvalidData => anyhow!("`{file}` is not text in UTF-8, and so no declaration"),
        _ => anyhow!(error).context(format!("the declaration `{file}` cannot be read")),
    }
}
