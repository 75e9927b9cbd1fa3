//! Descriptors that a loop watches.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use std::task::Poll;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::slab::Key;
use super::{Loop, TaskId, current};

/// What epoll has told of a descriptor.
#[derive(Default)]
pub(super) struct Source {
    reading: Progress,
    writing: Progress,
}

/// Of one direction.
#[derive(Default)]
struct Progress {
    /// There may be something to read, or room to write.
    ready: Cell<bool>,
    /// The other end has closed: that stays.
    closed: Cell<bool>,
    /// Who waits.
    awaited: Cell<Option<TaskId>>,
}

impl Progress {
    fn happened(&self, ready: bool, closed: bool, here: &Loop) {
        if !ready && !closed {
            return;
        }
        self.ready.set(self.ready.get() | ready);
        self.closed.set(self.closed.get() | closed);
        self.awaited.take().into_iter().for_each(|task| here.wake(task.0));
    }

    fn may(&self) -> bool {
        self.ready.get() || self.closed.get()
    }
}

impl Source {
    pub(super) fn happened(&self, flags: EventFlags, here: &Loop) {
        let has = |any: EventFlags| flags.intersects(any);
        // An error is heard by the next call, once; both ends of the connection may still have something.
        let error = has(EventFlags::ERR);
        let (came, ended) = (has(EventFlags::IN | EventFlags::PRI), has(EventFlags::RDHUP | EventFlags::HUP));
        self.reading.happened(came || error, ended, here);
        self.writing.happened(has(EventFlags::OUT) || error, has(EventFlags::HUP), here);
    }
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Reading,
    Writing,
}

/// What epoll is to tell of every descriptor, and of those that wait for room.
const CAME: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);
const ROOM: EventFlags = CAME.union(EventFlags::OUT);

/// When epoll is to tell of room to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    /// Whenever there is some again.
    Always,
    /// Once there was none; so far there was.
    Later,
    /// The same; there was none.
    Now,
}

/// A descriptor that does not block, watched by the loop of this thread. Calls that would block are not made before epoll has
/// told of something new (epoll(7) on `EPOLLET`).
///
/// Dropping it closes it, and that ends the watch, unless others have the same socket, as they have a listener's.
pub(crate) struct Descriptor {
    watch: Watch,
    fd: OwnedFd,
}

/// A place among what a loop watches.
struct Watch {
    here: Weak<Loop>,
    key: Key,
    source: Rc<Source>,
    asking: Cell<Asking>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.here.upgrade().and_then(|here| here.sources.borrow_mut().remove(self.key));
    }
}

impl std::fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.fd.fmt(f)
    }
}

impl Descriptor {
    /// Has `fd` watched, which is nonblocking.
    ///
    /// # Errors
    /// If no loop runs on this thread, or the kernel does not watch it.
    pub(crate) fn watch(fd: OwnedFd) -> io::Result<Descriptor> {
        Descriptor::watched(fd, Asking::Always)
    }

    /// The same of a connected Unix socket: its kernel has room to tell of each time that the other end reads something, which would
    /// wake us for nothing.
    pub(crate) fn watch_unix(fd: OwnedFd) -> io::Result<Descriptor> {
        let watched = Descriptor::watched(fd, Asking::Later)?;
        watched.watch.source.writing.ready.set(true);
        Ok(watched)
    }

    fn watched(fd: OwnedFd, asking: Asking) -> io::Result<Descriptor> {
        let here = current().ok_or_else(|| io::Error::other("no event loop runs on this thread"))?;
        let source = Rc::<Source>::default();
        let key = here.sources.borrow_mut().insert_with(|_| source.clone());
        let watch = Watch { here: Rc::downgrade(&here), key, source, asking: Cell::new(asking) };
        let watched = Descriptor { watch, fd };
        let flags = if asking == Asking::Always { ROOM } else { CAME };
        epoll::add(&here.epoll, &watched.fd, EventData::new_u64(key.into()), flags)?;
        Ok(watched)
    }

    /// Gives it back.
    pub(crate) fn unwatched(self) -> OwnedFd {
        self.leave();
        self.fd
    }

    /// Has it watched no more.
    pub(super) fn leave(&self) {
        // A loop that is gone watches nothing.
        let _ = self.watch.here.upgrade().map(|here| epoll::delete(&here.epoll, &self.fd));
    }

    fn progress(&self, side: Side) -> &Progress {
        match side {
            Side::Reading => &self.watch.source.reading,
            Side::Writing => &self.watch.source.writing,
        }
    }

    /// Makes a call that reads or writes, unless it is known that it would block.
    pub(crate) fn attempt<T>(&self, side: Side, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        let progress = self.progress(side);
        if !progress.may() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let done = call(self.fd.as_fd());
        let blocked = matches!(&done, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if blocked {
            progress.ready.set(false);
        }
        match (side, self.watch.asking.get(), blocked) {
            (Side::Writing, Asking::Later, true) => self.ask(Asking::Now, ROOM)?,
            (Side::Writing, Asking::Now, false) => self.ask(Asking::Later, CAME)?,
            _ => {}
        }
        done
    }

    /// Has epoll tell of something else; also of what is there already.
    fn ask(&self, asking: Asking, flags: EventFlags) -> io::Result<()> {
        let watch = &self.watch;
        watch.asking.set(asking);
        let modify = |here: Rc<Loop>| epoll::modify(&here.epoll, &self.fd, EventData::new_u64(watch.key.into()), flags);
        Ok(watch.here.upgrade().map_or(Ok(()), modify)?)
    }

    /// Whether a call may do something; if not, the task whose turn it is takes another when that changes, and nobody else.
    pub(crate) fn poll(&self, side: Side) -> Poll<()> {
        let progress = self.progress(side);
        if progress.may() {
            return Poll::Ready(());
        }
        progress.awaited.set(Some(TaskId::current()));
        Poll::Pending
    }

    /// Waits until a call may do something.
    pub(crate) async fn ready(&self, side: Side) {
        poll_fn(|_| self.poll(side)).await;
    }

    /// Has the next call that writes be made, whatever epoll has told.
    pub(crate) fn look_again(&self) {
        self.watch.source.writing.ready.set(true);
    }

    /// What was there to read has been read.
    pub(crate) fn drained(&self) {
        self.watch.source.reading.ready.set(false);
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
