//! The files of a codebase: which count, in which order, and how they are copied.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::syncfs;

use super::error::{At, Error};

/// Names that are no part of a release wherever they stand: version control, and what tools leave behind and make again.
pub const IGNORED: [&str; 10] = [
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".venv",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    "node_modules/.cache",
    ".DS_Store",
];

/// Ten times what a large site with its JavaScript dependencies has; beyond it `path` is more likely a mistake (`/`).
const FILES_MAX: usize = 1_000_000;

/// A file, folder or link of a codebase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the codebase.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder.
    Folder,
    /// A file; of its mode only "may be executed" counts, as in Git: the rest differs from one umask to the next.
    File {
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link to somewhere inside the codebase.
    Link(PathBuf),
}

/// Every entry below `root`, sorted by path.
pub(super) fn entries(root: &Path) -> Result<Vec<Entry>, Error> {
    if !root.is_dir() {
        return Err(Error::Missing(root.to_owned()));
    }
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in list(root, &folder)? {
            if entry.kind == Kind::Folder {
                folders.push(entry.path.clone());
            }
            found.push(entry);
        }
        if found.len() > FILES_MAX {
            return Err(Error::TooMany { path: root.to_owned(), limit: FILES_MAX });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn list(root: &Path, folder: &Path) -> Result<Vec<Entry>, Error> {
    let absolute = root.join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(&absolute).at("list", &absolute)? {
        let path = folder.join(entry.at("list", &absolute)?.file_name());
        if !ignored(&path) {
            found.push(Entry { kind: kind(root, &path)?, path });
        }
    }
    Ok(found)
}

/// Whether `path` ends in a name that is no part of a release.
fn ignored(path: &Path) -> bool {
    IGNORED.iter().any(|name| path.ends_with(name))
}

fn kind(root: &Path, path: &Path) -> Result<Kind, Error> {
    let absolute = root.join(path);
    let metadata = fs::symlink_metadata(&absolute).at("read", &absolute)?;
    if metadata.is_dir() {
        Ok(Kind::Folder)
    } else if metadata.is_file() {
        Ok(Kind::File { executable: metadata.permissions().mode() & 0o100 != 0 })
    } else if metadata.is_symlink() {
        let target = fs::read_link(&absolute).at("read", &absolute)?;
        if !stays_inside(path, &target) {
            return Err(Error::LinkOutside { link: path.to_owned(), target });
        }
        Ok(Kind::Link(target))
    } else {
        Err(Error::Odd(absolute))
    }
}

/// Whether a link at `link` (relative to the root) to `target` never leaves the root. An absolute target always does:
/// it names a place of this machine.
fn stays_inside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count() - 1;
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

/// Copies `entries` of `from` to `to`, readable by everyone and writable by the owner alone.
pub(super) fn copy(entries: &[Entry], from: &Path, to: &Path) -> Result<(), Error> {
    place(entries, from, to, |source, target| fs::copy(source, target).map(drop))
}

/// Makes the folders and links of `entries` below `to` and has `file` bring each file.
pub(super) fn place(
    entries: &[Entry],
    from: &Path,
    to: &Path,
    file: impl Fn(&Path, &Path) -> std::io::Result<()>,
) -> Result<(), Error> {
    world_folder(to)?;
    for entry in entries {
        let (source, target) = (from.join(&entry.path), to.join(&entry.path));
        match &entry.kind {
            Kind::Folder => world_folder(&target)?,
            Kind::Link(link) => symlink(link, &target).at("link", &target)?,
            Kind::File { executable } => {
                file(&source, &target).at("copy", &source)?;
                let mode = if *executable { 0o755 } else { 0o644 };
                fs::set_permissions(&target, Permissions::from_mode(mode)).at("write", &target)?;
            }
        }
    }
    Ok(())
}

/// Makes a folder (and those above it) that everyone may enter, whatever the umask.
pub(super) fn world_folder(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        world_folder(parent)?;
    }
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755))).at("create", path),
    }
}

/// Gives a folder that is whole the name by which it is known to be.
pub(super) fn finish(unfinished: &Path, folder: &Path) -> Result<(), Error> {
    settle(unfinished)?;
    fs::rename(unfinished, folder).at("create", folder)
}

/// Has everything below `folder` on its disk, before something says that it is whole: after a power cut there would be files without
/// contents (syncfs(2); one call, however many they are).
pub(super) fn settle(folder: &Path) -> Result<(), Error> {
    let opened = File::open(folder).at("open", folder)?;
    syncfs(&opened).at("write", folder)
}

/// Removes a folder and everything in it; well if it is not there.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_may_not_leave_the_codebase() {
        assert!(stays_inside(Path::new("a/link"), Path::new("../b")));
        assert!(stays_inside(Path::new("link"), Path::new("a/../b")));
        assert!(!stays_inside(Path::new("link"), Path::new("../b")));
        assert!(!stays_inside(Path::new("a/link"), Path::new("b/../../../c")));
        assert!(!stays_inside(Path::new("link"), Path::new("/etc/passwd")));
    }

    #[test]
    fn leftovers_of_tools_are_ignored_at_any_depth() {
        assert!(ignored(Path::new("a/b/__pycache__")));
        assert!(ignored(Path::new("node_modules/.cache")));
        assert!(!ignored(Path::new(".cache")));
        assert!(!ignored(Path::new("x.git")));
    }
}
