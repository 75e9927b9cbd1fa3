//! A connection and what was read from it and not used yet.

use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::patience::{idly, within};
use crate::spares::{Buffers, LARGE_BYTES};
use crate::stream::Stream;

/// So many bytes that were read are copied; of more the buffer changes hands.
pub(crate) const COPIED_BYTES_MAX: usize = 4 * 1024;

/// The buffer that a thread's connections read into; borrowed only between two waits. One serves all, so its size costs nothing.
pub(crate) struct Scratch(RefCell<Box<[u8]>>);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch(RefCell::new(vec![0; LARGE_BYTES].into_boxed_slice()))
    }

    /// For an answer of which only the beginning matters.
    pub(crate) fn small() -> Scratch {
        Scratch(RefCell::new(vec![0; 512].into_boxed_slice()))
    }
}

/// One end of an exchange.
pub(crate) struct Wire {
    pub(crate) stream: Stream,
    /// Read and not used yet.
    pub(crate) pending: Vec<u8>,
    /// Once they are known.
    ends: OnceCell<Rc<Ends>>,
}

/// The addresses of the other end of a connection and of ours.
pub(crate) type Ends = (SocketAddr, SocketAddr);

impl Wire {
    pub(crate) fn new(stream: Stream) -> Wire {
        Wire { stream, pending: Vec::new(), ends: OnceCell::new() }
    }

    /// One whose ends are known otherwise than by its socket.
    pub(crate) fn between(ends: Option<Rc<Ends>>, stream: Stream) -> Wire {
        Wire { ends: ends.map(OnceCell::from).unwrap_or_default(), ..Wire::new(stream) }
    }

    /// `None` if the other end is gone.
    pub(crate) fn ends(&self) -> Option<&Rc<Ends>> {
        match self.ends.get() {
            None => {
                let ends = Rc::new(self.stream.ends()?);
                Some(self.ends.get_or_init(|| ends))
            }
            known => known,
        }
    }
}

/// Reads once into the scratch buffer and hands the bytes to `take`; 0 bytes are the end.
///
/// # Errors
/// `TimedOut` if nothing came within `deadline`, and what the socket says.
pub(crate) fn read<T>(
    stream: &Stream,
    scratch: &Scratch,
    deadline: Duration,
    mut take: impl FnMut(&[u8]) -> T + Unpin,
) -> impl Future<Output = io::Result<T>> + Unpin {
    within(deadline, come(stream, move || stream.copied(scratch, LARGE_BYTES, &mut take)))
}

/// Reads once and adds to `pending`; the number of bytes.
pub(crate) fn fill(
    stream: &Stream,
    pending: &mut Vec<u8>,
    scratch: &Scratch,
    deadline: Duration,
) -> impl Future<Output = io::Result<usize>> + Unpin {
    let mut add = |bytes: &[u8]| {
        pending.extend_from_slice(bytes);
        bytes.len()
    };
    within(deadline, come(stream, move || stream.copied(scratch, LARGE_BYTES, &mut add)))
}

/// The same, for who may be sent away when the engine ends. Takes a buffer only once something has come.
pub(crate) fn fill_idly(
    stream: &Stream,
    pending: &mut Vec<u8>,
    (scratch, buffers): (&Scratch, &Buffers),
    deadline: Duration,
) -> impl Future<Output = io::Result<usize>> + Unpin {
    idly(deadline, come(stream, move || stream.copied(scratch, LARGE_BYTES, |bytes| buffers.add(pending, bytes))))
}

/// Reads once and adds to `pending`; the number of bytes: at the most [`COPIED_BYTES_MAX`], or up to [`LARGE_BYTES`] where `most` is
/// above that. Takes a buffer only once something has come, and what is large is not copied: then `pending` is what it was read into.
pub(crate) fn receive(
    stream: &Stream,
    pending: &mut Vec<u8>,
    (scratch, buffers): (&Scratch, &Buffers),
    most: usize,
    deadline: Duration,
) -> impl Future<Output = io::Result<usize>> + Unpin {
    within(deadline, come(stream, move || stream.received(pending, (scratch, buffers), most)))
}

/// Waits until there may be something to read.
pub(crate) fn readable(stream: &Stream, deadline: Duration) -> impl Future<Output = io::Result<()>> + Unpin {
    within(deadline, poll_fn(|context| stream.poll_readable(context)))
}

/// Waits until `attempt`, which reads from `stream`, finds something.
fn come<T>(
    stream: &Stream,
    mut attempt: impl FnMut() -> io::Result<T> + Unpin,
) -> impl Future<Output = io::Result<T>> + Unpin {
    poll_fn(move |context| stream.poll_come(context, &mut attempt))
}

impl Stream {
    /// Makes an `attempt` to read from it whenever there may be something, until it finds something.
    pub(crate) fn poll_come<T>(
        &self,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(self.poll_readable(context))?;
        }
    }

    /// Reads what is there, up to `most` bytes, into the scratch buffer and hands it to `take`.
    pub(crate) fn copied<T>(&self, scratch: &Scratch, most: usize, take: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let mut buffer = scratch.0.borrow_mut();
        let room = most.min(buffer.len());
        let count = self.try_read(&mut buffer[..room])?;
        self.emptied(count, room);
        Ok(take(&buffer[..count]))
    }

    /// See [`receive`].
    fn received(
        &self,
        pending: &mut Vec<u8>,
        (scratch, buffers): (&Scratch, &Buffers),
        most: usize,
    ) -> io::Result<usize> {
        if most <= COPIED_BYTES_MAX || !(pending.is_empty() && self.is_plain()) {
            return self.copied(scratch, most, |bytes| buffers.add(pending, bytes));
        }
        let mut large = buffers.large();
        let read = self.try_read_buf(&mut large);
        self.emptied(large.len(), LARGE_BYTES);
        if large.len() > COPIED_BYTES_MAX {
            std::mem::swap(pending, &mut large);
        } else if !large.is_empty() {
            buffers.add(pending, &large);
        }
        buffers.give(large);
        read
    }

    /// A read that brought less than there was room for has emptied the socket.
    fn emptied(&self, count: usize, room: usize) {
        if count > 0 && count < room {
            self.drained();
        }
    }
}
