//! Finding a file below a root that nothing leaves.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;

use super::path::{Below, Unusable, encode};
use super::{Found, Miss};
use crate::encoding::Encoding;

/// What a folder shows to those who ask for the folder itself.
const INDEX: &str = "index.html";

/// openat2(2) says EAGAIN when something was renamed while it looked for a way out; a few times in a row is chance,
/// more is somebody renaming without end.
const TRIES_MAX: u8 = 8;

/// A folder that is served. The kernel resolves every path below the opened root (openat2(2), `RESOLVE_BENEATH`):
/// links that stay inside are followed, those that lead out are refused, whatever happens to the folder meanwhile.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    root: OnceLock<OwnedFd>,
    /// The URL prefix that it is served at, as declared: `/static/`.
    pub prefix: String,
    /// Suffixes that are never served as files: `.php`. Whatever their case.
    pub never: Vec<String>,
    /// What is no file here is for somebody else: [`Miss::FallThrough`] instead of [`Miss::NotFound`].
    pub fall_through: bool,
    /// Answers what is no file here, if a page is asked for: the `index.html` of an application that routes in the browser.
    pub fallback: Option<String>,
    /// Cache-Control for everything below; by the files' names if `None`.
    pub cache_control: Option<Arc<str>>,
    /// What is not here is looked for there: the same folder of the release before, which pages in browsers still ask for.
    pub before: Option<Box<Folder>>,
    /// Tells folders apart.
    pub(super) number: u64,
}

/// How many folders were opened so far.
static COUNT: AtomicU64 = AtomicU64::new(0);

impl Folder {
    /// The root at `path`, links in it followed. Served at `/`, nothing excluded, nothing falls through. One that cannot
    /// be opened has no files, and is looked for again whenever one is asked for.
    ///
    /// Fails if the kernel has no openat2 (before Linux 5.6).
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Folder> {
        let (path, root) = (path.into(), OnceLock::new());
        let folder = Folder {
            path,
            root,
            prefix: "/".into(),
            never: Vec::new(),
            fall_through: false,
            fallback: None,
            cache_control: None,
            before: None,
            number: COUNT.fetch_add(1, Ordering::Relaxed),
        };
        match folder.root() {
            Err(Errno::NOSYS) => {
                Err(io::Error::other("this kernel has no openat2; static files need Linux 5.6 or newer"))
            }
            _ => Ok(folder),
        }
    }

    /// Why the root cannot be opened, in words; `None` if it is open.
    pub fn missing(&self) -> Option<String> {
        let error = io::Error::from(self.root().err()?);
        Some(format!("the folder {} cannot be opened: {error}", self.path.display()))
    }

    fn root(&self) -> rustix::io::Result<&OwnedFd> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let root = openat(CWD, &self.path, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())?;
        open(&root, ".")?;
        // Another thread may have been first; then its root is the one.
        Ok(self.root.get_or_init(|| root))
    }

    /// Opens the file for `below`: what follows the prefix in the path of a request, percent-encoded, without query. What
    /// is none but looks like a page is answered by the fallback, if there is one.
    pub fn find(&self, below: &str) -> Result<Found, Miss> {
        let found = match (self.named(below), &self.fallback) {
            (Err(Miss::NotFound | Miss::FallThrough), Some(fallback)) if is_page(below) => self.named(fallback),
            (found, _) => found,
        };
        found.map(|found| found.kept_for(self.cache_control.as_ref()))
    }

    /// Opens the file beside `found` that holds the same in another coding.
    pub(super) fn encoded(&self, found: &Found, encoding: Encoding) -> Option<Found> {
        let path = format!("{}{}", found.path, encoding.suffix());
        let (file, stat) = self.look(self.root().ok()?, &path).ok()?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        regular.then(|| Found::new(file, &path, &stat).encoding_of(found, encoding))
    }

    fn named(&self, below: &str) -> Result<Found, Miss> {
        match (self.own(below), &self.before) {
            (Err(Miss::NotFound | Miss::FallThrough), Some(before)) => before.own(below).map_err(|_| self.absent()),
            (found, _) => found,
        }
    }

    fn own(&self, below: &str) -> Result<Found, Miss> {
        let below = Below::read(below).map_err(|unusable| self.unusable(unusable))?;
        let root = self.root().map_err(|_| self.absent())?;
        let path = &*below.path;
        if self.excludes(path) {
            return Err(self.absent());
        }
        if below.folder {
            return self.index(root, &below);
        }
        let (file, stat) = self.look(root, path)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Found::new(file, path, &stat)),
            FileType::Directory => self.index(root, &below),
            _ => Err(self.absent()),
        }
    }

    /// A folder is its index, once its address ends in a slash: else the relative links of the index would go astray.
    fn index(&self, root: &OwnedFd, below: &Below) -> Result<Found, Miss> {
        let path = &below.path;
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
        Ok(Found::new(file, &index, &stat))
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

/// Whether a path looks like a page's: what has an extension is a file, and a script that is missing is not a page.
fn is_page(below: &str) -> bool {
    !below.rsplit('/').next().unwrap_or_default().contains('.')
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
