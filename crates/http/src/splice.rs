//! Pipes, through which a body passes from one socket to another without being copied (splice(2)).
//!
//! A pipe holds the pages that bytes came in, and the kernel sends on from these: on Linux 6.18 a body of 1 MiB costs half of what
//! copying it does. Bytes go only into a pipe that is empty: of one that holds some, nobody could tell whether it is full or the
//! socket empty.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::spares::Spares;
use crate::stream::Stream;

/// Fewer are copied: that takes less than calling the kernel once more.
pub(crate) const SPLICED_BYTES_MIN: u64 = 8 * 1024;
/// Room of a pipe: for as much as one read brings.
const PIPE_BYTES: usize = 256 * 1024;
/// Pipes of a thread, each with two descriptors. Who waits for something to come has none; one is held while a slow reader has not
/// taken what is in it. Who finds none copies, as does who would have more than the kernel lets a user have: 64 MiB of room in all (pipe(7), `pipe-user-pages-soft`).
const PIPES_MAX: usize = 64;

/// The pipes of a thread.
#[derive(Default)]
pub(crate) struct Pipes {
    spare: Spares<Option<Pipe>>,
    /// Every pipe has a share of it.
    alive: Rc<()>,
}

impl Pipes {
    /// An empty one; `None` if there is none to be had.
    pub(crate) fn take(&self) -> Option<Pipe> {
        self.spare.take().or_else(|| {
            let may = Rc::strong_count(&self.alive) <= PIPES_MAX;
            may.then(|| Pipe::new(self.alive.clone()).ok()).flatten()
        })
    }

    /// Keeps one for later, if it is empty.
    pub(crate) fn give(&self, pipe: Pipe) {
        if pipe.held == 0 {
            self.spare.give(Some(pipe));
        }
    }

    /// Lets go of those that nobody needed since the last time.
    pub(crate) fn sweep(&self) {
        self.spare.sweep();
    }
}

/// A pipe, and how many bytes it holds.
pub(crate) struct Pipe {
    outward: OwnedFd,
    inward: OwnedFd,
    held: usize,
    _alive: Rc<()>,
}

impl Pipe {
    fn new(alive: Rc<()>) -> io::Result<Pipe> {
        let (outward, inward) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        fcntl_setpipe_size(&inward, PIPE_BYTES)?;
        Ok(Pipe { outward, inward, held: 0, _alive: alive })
    }

    pub(crate) fn held(&self) -> u64 {
        self.held as u64
    }

    /// Takes up to `most` of the bytes that have come to `stream`; how many. Zero at its end.
    ///
    /// # Errors
    /// `WouldBlock` if there are none, and what the socket says.
    pub(crate) fn fill(&mut self, stream: &Stream, most: u64) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0);
        let most = usize::try_from(most).unwrap_or(PIPE_BYTES).min(PIPE_BYTES);
        self.held = stream.splice_into(self.inward.as_fd(), most)?;
        Ok(self.held)
    }

    /// Sends on what it holds; each wait for room at most `deadline`.
    ///
    /// # Errors
    /// `TimedOut`, and what the socket says.
    pub(crate) async fn empty(&mut self, stream: &Stream, deadline: Duration) -> io::Result<()> {
        while self.held > 0 {
            match stream.splice_from(self.outward.as_fd(), self.held, deadline).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.held -= count,
            }
        }
        Ok(())
    }

    /// Adds what it holds to `pending`, as if it had been read.
    ///
    /// # Errors
    /// None that are known: what it holds can be read.
    pub(crate) fn pour(&mut self, pending: &mut Vec<u8>) -> io::Result<()> {
        let mut place = pending.len();
        pending.resize(place + self.held, 0);
        while self.held > 0 {
            match rustix::io::read(&self.outward, &mut pending[place..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => (place, self.held) = (place + count, self.held - count),
            }
        }
        Ok(())
    }
}
