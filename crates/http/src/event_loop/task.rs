//! Tasks, and how they are woken: by their own thread without a lock, by others with a bell.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::slab::Key;
use super::{Loop, current, here};

thread_local! {
    static TURN: Cell<Key> = const { Cell::new(Key::ROOT) };
}

/// A task's place.
pub(super) struct Entry {
    /// It is among those whose turn it is.
    queued: bool,
    /// Not there while it takes its turn.
    task: Option<Task>,
}

/// A future that takes turns until it has ended.
struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

/// Where a loop is rung by other threads.
pub(super) struct Home {
    bell: OwnedFd,
    /// Who was called; nobody any more once the loop has ended.
    calls: Mutex<Option<Vec<Arc<Woken>>>>,
}

/// What a waker knows.
struct Woken {
    key: Key,
    home: Arc<Home>,
    /// It is among those that other threads called.
    called: AtomicBool,
}

impl Home {
    pub(super) fn new() -> io::Result<Home> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Home { bell, calls: Mutex::new(Some(Vec::new())) })
    }

    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    pub(super) fn waker(self: &Arc<Home>, key: Key) -> Waker {
        Arc::new(Woken { key, home: self.clone(), called: AtomicBool::new(false) }).into()
    }

    fn calls(&self) -> MutexGuard<'_, Option<Vec<Arc<Woken>>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody is here any more who could be called.
    pub(super) fn leave(&self) {
        let calls = self.calls().take();
        drop(calls);
    }

    /// Has everyone take a turn whom other threads called since the last time.
    pub(super) fn answer(&self, here: &Loop) {
        let calls = self.calls().as_mut().map(std::mem::take).unwrap_or_default();
        for woken in calls {
            // Whoever calls from now on is heard again: what it has done may be too late for this turn.
            woken.called.swap(false, Ordering::AcqRel);
            here.wake(woken.key);
        }
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Woken>) {
        let is_here = super::HERE.try_with(|here| {
            let here = here.borrow();
            let here = here.as_ref().filter(|here| Arc::ptr_eq(&here.home, &self.home));
            here.map(|here| here.wake(self.key)).is_some()
        });
        if is_here == Ok(true) || self.called.swap(true, Ordering::AcqRel) {
            return;
        }
        match &mut *self.home.calls() {
            Some(calls) => calls.push(self.clone()),
            None => return,
        }
        // It can only fail if nobody has listened for 2⁶⁴ rings.
        let _ = rustix::io::write(&self.home.bell, &1u64.to_ne_bytes());
    }
}

impl Loop {
    /// Has a task take a turn, soon.
    pub(super) fn wake(&self, key: Key) {
        if key == Key::ROOT {
            return self.root.set(true);
        }
        if let Some(entry) = self.tasks.borrow_mut().get_mut(key)
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.ready.borrow_mut().push_back(key);
        }
    }

    /// Lets a task take its turn. A panic ends the task, and no other.
    pub(super) fn turn(&self, key: Key) {
        let begins = |entry: &mut Entry| {
            entry.queued = false;
            entry.task.take()
        };
        let Some(mut task) = self.tasks.borrow_mut().get_mut(key).and_then(begins) else { return };
        TURN.set(key);
        let mut context = Context::from_waker(&task.waker);
        let goes_on = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut context).is_pending()));
        TURN.set(Key::ROOT);
        if goes_on.unwrap_or(false) {
            // Unless it was let go of meanwhile.
            if let Some(entry) = self.tasks.borrow_mut().get_mut(key) {
                entry.task = Some(task);
            }
            return;
        }
        self.tasks.borrow_mut().remove(key);
        // Outside the loop's tables, into which it may reach.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()>>>) -> Key {
        let entry = |key| Entry { queued: false, task: Some(Task { future, waker: self.home.waker(key) }) };
        let key = self.tasks.borrow_mut().insert_with(entry);
        self.wake(key);
        key
    }
}

/// Begins a task on this thread.
///
/// # Panics
/// If no loop runs on it.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    here().spawn(Box::pin(task));
}

/// The same; it is dropped with what is returned, wherever it is then.
///
/// # Panics
/// If no loop runs on this thread.
pub(crate) fn spawn_held(task: impl Future<Output = ()> + 'static) -> Held {
    Held(here().spawn(Box::pin(task)))
}

/// A task, for who wakes it on its own thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId(pub(super) Key);

impl TaskId {
    /// Whose turn it is; outside of all tasks the future that the loop runs for.
    pub(crate) fn current() -> TaskId {
        TaskId(TURN.get())
    }

    /// Has it take a turn, soon; nothing if it has ended.
    pub(crate) fn wake(self) {
        current().into_iter().for_each(|here| here.wake(self.0));
    }
}

/// A task that ends when this is dropped.
pub(crate) struct Held(Key);

impl Drop for Held {
    fn drop(&mut self) {
        let task = current().and_then(|here| here.tasks.borrow_mut().remove(self.0));
        // Outside the loop's tables, into which it may reach.
        drop(task);
    }
}

/// Lets the others take their turns first.
pub(crate) async fn yielded() {
    let mut again = false;
    let once = poll_fn(|context| {
        if std::mem::replace(&mut again, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    });
    once.await;
}
