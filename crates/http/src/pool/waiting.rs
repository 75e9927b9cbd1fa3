//! Requests that wait for a backend: in the order of coming, each until it is called ([`Line`]).

use std::future::poll_fn;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use mainstay_machines::line::{Line, Ticket};
use tokio::sync::Notify;

use super::{Lease, Pool, Refused, Wanted};
use crate::event_loop::{now, timeout_at};

/// How long a backend that just failed is not asked again by the same request, unless there is news of it: whoever
/// watches a worker hears of its death within milliseconds.
pub(super) const SETTLE: Duration = Duration::from_millis(50);

/// Those who wait at a pool.
#[derive(Default)]
pub(super) struct Waiting {
    count: AtomicU32,
    line: Mutex<Line<Waker>>,
    /// For who looks for another than those that failed him: he goes past the line, and is told of everything.
    news: Notify,
}

impl Waiting {
    /// How many.
    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::SeqCst)
    }

    fn line(&self) -> MutexGuard<'_, Line<Waker>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has as many look as places are free.
fn call(mut line: MutexGuard<'_, Line<Waker>>, free: usize) {
    let woken = line.call(free);
    drop(line);
    woken.into_iter().for_each(Waker::wake);
}

impl Pool {
    /// Chooses a backend, or waits for one.
    ///
    /// # Errors
    /// [`Refused`]; [`Refused::Moved`] only if nobody could be chosen at once.
    pub async fn lease(self: &Arc<Pool>, wanted: &Wanted<'_>) -> Result<Lease, Refused> {
        match self.lease_now(wanted) {
            Some(lease) => Ok(lease),
            None => self.wait(wanted).await,
        }
    }

    /// Chooses a backend if one is free and nobody waits for it. Those who wait do not keep out who was failed by a backend, nor who
    /// stays with one that takes nobody else any more.
    pub(crate) fn lease_now(self: &Arc<Pool>, wanted: &Wanted<'_>) -> Option<Lease> {
        let may_pass = self.waiting.count() == 0 || !wanted.tried.is_empty() || wanted.kept.is_some();
        if may_pass { self.another(wanted) } else { None }
    }

    /// A backend that was not tried and is free now, and that nobody waits for.
    pub(crate) fn free(self: &Arc<Pool>, wanted: &Wanted<'_>) -> Option<Lease> {
        if self.waiting.count() == 0 { self.another(wanted) } else { None }
    }

    /// There may be a place, or something else is new: whoever it concerns is told.
    pub(super) fn freed(&self) {
        if self.waiting.count() > 0 {
            self.call(self.waiting.line());
            self.waiting.news.notify_waiters();
        }
    }

    /// Has everybody look.
    pub(super) fn call_all(&self) {
        let line = self.waiting.line();
        let all = line.len();
        call(line, all);
        self.waiting.news.notify_waiters();
    }

    fn call(&self, line: MutexGuard<'_, Line<Waker>>) {
        let free = self.places(line.len());
        call(line, free);
    }

    /// How many places are free, as far as `most`.
    fn places(&self, most: usize) -> usize {
        let view = self.view.load();
        let mut free = 0;
        for backend in view.roster.eligible() {
            let outstanding = self.figures[*backend].outstanding.load(Ordering::SeqCst);
            free += self.settings.backend_requests_max.saturating_sub(outstanding) as usize;
            if free >= most {
                return most;
            }
        }
        free
    }

    fn another(self: &Arc<Pool>, wanted: &Wanted<'_>) -> Option<Lease> {
        self.choose(wanted, |backend| !wanted.tried.contains(&backend))
    }

    /// Waits for a backend, behind those who wait already.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) async fn wait(self: &Arc<Pool>, wanted: &Wanted<'_>) -> Result<Lease, Refused> {
        let _counted = Counted::begin(self)?;
        let began = now();
        let deadline = began + wanted.within;
        if !wanted.tried.is_empty()
            && let Some(lease) = self.settle(wanted, deadline.min(began + SETTLE)).await?
        {
            return Ok(lease);
        }
        let place = InLine::enter(self);
        loop {
            if self.successor.get().is_some() {
                return Err(Refused::Moved);
            }
            if place.looks()
                && let Some(lease) = self.choose(wanted, |_| true)
            {
                return Ok(lease);
            }
            let until = self.until(deadline);
            if timeout_at(until, place.called()).await.is_err() {
                if until == deadline {
                    return Err(Refused::Late);
                }
                self.current();
            }
        }
    }

    /// Waits for another backend than those that were tried.
    async fn settle(self: &Arc<Pool>, wanted: &Wanted<'_>, deadline: Instant) -> Result<Option<Lease>, Refused> {
        loop {
            // Registered before looking again, so that no notice is missed in between.
            let news = self.waiting.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if self.successor.get().is_some() {
                return Err(Refused::Moved);
            }
            if let Some(lease) = self.another(wanted) {
                return Ok(Some(lease));
            }
            let until = self.until(deadline);
            if timeout_at(until, news).await.is_err() && until == deadline {
                return Ok(None);
            }
        }
    }

    /// The deadline, or when the view changes by the clock alone before it.
    fn until(&self, deadline: Instant) -> Instant {
        self.next_change().map_or(deadline, |change| change.min(deadline))
    }
}

/// A request that waits; counted for the bound.
struct Counted<'p>(&'p Pool);

impl Counted<'_> {
    fn begin(pool: &Pool) -> Result<Counted<'_>, Refused> {
        let counted = Counted(pool);
        if pool.waiting.count.fetch_add(1, Ordering::SeqCst) >= pool.settings.waiting_max {
            return Err(Refused::Full);
        }
        Ok(counted)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.waiting.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A request's place in the line.
struct InLine<'p> {
    pool: &'p Pool,
    ticket: Ticket,
}

impl InLine<'_> {
    fn enter(pool: &Pool) -> InLine<'_> {
        let mut line = pool.waiting.line();
        let ticket = line.enter();
        pool.call(line);
        InLine { pool, ticket }
    }

    /// Whether it is its turn; if so, it is to look now.
    fn looks(&self) -> bool {
        self.pool.waiting.line().looks(self.ticket)
    }

    /// Until it is its turn.
    async fn called(&self) {
        poll_fn(|context| match self.pool.waiting.line().is_called(self.ticket, || context.waker().clone()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut line = self.pool.waiting.line();
        line.leave(self.ticket);
        self.pool.call(line);
    }
}
