//! Deadlines of waits, cheaply.
//!
//! Every wait of every request has a deadline, and nearly none is ever met: a timer of its own for each is a clock to read and a tree
//! to sort it into. Here a wait leaves its task in a table of its thread, and a task looks through the table every [`TICK`]. A deadline
//! is therefore met up to two ticks late, never early.
//!
//! What ticks is a timer of the kernel's that is set once. A thread that has a timer of its loop's sleeps until then: the kernel sets
//! one before each sleep and takes it back after, and a proxy sleeps more than once for every request.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::event_loop::{Descriptor, Side, TaskId, sleep, spawn};

/// Between two looks: short beside every limit, and ten wake-ups a second cost an idle core nothing that can be measured.
const TICK: Duration = Duration::from_millis(100);

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

/// The waits of a thread.
#[derive(Default)]
struct Table {
    /// Ticks so far.
    now: u64,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Somebody looks through it.
    watched: bool,
    /// The engine ends: nobody waits idly any more.
    ending: bool,
}

enum Slot {
    Free,
    Waits {
        until: u64,
        task: TaskId,
        idle: bool,
    },
    /// The deadline has passed, and the task was woken to see it.
    Late,
}

/// Runs `wait`, which must be on a thread with an event loop, for at most `deadline`. What cannot be moved is given pinned where it stands:
/// an `async fn` that takes a future holds it twice, and waits are nested deep.
///
/// # Errors
/// What `wait` says, or `TimedOut`.
pub(crate) fn within<T>(
    deadline: Duration,
    wait: impl Future<Output = io::Result<T>> + Unpin,
) -> impl Future<Output = io::Result<T>> + Unpin {
    wait_for(Place { at: None, idle: false }, deadline, wait)
}

/// The same for who may be sent away: it is late as soon as the engine [`end`]s.
///
/// # Errors
/// What `wait` says, or `TimedOut`.
pub(crate) fn idly<T>(
    deadline: Duration,
    wait: impl Future<Output = io::Result<T>> + Unpin,
) -> impl Future<Output = io::Result<T>> + Unpin {
    wait_for(Place { at: None, idle: true }, deadline, wait)
}

/// What `attempt`, which writes to `descriptor`, comes to once it does not block, for which it has until `deadline`. The kernel tells of
/// room only when a third of a buffer of up to some megabytes is free, and whoever reads slowly takes longer for that: so it is tried
/// in between.
///
/// # Errors
/// What `attempt` says, or `TimedOut`.
pub(crate) async fn when_writable<T>(
    descriptor: &Descriptor,
    deadline: Duration,
    mut attempt: impl FnMut() -> io::Result<T> + Unpin,
) -> io::Result<T> {
    let mut looked = false;
    loop {
        let attempted = poll_fn(|_| {
            loop {
                match attempt() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(descriptor.poll(Side::Writing)),
                    done => return Poll::Ready(done),
                }
            }
        });
        match within(deadline / 2, attempted).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !looked => {
                looked = true;
                descriptor.look_again();
            }
            done => return done,
        }
    }
}

/// Waits at least so long, in which there is nothing to do.
pub(crate) async fn pause(at_least: Duration) {
    let _: io::Result<()> = within(at_least, std::future::pending()).await;
}

fn wait_for<T>(
    mut place: Place,
    deadline: Duration,
    mut wait: impl Future<Output = io::Result<T>> + Unpin,
) -> impl Future<Output = io::Result<T>> + Unpin {
    poll_fn(move |context| match Pin::new(&mut wait).poll(context) {
        Poll::Pending => place.wait(deadline),
        done => done,
    })
}

/// Ends the idle waits of this thread, and those that begin from now on.
pub(crate) fn end() {
    let woken = TABLE.with_borrow_mut(|table| {
        table.ending = true;
        table.late(|_, idle| idle)
    });
    woken.into_iter().for_each(TaskId::wake);
}

/// A wait's place in the table; given back when dropped.
struct Place {
    at: Option<usize>,
    idle: bool,
}

