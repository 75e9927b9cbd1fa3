//! An opened file, ready to be read from any thread.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::cache::lasts;
use super::{Miss, mime};
use crate::encoding::{Encoding, gzip, is_compressible, is_worth};

/// What a socket buffer takes at once, and the kernel reads from a disk in one go.
const FEW_PAGES_BYTES: u64 = 64 * 1024;

/// A file that was found, and what an answer says of it. Reading does not move a position, so that one opened file can
/// serve many answers at once.
#[derive(Clone, Debug)]
pub struct Found {
    content: Content,
    /// Below its folder; its name alone if it was chosen already.
    pub(super) path: Arc<str>,
    /// Bytes, when it was opened.
    pub length: u64,
    /// Content-Type.
    pub media: &'static str,
    /// The coding that it is in.
    pub encoding: Option<Encoding>,
    /// Cache-Control, if its folder has a rule of its own.
    pub(super) kept: Option<Arc<str>>,
    /// Its name says that its content never changes.
    pub(super) lasts: bool,
    /// Seconds since 1970 of the last change; zero for what claims to be older.
    pub(super) modified: u64,
    nanos: u64,
    /// Device and inode.
    place: (u64, u64),
}

#[derive(Clone, Debug)]
enum Content {
    File(Arc<OwnedFd>),
    /// Made from a file.
    Memory(Arc<[u8]>),
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

    /// `file` is at `path` and is what `stat` says.
    pub(super) fn new(file: OwnedFd, path: &str, stat: &Stat) -> Found {
        let name = path.rsplit('/').next().unwrap_or_default();
        Found {
            content: Content::File(Arc::new(file)),
            path: path.into(),
            length: u64::try_from(stat.st_size).unwrap_or(0),
            media: mime::of(name),
            encoding: None,
            kept: None,
            lasts: lasts(name),
            modified: u64::try_from(stat.st_mtime).unwrap_or(0),
            nanos: u64::from(stat.st_mtime_nsec as u32),
            place: (stat.st_dev, stat.st_ino),
        }
    }

    /// A strong validator (RFC 9110 § 8.8.3): size and time of change to the nanosecond, and the coding. Two changes
    /// within the clock tick of a file system (about 4 ms) that keep the size would share one; releases are never changed
    /// in place.
    pub fn etag(&self) -> String {
        let coding = self.encoding.map_or("", Encoding::name);
        let dash = if coding.is_empty() { "" } else { "-" };
        format!("\"{:x}-{:x}-{:x}{dash}{coding}\"", self.length, self.modified, self.nanos)
    }

    /// The same with Cache-Control as its folder has it.
    pub(super) fn kept_for(self, rule: Option<&Arc<str>>) -> Found {
        Found { kept: rule.cloned(), ..self }
    }

    /// The same content as `plain` in another coding.
    pub(super) fn encoding_of(self, plain: &Found, encoding: Encoding) -> Found {
        let (media, lasts, kept) = (plain.media, plain.lasts, plain.kept.clone());
        Found { media, lasts, kept, encoding: Some(encoding), ..self }
    }

    /// Whether clients that take different codings get different answers.
    pub(super) fn varies(&self) -> bool {
        is_compressible(self.media)
    }

    /// Whether `other` was opened from the same file, unchanged since.
    pub(super) fn is(&self, other: &Found) -> bool {
        let identity = |it: &Found| (it.place, it.length, it.modified, it.nanos);
        identity(self) == identity(other)
    }

    /// The same content by gzip, if that is worth it. Reads the whole file and takes milliseconds: for a thread that may
    /// wait.
    pub(super) fn compressed(&self) -> Option<Found> {
        if !self.varies() || !is_worth(self.length) || self.encoding.is_some() {
            return None;
        }
        let mut whole = vec![0; self.length as usize];
        let mut read = 0;
        while read < whole.len() {
            read += self.read_at(read as u64, &mut whole[read..]).ok().filter(|count| *count > 0)?;
        }
        let smaller: Arc<[u8]> = gzip(&whole)?.into();
        let length = smaller.len() as u64;
        Some(Found { content: Content::Memory(smaller), length, encoding: Some(Encoding::Gzip), ..self.clone() })
    }

    /// Reads at `offset` (pread(2)), waiting for the disk where it must. Zero at the end of the file, also when it has
    /// become shorter since.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.content {
            Content::File(file) => retry(|| pread(file, &mut *buffer, offset)),
            Content::Memory(bytes) => Ok(copy(bytes, offset, buffer)),
        }
    }

    /// As [`Found::read_at`] but says `WouldBlock` instead of waiting for the disk (preadv2(2), `RWF_NOWAIT`), and also
    /// where the file system cannot tell: then [`Found::read_at`] on a thread that may wait. May read less than is
    /// there: the pages that are in memory.
    pub fn read_at_nowait(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = match &self.content {
            Content::File(file) => file,
            Content::Memory(bytes) => return Ok(copy(bytes, offset, buffer)),
        };
        let read = || preadv2(file, &mut [IoSliceMut::new(&mut *buffer)], offset, ReadWriteFlags::NOWAIT);
        match retry(read) {
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            read => read,
        }
    }

    /// As [`Found::read_at`], on a thread that may wait; how many bytes, and the buffer.
    pub(crate) async fn waited_for(&self, offset: u64, mut buffer: Vec<u8>) -> io::Result<(usize, Vec<u8>)> {
        let found = self.clone();
        let read = move || found.read_at(offset, &mut buffer).map(|count| (count, buffer));
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// For sendfile(2); its own position is of no meaning. `None` for what lies in memory.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        match &self.content {
            Content::File(file) => Some(file.as_fd()),
            Content::Memory(_) => None,
        }
    }

    /// Whether sending so many bytes from `offset` on will hardly wait for the disk: their first and last are in memory,
    /// and the kernel reads ahead in between. Of a few pages the last one tells: they were read in one go.
    pub fn is_warm(&self, offset: u64, length: u64) -> bool {
        let mut byte = [0];
        let mut there = |at| self.read_at_nowait(at, &mut byte).is_ok_and(|count| count == 1);
        (length <= FEW_PAGES_BYTES || there(offset)) && there(offset + length - 1)
    }
}

fn copy(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    buffer[..count].copy_from_slice(&rest[..count]);
    count
}

fn retry(mut read: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(Errno::INTR) => {}
            read => return Ok(read?),
        }
    }
}
