//! Folders for others, made by root without being led astray.
//!
//! A service's user owns some of the folders on the way and could put a link there; following it, root would give away
//! what the link points to. So every step goes through a descriptor of the folder before, and follows no link.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchmod, fchown, mkdirat, openat};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);

/// Makes the folder `path` below `base` with everything on the way, and sets the last one's mode and, unless `None`,
/// owner. What it holds is left as it is.
///
/// # Errors
/// If `path` leaves `base`, a link or a file stands in the way, or the disk refuses.
pub fn make(base: &Path, path: &str, mode: u32, owner: Option<u32>) -> io::Result<()> {
    let mut folder = openat(CWD, base, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
    for component in Path::new(path).components() {
        let Component::Normal(name) = component else {
            return Err(io::Error::other(format!("{path:?} does not stay below the state directory")));
        };
        folder = step(&folder, name)?;
    }
    if let Some(owner) = owner {
        fchown(&folder, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?;
    }
    fchmod(&folder, Mode::from_raw_mode(mode))?;
    Ok(())
}

fn step(folder: &OwnedFd, name: &std::ffi::OsStr) -> io::Result<OwnedFd> {
    // Others may pass through; what is private is the last folder.
    match mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(openat(folder, name, FOLDER, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn makes_folders_and_follows_no_link() {
        let base = tempfile::tempdir().unwrap();
        make(base.path(), "data/database", 0o700, None).unwrap();
        let mode = |path: &str| fs::metadata(base.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("data/database"), 0o700);
        assert_eq!(mode("data"), 0o755);
        make(base.path(), "data/database", 0o750, None).unwrap();
        assert_eq!(mode("data/database"), 0o750);

        symlink("/tmp", base.path().join("link")).unwrap();
        assert!(make(base.path(), "link", 0o700, None).is_err());
        assert!(make(base.path(), "link/x", 0o700, None).is_err());
        assert!(make(base.path(), "../x", 0o700, None).is_err());
        assert!(make(base.path(), "/x", 0o700, None).is_err());
    }
}
