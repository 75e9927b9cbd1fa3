//! A request's body, whole before a backend hears of it: in memory while it is small, else in a file without a name.
//!
//! For applications that serve one request at a time, as nginx does for them: a worker would be held for as long as its
//! visitor's upload takes, must know beforehand how long the body is, and PHP runs a form that broke off in the middle
//! as if it were whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Trip, Upload};
use crate::codec::{Body, Framing, Refusal};
use crate::wire::Wire;

/// Of a body in memory, as nginx's `client_body_buffer_size`: nearly every form without a file fits, and all connections
/// of an engine together stay below 400 MB.
const MEMORY_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a file read at once.
const PIECE_BYTES: usize = 128 * 1024;

/// Where large bodies wait.
pub struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    held: Arc<AtomicU64>,
}

impl Spool {
    /// In files below `folder`, which have no name and so are gone with us; together at most `bytes_max`.
    pub fn new(folder: PathBuf, bytes_max: u64) -> Spool {
        Spool { folder, bytes_max, held: Arc::default() }
    }

    /// Its name lives only as long as it takes to remove it.
    fn file(path: PathBuf) -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(file)
    }
}

/// Why a body is not there.
pub(super) enum Ungathered {
    /// The client went away, or what it sends is refused.
    Client(Upload),
    /// Too many bodies wait already.
    Full,
    /// The disk refuses.
    Failed(io::Error),
}

/// A whole body.
#[derive(Default)]
pub(super) struct Gathered {
    /// What is not in the file; nothing if there is one.
    memory: Vec<u8>,
    file: Option<Arc<File>>,
    /// Bytes in all.
    pub(super) length: u64,
    /// Where the file's bytes are counted, and how many.
    held: Option<(Arc<AtomicU64>, u64)>,
}

impl Drop for Gathered {
    fn drop(&mut self) {
        if let Some((all, ours)) = &self.held {
            all.fetch_sub(*ours, Ordering::Relaxed);
        }
    }
}

impl Gathered {
    /// Moves what is in memory to the file.
    async fn spill(&mut self, spool: &Spool, name: impl FnOnce() -> String) -> Result<(), Ungathered> {
        let bytes = self.memory.len() as u64;
        let (all, ours) = self.held.get_or_insert_with(|| (spool.held.clone(), 0));
        *ours += bytes;
        if all.fetch_add(bytes, Ordering::Relaxed) + bytes > spool.bytes_max {
            return Err(Ungathered::Full);
        }
        let (file, memory) = (self.file.take(), std::mem::take(&mut self.memory));
        let path = spool.folder.join(name());
        let writing = tokio::task::spawn_blocking(move || {
            let file = file.map_or_else(|| Spool::file(path).map(Arc::new), Ok)?;
            (&*file).write_all(&memory)?;
            Ok((file, memory))
        });
        let (file, mut memory) = writing.await.map_err(io::Error::other).flatten().map_err(Ungathered::Failed)?;
        memory.clear();
        (self.file, self.memory) = (Some(file), memory);
        Ok(())
    }

    /// A piece of it from `offset` on; empty at its end.
    pub(super) async fn piece(&self, offset: u64) -> io::Result<Vec<u8>> {
        let Some(file) = self.file.clone() else {
            return Ok(self.memory.get(offset as usize..).unwrap_or_default().to_vec());
        };
        let room = (self.length - offset).min(PIECE_BYTES as u64) as usize;
        let reading = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; room];
            file.read_exact_at(&mut piece, offset).map(|()| piece)
        });
        reading.await.map_err(io::Error::other)?
    }
}

impl Trip<'_> {
    /// Takes in the client's body.
    pub(super) async fn gather(&self, spool: &Spool, wire: &mut Wire) -> Result<Gathered, Ungathered> {
        let too_large = || Ungathered::Client(Upload::ClientWrong(Refusal::BodyTooLarge));
        let bytes_max = self.limits().body_bytes_max;
        if matches!(self.request.framing, Framing::Length(length) if length > bytes_max) {
            return Err(too_large());
        }
        self.invite(wire).await.map_err(Ungathered::Client)?;
        let (mut gathered, mut body) = (Gathered::default(), Body::new(self.request.framing));
        while !body.is_done() {
            self.more_body(&wire.stream, &mut wire.pending, self.limits().progress_within)
                .await
                .map_err(Ungathered::Client)?;
            let memory = &mut gathered.memory;
            let taken = body.decode(&wire.pending, |data| memory.extend_from_slice(data));
            let taken = taken.map_err(|refusal| Ungathered::Client(Upload::ClientWrong(refusal)))?;
            self.worker.buffers.used(&mut wire.pending, taken);
            let in_file = gathered.held.as_ref().map_or(0, |(_, bytes)| *bytes);
            gathered.length = in_file + gathered.memory.len() as u64;
            if gathered.length > bytes_max {
                return Err(too_large());
            }
            let last = body.is_done() && gathered.file.is_some();
            if gathered.memory.len() > MEMORY_BYTES_MAX || last {
                gathered.spill(spool, || format!("body-{}", self.worker.id())).await?;
            }
        }
        Ok(gathered)
    }

    /// Tells a client to send its body if it waits for that (RFC 9110 § 10.1.1).
    async fn invite(&self, wire: &mut Wire) -> Result<(), Upload> {
        if !self.request.expects_continue || !wire.pending.is_empty() {
            return Ok(());
        }
        let invited = wire.stream.write(b"HTTP/1.1 100 Continue\r\n\r\n", self.limits().progress_within).await;
        invited.map_err(|_| Upload::ClientGone)
    }
}
