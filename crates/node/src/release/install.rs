//! Places a release on a server.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::error::{At, Error};
use super::kept::keep;
use super::tree::{Kind, entries, finish, place, remove, world_folder};
use super::{Release, tree};

/// The user that the application's workers run as; `None` where everything runs as one user (without root).
pub type SharedOwner = Option<u32>;

/// Puts `release` below the server's state directory: `releases/APP-RELEASE/code` (hard links where the file system
/// allows), `releases/APP-RELEASE/venv` (a link), and for each of `shared` a link from the code to
/// `shared/APP/PATH`, which at the first time gets what the codebase has there. Releases beyond the last
/// [`super::RELEASES_KEPT`] of this application are removed. Returns the release's folder there.
///
/// # Errors
/// See [`Error`]; what was there before stays.
pub fn install(release: &Release, state: &Path, shared: &[String], owner: SharedOwner) -> Result<PathBuf, Error> {
    world_folder(state)?;
    let state = state.canonicalize().at("read", state)?;
    let releases = state.join("releases");
    world_folder(&releases)?;
    let name = Release::folder_name(&release.app, &release.id);
    let folder = releases.join(&name);
    if !folder.join("code").is_dir() {
        let unfinished = releases.join(format!(".{name}"));
        remove(&unfinished)?;
        link_code(&release.code(), &unfinished.join("code"))?;
        link_venv(release, &unfinished)?;
        finish(&unfinished, &folder)?;
    }
    for path in shared {
        share(release, &state, &folder, Path::new(path), owner)?;
    }
    if let Some(user) = owner {
        check_reachable(&folder, user)?;
    }
    keep(&releases, release)?;
    Ok(folder)
}

/// Hard links: a release costs no space per server, and nobody but root may write to either name. Compiled Python
/// belongs to it though it is no part of the release's name.
fn link_code(from: &Path, to: &Path) -> Result<(), Error> {
    place(&entries(from)?, from, to, |source, target| {
        fs::hard_link(source, target).or_else(|_| fs::copy(source, target).map(drop))
    })?;
    link_compiled(from, to)
}

/// Brings the `__pycache__` folders along, which [`entries`] leaves out.
fn link_compiled(from: &Path, to: &Path) -> Result<(), Error> {
    let folders = entries(from)?.into_iter().filter(|entry| entry.kind == Kind::Folder).map(|entry| entry.path);
    for folder in std::iter::once(PathBuf::new()).chain(folders) {
        let compiled = folder.join("__pycache__");
        if from.join(&compiled).is_dir() {
            link_all(&from.join(&compiled), &to.join(&compiled))?;
        }
    }
    Ok(())
}

fn link_all(from: &Path, to: &Path) -> Result<(), Error> {
    place(&entries(from)?, from, to, |source, target| {
        fs::hard_link(source, target).or_else(|_| fs::copy(source, target).map(drop))
    })
}

fn link_venv(release: &Release, folder: &Path) -> Result<(), Error> {
    match release.venv() {
        Some(venv) => symlink(venv.canonicalize().at("read", &venv)?, folder.join("venv")).at("link", folder),
        None => Ok(()),
    }
}

/// Replaces `path` of the release by a link to where it is kept across releases.
fn share(release: &Release, state: &Path, folder: &Path, path: &Path, owner: SharedOwner) -> Result<(), Error> {
    let kept = state.join("shared").join(release.app.as_str()).join(path);
    if !kept.exists() {
        let unfinished = kept.with_added_extension("unfinished");
        remove(&unfinished)?;
        seed(&release.code().join(path), &unfinished)?;
        own(&unfinished, owner)?;
        finish(&unfinished, &kept)?;
    }
    let link = folder.join("code").join(path);
    if link.is_symlink() {
        return Ok(());
    }
    if let Some(parent) = link.parent() {
        world_folder(parent)?;
    }
    remove(&link)?;
    symlink(&kept, &link).at("link", &link)
}

/// The first contents of a shared folder: copied, since the application will write to them.
fn seed(from: &Path, kept: &Path) -> Result<(), Error> {
    if from.is_dir() { tree::copy(&entries(from)?, from, kept) } else { world_folder(kept) }
}

fn own(kept: &Path, owner: SharedOwner) -> Result<(), Error> {
    let Some(user) = owner else { return Ok(()) };
    let chown = |path: &Path| std::os::unix::fs::lchown(path, Some(user), Some(user)).at("change the owner of", path);
    chown(kept)?;
    entries(kept)?.iter().try_for_each(|entry| chown(&kept.join(&entry.path)))
}

/// Whether `user` gets at the code and its Python: every folder above them must let it through.
fn check_reachable(folder: &Path, user: u32) -> Result<(), Error> {
    let mut targets = vec![folder.join("code")];
    let venv = folder.join("venv");
    if venv.is_symlink() {
        targets.push(venv.canonicalize().at("read", &venv)?);
    }
    for part in targets.iter().flat_map(|target| target.ancestors()) {
        let found = part.metadata().at("read", part)?;
        let bit = if found.uid() == user { 0o100 } else { 0o001 };
        if found.permissions().mode() & bit == 0 {
            return Err(Error::Closed { folder: part.to_owned(), user });
        }
    }
    Ok(())
}
