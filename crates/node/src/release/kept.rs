//! Which releases stay: the last few of each application, and the environments that they use.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mainstay_site::names::{AppName, ReleaseId};
use rustix::fs::{FlockOperation, flock};

use super::Release;
use super::error::{At, Error};
use super::tree::remove;

/// As Capistrano and Kamal do: those that run, those before them to go back to, and some that did not work.
pub const RELEASES_KEPT: usize = 5;

/// Notes that `release` was asked for now and removes those of its application in `folder` that were asked for longest
/// ago, beyond [`RELEASES_KEPT`].
pub(super) fn keep(folder: &Path, release: &Release) -> Result<(), Error> {
    touch(&folder.join(Release::folder_name(&release.app, &release.id)))?;
    let mut found = Vec::new();
    for path in list(folder)?.into_iter().filter(|path| is_release_of(path, release)) {
        found.push((path.metadata().and_then(|found| found.modified()).at("read", &path)?, path));
    }
    found.sort_by_key(|(modified, _)| std::cmp::Reverse(*modified));
    found.iter().skip(RELEASES_KEPT).try_for_each(|(_, path)| remove(path))
}

/// Notes that a release in `folder` is in use, so that others go before it; nothing, if it is not there.
///
/// # Errors
/// If the folder cannot be touched.
pub fn note_use(folder: &Path, app: &AppName, id: &ReleaseId) -> Result<(), Error> {
    let release = folder.join(Release::folder_name(app, id));
    if release.is_dir() { touch(&release) } else { Ok(()) }
}

/// Removes the environments in `builds` that none of its releases uses. One that is just being made is locked and stays.
pub(super) fn keep_environments(builds: &Path, venvs: &Path) -> Result<(), Error> {
    let used: BTreeSet<PathBuf> =
        list(builds)?.iter().filter_map(|build| fs::read_link(build.join("venv")).ok()).collect();
    for venv in list(venvs)?.into_iter().filter(|path| path.is_dir() && !used.contains(path)) {
        let lock = venv.with_extension("lock");
        let file = File::create(&lock).at("create", &lock)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&venv)?;
        }
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    fs::read_dir(folder).at("list", folder)?.map(|entry| Ok(entry.at("list", folder)?.path())).collect()
}

fn touch(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|open| open.set_modified(SystemTime::now())).at("touch", folder)
}

/// `APP-` and a release's twelve digits: the application `api` must not take `api-v2-…` for its own.
fn is_release_of(path: &Path, current: &Release) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix(current.app.as_str())
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|id| id.len() == current.id.as_str().len() && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_environments_go_and_locked_ones_stay() {
        let builds = tempfile::tempdir().unwrap();
        let venvs = builds.path().join("venvs");
        for name in ["used", "unused", "locked"] {
            fs::create_dir_all(venvs.join(name)).unwrap();
        }
        fs::create_dir(builds.path().join("site-0123456789ab")).unwrap();
        std::os::unix::fs::symlink(venvs.join("used"), builds.path().join("site-0123456789ab/venv")).unwrap();
        let lock = File::create(venvs.join("locked.lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        keep_environments(builds.path(), &venvs).unwrap();
        let there = ["used", "unused", "locked"].map(|name| venvs.join(name).exists());
        assert_eq!(there, [true, false, true]);
    }
}
