//! An opened file, ready to be read from any thread.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::cache::lasts;
use super::{Miss, mime};

/// A file that was found, and what an answer says of it. Reading does not move a position, so that one opened file can
/// serve many answers at once.
#[derive(Debug)]
pub struct Found {
    file: OwnedFd,
    /// Bytes, when it was opened.
    pub length: u64,
    /// Content-Type.
    pub media: &'static str,
    /// Its name says that its content never changes.
    pub(super) lasts: bool,
    /// Seconds since 1970 of the last change; zero for what claims to be older.
    pub(super) modified: u64,
    nanos: u64,
}

impl Found {
    /// Opens a file that was chosen already, such as by an application's own rules. Nothing confines it: `path` is
    /// trusted, and links in it are followed. Only regular files are found.
    pub fn open(path: &Path) -> Result<Found, Miss> {
        // Non-blocking, so that nobody waits for the writer of a named pipe.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = openat(CWD, path, flags, Mode::empty()).map_err(|error| Miss::of(error, Miss::NotFound))?;
        let stat = fstat(&file).map_err(|error| Miss::Failed(error.into()))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Found::new(file, name, &stat)),
            _ => Err(Miss::NotFound),
        }
    }

    /// `file` is called `name` and is what `stat` says.
    pub(super) fn new(file: OwnedFd, name: &str, stat: &Stat) -> Found {
        let modified = u64::try_from(stat.st_mtime).unwrap_or(0);
        Found {
            file,
            length: u64::try_from(stat.st_size).unwrap_or(0),
            media: mime::of(name),
            lasts: lasts(name),
            modified,
            nanos: u64::from(stat.st_mtime_nsec as u32),
        }
    }

    /// A strong validator (RFC 9110 § 8.8.3): size and time of change to the nanosecond. Two changes within the clock
    /// tick of a file system (about 4 ms) that keep the size would share one; releases are never changed in place.
    pub fn etag(&self) -> String {
        format!("\"{:x}-{:x}-{:x}\"", self.length, self.modified, self.nanos)
    }

    /// Reads at `offset` (pread(2)), waiting for the disk where it must. Zero at the end of the file, also when it has
    /// become shorter since.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| pread(&self.file, &mut *buffer, offset))
    }

    /// As [`Found::read_at`] but says `WouldBlock` instead of waiting for the disk (preadv2(2), `RWF_NOWAIT`), and also
    /// where the file system cannot tell: then [`Found::read_at`] on a thread that may wait. May read less than is
    /// there: the pages that are in memory.
    pub fn read_at_nowait(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let read = || preadv2(&self.file, &mut [IoSliceMut::new(&mut *buffer)], offset, ReadWriteFlags::NOWAIT);
        match retry(read) {
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            read => read,
        }
    }
}

/// For sendfile(2) and splice(2). Its own position is of no meaning.
impl AsFd for Found {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn retry(mut read: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(Errno::INTR) => {}
            read => return Ok(read?),
        }
    }
}
