//! Finding a file below a root that nothing leaves.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;

use super::path::{Below, Unusable, encode};
use super::{Found, Miss};

/// What a folder shows to those who ask for the folder itself.
const INDEX: &str = "index.html";

/// openat2(2) says EAGAIN when something was renamed while it looked for a way out; a few times in a row is chance,
/// more is somebody renaming without end.
const TRIES_MAX: u8 = 8;

/// A folder that is served. The kernel resolves every path below the opened root (openat2(2), `RESOLVE_BENEATH`):
/// links that stay inside are followed, those that lead out are refused, whatever happens to the folder meanwhile.
#[derive(Debug)]
pub struct Folder {
    root: OwnedFd,
    /// The URL prefix that it is served at, as declared: `/static/`.
    pub prefix: String,
    /// Suffixes that are never served as files: `.php`. Whatever their case.
    pub never: Vec<String>,
    /// What is no file here is for somebody else: [`Miss::FallThrough`] instead of [`Miss::NotFound`].
    pub fall_through: bool,
    kept: Vec<(String, Folder)>,
}

impl Folder {
    /// Opens the root at `path`, links in it followed. Served at `/`, nothing excluded, nothing falls through.
    ///
    /// Fails if it is no readable folder, or if the kernel has no openat2 (before Linux 5.6).
    pub fn open(path: impl AsRef<Path>) -> io::Result<Folder> {
        let root = openat(CWD, path.as_ref(), OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())?;
        open(&root, ".").map_err(|error| match error {
            Errno::NOSYS => io::Error::other("this kernel has no openat2; static files need Linux 5.6 or newer"),
            error => error.into(),
        })?;
        Ok(Folder { root, prefix: "/".into(), never: Vec::new(), fall_through: false, kept: Vec::new() })
    }

    /// Serves what is asked for below `path` (decoded, no slashes at its ends: `wp-content/uploads`) from another
    /// root: a folder kept across releases, which a link leads to that would be refused.
    pub fn keep(&mut self, path: &str, folder: Folder) {
        self.kept.push((path.trim_matches('/').to_owned(), folder));
    }

    /// Opens the file for `below`: what follows the prefix in the path of a request, percent-encoded, without query.
    pub fn find(&self, below: &str) -> Result<Found, Miss> {
        let below = Below::read(below).map_err(|unusable| self.unusable(unusable))?;
        match self.kept_at(&below.path) {
            Some((folder, path)) => self.find_in(&folder.root, path, &below),
            None => self.find_in(&self.root, &below.path, &below),
        }
    }

    /// The kept folder that `path` lies in, and the path below it.
    fn kept_at<'a>(&self, path: &'a str) -> Option<(&Folder, &'a str)> {
        self.kept.iter().find_map(|(at, folder)| match path.strip_prefix(at.as_str())? {
            "" => Some((folder, "")),
            rest => rest.strip_prefix('/').map(|rest| (folder, rest)),
        })
    }

    fn find_in(&self, root: &OwnedFd, path: &str, below: &Below) -> Result<Found, Miss> {
        if self.excludes(path) {
            return Err(self.absent());
        }
        let (file, stat) = self.look(root, if path.is_empty() { "." } else { path })?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if !below.folder => Ok(Found::new(file, below.name(), &stat)),
            FileType::Directory => self.index(root, path, below),
            _ => Err(self.absent()),
        }
    }

    /// A folder is its index, once its address ends in a slash: else the relative links of the index would go astray.
    fn index(&self, root: &OwnedFd, path: &str, below: &Below) -> Result<Found, Miss> {
        let index = if path.is_empty() { INDEX.to_owned() } else { format!("{path}/{INDEX}") };
        if self.excludes(&index) {
            return Err(self.absent());
        }
        let (file, stat) = self.look(root, &index)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.absent());
        }
        if !below.folder {
            return Err(Miss::Redirect(format!("./{}/", encode(below.name()))));
        }
        Ok(Found::new(file, INDEX, &stat))
    }

    fn look(&self, root: &OwnedFd, path: &str) -> Result<(OwnedFd, Stat), Miss> {
        let opened = open(root, path).map_err(|error| Miss::of(error, self.absent()))?;
        let stat = fstat(&opened).map_err(|error| Miss::Failed(error.into()))?;
        Ok((opened, stat))
    }

    fn excludes(&self, path: &str) -> bool {
        let ends_in = |suffix: &[u8]| {
            let start = path.len().checked_sub(suffix.len());
            start.is_some_and(|start| path.as_bytes()[start..].eq_ignore_ascii_case(suffix))
        };
        self.never.iter().any(|suffix| ends_in(suffix.as_bytes()))
    }

    fn absent(&self) -> Miss {
        if self.fall_through { Miss::FallThrough } else { Miss::NotFound }
    }

    fn unusable(&self, unusable: Unusable) -> Miss {
        match unusable {
            Unusable::Malformed => Miss::Malformed,
            Unusable::Hidden => Miss::Forbidden,
            Unusable::Nameless => self.absent(),
        }
    }
}

/// Opens `path` below `root`. Non-blocking, so that nobody waits for the writer of a named pipe.
fn open(root: &OwnedFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES_MAX => tries += 1,
            opened => return opened,
        }
    }
}
