//! A thread's event loop: tasks that stay on it, descriptors that they wait for (epoll(7)), timers.
//!
//! It is the engine's own because a general runtime pays for what no connection here needs: tasks and descriptors that may change
//! threads are locked and counted at each event, and a proxy has two events and two turns of a task for each request. Nothing above
//! knows more of it than [`spawn`], [`Descriptor`] and the clock. What is to block goes to tokio's pool of threads, with
//! `tokio::task::spawn_blocking`; whatever else of tokio's needs no driver (`sync`, `select!`) works as ever, its timers and
//! sockets do not.
//!
//! Who waits for a descriptor or a timer is the task whose turn it is, by its key: a waker would be counted where it is kept, and is
//! for what other threads wake. So what waits here is polled by its task, and not by something in between with a waker of its own
//! (as `FuturesUnordered` has).

mod slab;
mod socket;
mod source;
mod task;
#[cfg(test)]
mod tests;
mod timer;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::Timespec;

use slab::{Key, Slab};
use source::Source;
use task::{Entry, Home};
use timer::Timers;

pub(crate) use socket::{Listener, tcp, unix};
pub(crate) use source::{Descriptor, Side};
pub(crate) use task::{Held, TaskId, spawn, spawn_held, yielded};
#[cfg(test)]
pub(crate) use timer::paused;
pub(crate) use timer::{now, sleep, timeout, timeout_at};

/// Events taken at once: more than a thread has ready as long as it keeps up, and 3 KiB.
const EVENTS_MAX: usize = 256;
/// Turns of tasks between two looks at what has happened: tasks that wake each other must not keep the others waiting.
const TURNS_MAX: usize = 64;

thread_local! {
    static HERE: RefCell<Option<Rc<Loop>>> = const { RefCell::new(None) };
}

/// A thread's loop.
struct Loop {
    epoll: OwnedFd,
    home: Arc<Home>,
    tasks: RefCell<Slab<Entry>>,
    /// Whose turn it is.
    ready: RefCell<VecDeque<Key>>,
    /// It is the turn of the future that the loop runs for.
    root: Cell<bool>,
    sources: RefCell<Slab<Rc<Source>>>,
    timers: RefCell<Timers>,
}

/// Runs `root` to its end on this thread, and the tasks that it spawns; those that are left then are dropped.
///
/// # Errors
/// If the kernel has no descriptor left for what the loop needs, or one runs on this thread already.
pub(crate) fn run<T>(root: impl Future<Output = T>) -> io::Result<T> {
    let here = Rc::new(Loop::new()?);
    let blocking = tokio::runtime::Builder::new_current_thread().build()?;
    let _entered = blocking.enter();
    let _ends = Ends::begin(&here)?;
    let (mut root, waker) = (pin!(root), here.home.waker(Key::ROOT));
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        if here.root.replace(false)
            && let Poll::Ready(done) = root.as_mut().poll(&mut Context::from_waker(&waker))
        {
            return Ok(done);
        }
        for _ in 0..TURNS_MAX {
            let Some(next) = here.ready.borrow_mut().pop_front() else { break };
            here.turn(next);
        }
        here.wait(&mut events)?;
    }
}

/// Ends the loop of this thread when dropped, with all its tasks.
struct Ends(Rc<Loop>);

impl Ends {
    fn begin(here: &Rc<Loop>) -> io::Result<Ends> {
        HERE.with_borrow_mut(|place| match place {
            Some(_) => Err(io::Error::other("a loop runs on this thread already")),
            None => {
                *place = Some(here.clone());
                Ok(Ends(here.clone()))
            }
        })
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // What is dropped may spawn.
        while !self.0.tasks.borrow().is_empty() {
            drop(self.0.tasks.take());
        }
        self.0.home.leave();
        HERE.with_borrow_mut(Option::take);
    }
}

/// The loop of this thread, if one runs.
fn current() -> Option<Rc<Loop>> {
    HERE.try_with(|here| here.borrow().clone()).ok().flatten()
}

/// The same, for who cannot do without.
fn here() -> Rc<Loop> {
    #[expect(clippy::expect_used, reason = "as tokio's `spawn_local`: a task without a thread has nowhere to go")]
    current().expect("an event loop runs on this thread")
}

impl Loop {
    fn new() -> io::Result<Loop> {
        let here = Loop {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            home: Arc::new(Home::new()?),
            tasks: RefCell::default(),
            ready: RefCell::default(),
            root: Cell::new(true),
            sources: RefCell::default(),
            timers: RefCell::default(),
        };
        let calls = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&here.epoll, here.home.bell(), epoll::EventData::new_u64(Key::BELL.into()), calls)?;
        Ok(here)
    }

    /// Waits until something happens, unless somebody's turn it is, and wakes who waits for it.
    fn wait(&self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let idle = self.ready.borrow().is_empty() && !self.root.get();
        let within = if idle { self.timers.borrow().until_next() } else { Some(Duration::ZERO) };
        let within = within.and_then(|within| Timespec::try_from(within).ok());
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), within.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.iter() {
            match Key::from(event.data.u64()) {
                Key::BELL => self.home.answer(self),
                key => {
                    let source = self.sources.borrow().get(key).cloned();
                    source.into_iter().for_each(|source| source.happened(event.flags, self));
                }
            }
        }
        let due = self.timers.borrow_mut().due();
        due.into_iter().for_each(|task| self.wake(task.0));
        Ok(())
    }
}
