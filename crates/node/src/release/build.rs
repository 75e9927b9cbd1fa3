//! Makes a release out of a codebase.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use mainstay_site::model::{App, AppKind};

use super::error::{At, Error};
use super::identify::name;
use super::kept::{keep, keep_environments};
use super::tree::{copy, entries, finish, remove, world_folder};
use super::{Release, python};

/// Where environments lie, below the builds.
const VENVS: &str = "venvs";

/// Builds the release of `app` that the codebase at `source` makes, below `builds`; nothing is done for one that is
/// there. Builds beyond the last [`super::RELEASES_KEPT`] of the application are removed. `progress` gets a line for a person now and then.
///
/// # Errors
/// See [`Error`]; a build that failed leaves nothing that looks like a release.
pub fn build(app: &App, source: &Path, builds: &Path, progress: &mut dyn FnMut(&str)) -> Result<Release, Error> {
    let found = entries(source)?;
    let id = name(source, &found)?;
    world_folder(builds)?;
    let builds = builds.canonicalize().at("read", builds)?;
    let release = Release { app: app.name.clone(), folder: builds.join(Release::folder_name(&app.name, &id)), id };
    if !is_complete(app, &release) {
        let unfinished =
            builds.join(format!(".{}-{}", Release::folder_name(&app.name, &release.id), std::process::id()));
        let made = fill(app, source, &unfinished, &release, progress);
        if made.is_err() {
            let _ = remove(&unfinished);
        }
        made?;
    }
    keep(&builds, &release)?;
    keep_environments(&builds, &builds.join(VENVS))?;
    Ok(release)
}

fn is_complete(app: &App, release: &Release) -> bool {
    release.code().is_dir() && (!is_python(&app.kind) || release.venv().is_some())
}

fn is_python(kind: &AppKind) -> bool {
    matches!(kind, AppKind::Wsgi { .. } | AppKind::Asgi { .. })
}

fn fill(
    app: &App,
    source: &Path,
    unfinished: &Path,
    release: &Release,
    progress: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    progress(&format!("copying release {}", release.id));
    remove(unfinished)?;
    let code = unfinished.join("code");
    copy(&entries(source)?, source, &code)?;
    if name(&code, &entries(&code)?)? != release.id {
        return Err(Error::Changed(source.to_owned()));
    }
    if is_python(&app.kind) {
        let venv = add_environment(app, &code, release, progress)?;
        python::compile(&venv.join("bin/python"), &code, progress)?;
        symlink(venv, unfinished.join("venv")).at("link", unfinished)?;
    }
    remove(&release.folder)?;
    finish(unfinished, &release.folder)
}

fn add_environment(
    app: &App,
    code: &Path,
    release: &Release,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, Error> {
    let builds = release.folder.parent().unwrap_or(Path::new("/"));
    python::environment(app.name.as_str(), code, &release.id, &builds.join(VENVS), progress)
}
