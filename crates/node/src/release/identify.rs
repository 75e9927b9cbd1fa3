//! The name of a codebase's contents.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mainstay_site::names::ReleaseId;
use sha2::{Digest, Sha256};

use super::error::{At, Error};
use super::tree::{Entry, Kind, entries};

/// 48 bits: a site with a thousand releases has two of the same name with a probability of 2e-9.
const NAME_DIGITS: usize = 12;
/// Large enough that reading is not a matter of system calls, small enough for a stack's neighbour.
const READ_BYTES: usize = 128 * 1024;

/// Names the contents of the codebase at `path`: SHA-256 over the sorted relative paths with kind, executability and
/// contents, without [`super::IGNORED`]. Owner, times and the rest of the modes do not count.
///
/// # Errors
/// When the folder is missing or unreadable, or holds what no release may hold: a link out of it, a socket, a device.
pub fn identify(path: &Path) -> Result<ReleaseId, Error> {
    name(path, &entries(path)?)
}

/// Names `entries` of the folder `root`.
pub(super) fn name(root: &Path, entries: &[Entry]) -> Result<ReleaseId, Error> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    for entry in entries {
        add(&mut hash, &mut buffer, root, entry)?;
    }
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ReleaseId(digits[..NAME_DIGITS].to_owned()))
}

/// Every field is preceded by its length or of a fixed one, so that no two trees give the same stream.
fn add(hash: &mut Sha256, buffer: &mut [u8], root: &Path, entry: &Entry) -> Result<(), Error> {
    let tag = match &entry.kind {
        Kind::Folder => b'd',
        Kind::File { executable: false } => b'f',
        Kind::File { executable: true } => b'x',
        Kind::Link(_) => b'l',
    };
    hash.update([tag]);
    add_text(hash, entry.path.as_os_str().as_bytes());
    match &entry.kind {
        Kind::Folder => Ok(()),
        Kind::Link(target) => {
            add_text(hash, target.as_os_str().as_bytes());
            Ok(())
        }
        Kind::File { .. } => add_file(hash, buffer, &root.join(&entry.path)),
    }
}

fn add_text(hash: &mut Sha256, text: &[u8]) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

/// The contents' own digest: their length need not be known before they are read.
fn add_file(hash: &mut Sha256, buffer: &mut [u8], path: &Path) -> Result<(), Error> {
    let mut file = File::open(path).at("read", path)?;
    let mut contents = Sha256::new();
    loop {
        match file.read(buffer).at("read", path)? {
            0 => break,
            length => contents.update(&buffer[..length]),
        }
    }
    hash.update(contents.finalize());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn codebase() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("index.php"), "<?php").unwrap();
        fs::create_dir(folder.path().join("static")).unwrap();
        fs::write(folder.path().join("static/a.css"), "a{}").unwrap();
        folder
    }

    #[test]
    fn the_same_contents_have_the_same_name() {
        let (one, two) = (codebase(), codebase());
        fs::create_dir(two.path().join("__pycache__")).unwrap();
        fs::write(two.path().join("__pycache__/x.pyc"), "x").unwrap();
        fs::set_permissions(two.path().join("index.php"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(identify(one.path()).unwrap(), identify(two.path()).unwrap());
        assert_eq!(identify(one.path()).unwrap().as_str().len(), NAME_DIGITS);
    }

    #[test]
    fn every_difference_that_matters_changes_the_name() {
        let edits: [fn(&Path); 5] = [
            |root| fs::write(root.join("index.php"), "<?php ").unwrap(),
            |root| fs::rename(root.join("index.php"), root.join("home.php")).unwrap(),
            |root| fs::set_permissions(root.join("index.php"), fs::Permissions::from_mode(0o755)).unwrap(),
            |root| fs::create_dir(root.join("empty")).unwrap(),
            |root| std::os::unix::fs::symlink("index.php", root.join("link")).unwrap(),
        ];
        let original = identify(codebase().path()).unwrap();
        for (number, edit) in edits.iter().enumerate() {
            let edited = codebase();
            edit(edited.path());
            assert_ne!(identify(edited.path()).unwrap(), original, "edit {number}");
        }
    }

    #[test]
    fn what_is_missing_or_leaves_the_codebase_is_refused() {
        assert!(matches!(identify(Path::new("/no/such")), Err(Error::Missing(_))));
        let folder = codebase();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("leak")).unwrap();
        assert!(matches!(identify(folder.path()), Err(Error::LinkOutside { .. })));
    }
}