impl Place {
    fn wait<T>(&mut self, deadline: Duration) -> Poll<io::Result<T>> {
        TABLE.with_borrow_mut(|table| {
            let Some(place) = self.at else {
                if self.idle && table.ending {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                self.at = Some(table.enter(deadline, TaskId::current(), self.idle));
                return Poll::Pending;
            };
            match &mut table.slots[place] {
                Slot::Waits { task, .. } => *task = TaskId::current(),
                Slot::Late => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Slot::Free => {}
            }
            Poll::Pending
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(place) = self.at {
            TABLE.with_borrow_mut(|table| {
                table.slots[place] = Slot::Free;
                table.free.push(place);
            });
        }
    }
}

impl Table {
    fn enter(&mut self, deadline: Duration, task: TaskId, idle: bool) -> usize {
        if !self.watched {
            self.watched = true;
            spawn(watch());
        }
        const A_SECOND: u64 = 1_000 / TICK.as_millis() as u64;
        let rest = u64::from(deadline.subsec_nanos().div_ceil(TICK.subsec_nanos()));
        let ticks = deadline.as_secs().saturating_mul(A_SECOND).saturating_add(rest);
        // The present tick has begun already.
        let slot = Slot::Waits { until: self.now.saturating_add(ticks).saturating_add(1), task, idle };
        match self.free.pop() {
            Some(place) => {
                self.slots[place] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    /// Who is to be woken: outside the table, into which a woken task may reach.
    fn tick(&mut self) -> Vec<TaskId> {
        self.now += 1;
        let now = self.now;
        let late = self.late(|until, _| until <= now);
        // After a crowd has left, its room goes too.
        if self.free.len() == self.slots.len() && self.slots.len() > 1024 {
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
        late
    }

    /// Makes those late who are, by when their deadline is and whether they wait idly.
    fn late(&mut self, is_late: impl Fn(u64, bool) -> bool) -> Vec<TaskId> {
        let mut late = Vec::new();
        for slot in &mut self.slots {
            if matches!(slot, Slot::Waits { until, idle, .. } if is_late(*until, *idle))
                && let Slot::Waits { task, .. } = std::mem::replace(slot, Slot::Late)
            {
                late.push(task);
            }
        }
        late
    }
}

/// Looks through the table until the loop ends.
async fn watch() {
    struct Watched;
    impl Drop for Watched {
        fn drop(&mut self) {
            // At the end of a thread the table may be gone already.
            let _ = TABLE.try_with(|table| {
                let mut table = table.borrow_mut();
                (table.watched, table.ending) = (false, false);
            });
        }
    }
    let _watched = Watched;
    let clock = Clock::new().ok();
    loop {
        match &clock {
            Some(clock) if clock.tick().await.is_ok() => {}
            // Nothing that it needs could be had: dearer, and as good.
            _ => sleep(TICK).await,
        }
        TABLE.with_borrow_mut(Table::tick).into_iter().for_each(TaskId::wake);
    }
}

/// A timer that goes off every [`TICK`] (timerfd_create(2)).
struct Clock(Descriptor);

impl Clock {
    fn new() -> io::Result<Clock> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let tick = Timespec::try_from(TICK).map_err(io::Error::other)?;
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: tick, it_value: tick })?;
        Ok(Clock(Descriptor::watch(timer)?))
    }

    /// Waits for the next tick. Those that nobody waited for are one: who was stopped for a while gives everyone his time.
    async fn tick(&self) -> io::Result<()> {
        let mut missed = [0; 8];
        loop {
            match self.0.attempt(Side::Reading, |timer| Ok(rustix::io::read(timer, &mut missed)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.0.ready(Side::Reading).await,
                done => return done.map(drop),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::event_loop::{run, yielded};

    fn never() -> impl Future<Output = io::Result<()>> + Unpin {
        std::future::pending()
    }

    #[test]
    fn a_deadline_is_met_at_most_two_ticks_late_and_never_early() {
        for millis in [0, 1, 99, 100, 101, 250, 1000, 86_400_000] {
            let (deadline, mut table) = (Duration::from_millis(millis), Table { watched: true, ..Table::default() });
            table.enter(deadline, TaskId::current(), false);
            // The first tick comes within one.
            let ticks = (1..).find(|_| !table.tick().is_empty()).unwrap();
            assert!(TICK * (ticks - 1) >= deadline && TICK * ticks <= deadline + 2 * TICK, "{millis}: {ticks}");
        }
    }

    #[test]
    fn the_clock_ticks() {
        let waits = async {
            let start = Instant::now();
            let ended = within(Duration::from_millis(250), never()).await.unwrap_err();
            assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
            pause(Duration::from_millis(50)).await;
            assert!(start.elapsed() >= Duration::from_millis(300));
        };
        run(waits).unwrap();
    }

    #[test]
    fn the_end_sends_away_who_waits_idly_and_nobody_else() {
        let waits = async {
            let day = Duration::from_secs(86_400);
            let mut busy = within(day, never());
            assert!(poll_fn(|context| Poll::Ready(Pin::new(&mut busy).poll(context))).await.is_pending());
            let mut idle = idly(day, never());
            assert!(poll_fn(|context| Poll::Ready(Pin::new(&mut idle).poll(context))).await.is_pending());
            end();
            assert_eq!(idle.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert!(poll_fn(|context| Poll::Ready(Pin::new(&mut busy).poll(context))).await.is_pending());
            assert!(idly(day, never()).await.is_err(), "it is too late to begin to wait");
        };
        run(waits).unwrap();
    }

    #[test]
    fn what_is_there_is_not_waited_for_and_places_are_used_again() {
        let start = Instant::now();
        let waits = async {
            for _ in 0..100 {
                assert_eq!(within(Duration::MAX, std::future::ready(Ok(7))).await.unwrap(), 7);
                let yielding = std::pin::pin!(async {
                    yielded().await;
                    Ok(())
                });
                within(Duration::from_secs(60), yielding).await.unwrap();
            }
            TABLE.with_borrow(|table| assert_eq!(table.slots.len(), 1));
        };
        run(waits).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5));
        TABLE.with_borrow(|table| assert!(!table.watched, "the next loop starts its own"));
    }
}
