//! Backends among which requests are spread: who is well, how busy they are, and who waits for them.
//!
//! Counts and the roster belong to the whole process; idle connections to each thread (`idle`). A choice reads the view,
//! which is swapped whole when a backend turns well or ill, is ejected, returns, or gets a larger share in its slow start.
//! What happens by the clock alone is looked for by the next request that comes: there is no timer.

mod figures;
mod lease;
mod succession;
mod view;
mod waiting;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use mainstay_machines::Time;
use mainstay_machines::balance::latency::Latency;
use mainstay_machines::balance::{self, Algorithm, Asked, Hashed};
use mainstay_machines::budget::{self, Budget};
use mainstay_machines::health::Failure;
use mainstay_machines::outlier::{self, Outliers};

use crate::event_loop::now;
use crate::sticky::{Cookies, Sticky};
use crate::stream::Address;
use view::{Place, State, View};
use waiting::Waiting;

pub use figures::Figures;
pub use lease::Lease;
pub use view::{Ejection, Standing};

/// How a pool behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is called in errors and reports: `web`, `app-site`.
    pub name: String,
    /// How to choose.
    pub algorithm: Algorithm,
    /// Requests at one backend at a time; a PHP worker takes one.
    pub backend_requests_max: u32,
    /// Requests that may wait for a backend; whoever comes then is refused at once.
    pub waiting_max: u32,
    /// When a connection may carry another request.
    pub reuse: Reuse,
    /// When backends are ejected that fail real requests; `None`: never, whoever runs them sees to it.
    pub outliers: Option<outlier::Config>,
    /// How long a backend that became well again takes to its whole share; zero: none.
    pub slow_start: Duration,
    /// Whether a visitor stays with a backend.
    pub sticky: Option<Sticky>,
    /// How long a backend may be silent before another is asked the same too; `None`: no other is.
    pub hedge_after: Option<Duration>,
}

impl Default for Settings {
    /// Round robin, no ejection, no slow start, no bound that a test would meet.
    fn default() -> Settings {
        Settings {
            name: String::new(),
            algorithm: Algorithm::RoundRobin,
            backend_requests_max: u32::MAX,
            waiting_max: 1_000,
            reuse: Reuse::Always,
            outliers: None,
            slow_start: Duration::ZERO,
            sticky: None,
            hedge_after: None,
        }
    }
}

/// What matters of a request when a backend is chosen for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'r> {
    /// Backends that failed it: taken only if there is no other, and after a moment in which their death may become
    /// known.
    pub tried: &'r [usize],
    /// The hash of what [`Pool::hashes`] asks for.
    pub key: u64,
    /// The backend that its visitor stays with: taken if it is well and free, draining or not.
    pub kept: Option<usize>,
    /// How long it may wait.
    pub within: Duration,
}

/// When a connection to a backend may carry another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Always: the backend keeps an idle connection longer than we do.
    Always,
    /// For what may be sent again, and for the rest while the backend was heard a moment ago: it takes what crosses with the end of a
    /// connection, but its machine may be off.
    Lively,
    /// For what may be sent again: the backend may close an idle connection just when a request comes.
    Repeatable,
    /// Never: of a program that nothing is known of, some serve one connection after the other.
    Never,
}

/// A backend as declared.
#[derive(Clone, Debug)]
pub struct Declared {
    /// `server1`, `worker 0`.
    pub name: String,
    /// Its share.
    pub weight: u16,
    /// Serves only when no other is well.
    pub spare: bool,
    /// Where it listens; `None` if it does not listen yet.
    pub address: Option<Address>,
    /// Whether it may be given requests already.
    pub well: bool,
}

/// A pool; shared by all threads.
///
/// `outstanding` is sequentially consistent, as the count of those who wait: whoever gives a place back and whoever begins to
/// wait must not both miss the other.
pub struct Pool {
    settings: Settings,
    names: Vec<String>,
    figures: Vec<Arc<Figures>>,
    pub(crate) cookies: Option<Cookies>,
    state: Mutex<State>,
    budget: Mutex<Budget>,
    /// Requests that were given to a further backend.
    retried: AtomicU64,
    view: ArcSwap<View>,
    origin: Instant,
    turn: AtomicU64,
    /// Requests at all backends now; kept only where the algorithm asks for it. Shared with the pool that comes after.
    total: Arc<AtomicU64>,
    waiting: Waiting,
    /// Whoever comes is to wait for a while.
    held: AtomicBool,
    /// The pool that has come after this one.
    successor: OnceLock<Arc<Pool>>,
}

/// Where a pool's clock and counts begin.
struct Start {
    origin: Instant,
    now: Time,
    total: Arc<AtomicU64>,
}

impl Start {
    fn now() -> Start {
        Start { origin: now(), now: Time::ZERO, total: Arc::default() }
    }
}

/// Why nobody was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No backend became available in time.
    #[error("no backend became free in time")]
    Late,
    /// Too many wait already.
    #[error("too many requests wait already")]
    Full,
    /// Another pool has come after this one: [`Pool::successor`].
    #[error("its backends are others now")]
    Moved,
}

/// Requests that they were given in all.
fn given(figures: &[Arc<Figures>]) -> u64 {
    figures.iter().map(|figures| figures.requests.load(Ordering::Relaxed)).sum()
}

impl Pool {
    /// A pool of the declared backends.
    pub fn new(settings: Settings, declared: Vec<Declared>) -> Arc<Pool> {
        let outliers = settings.outliers.map(|config| Outliers::new(config, declared.len(), Time::ZERO));
        let places = declared.iter().map(Place::declared).collect();
        let state = State::new(places, outliers, settings.slow_start, Time::ZERO);
        let figures = declared.iter().map(|_| Arc::new(Figures::new(Time::ZERO))).collect();
        let names = declared.into_iter().map(|it| it.name).collect();
        Arc::new(Pool::begun(settings, names, figures, state, Start::now()))
    }

    fn begun(settings: Settings, names: Vec<String>, figures: Vec<Arc<Figures>>, state: State, start: Start) -> Pool {
        let Start { origin, now, total } = start;
        // Backends that are known already have had requests.
        let budget = Budget::new(budget::Config::default(), now).after(given(&figures));
        Pool {
            view: ArcSwap::from_pointee(state.view(settings.algorithm, now)),
            cookies: settings.sticky.as_ref().map(|sticky| Cookies::new(sticky, &names)),
            figures,
            settings,
            names,
            state: Mutex::new(state),
            budget: Mutex::new(budget),
            retried: AtomicU64::new(0),
            origin,
            turn: AtomicU64::new(0),
            total,
            waiting: Waiting::default(),
            held: AtomicBool::new(false),
            successor: OnceLock::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Every backend's name and figures.
    pub fn backends(&self) -> impl Iterator<Item = (&str, &Figures)> {
        self.names.iter().map(String::as_str).zip(self.figures.iter().map(Arc::as_ref))
    }

    /// The name of a backend.
    pub fn backend_name(&self, backend: usize) -> &str {
        self.names.get(backend).map_or("", String::as_str)
    }

    /// How every backend stands now.
    pub fn standings(&self) -> Vec<Standing> {
        self.current();
        let view = self.view.load();
        let state = self.locked();
        let serves = |backend: usize| view.addresses.get(backend).is_some_and(Option::is_some);
        state.places.iter().enumerate().map(|(backend, place)| place.standing(serves(backend))).collect()
    }

    /// Requests that wait for a backend now.
    pub fn waiting(&self) -> u32 {
        self.waiting.count()
    }

    /// Requests that a backend gets at a time.
    pub fn requests_max(&self) -> u32 {
        self.settings.backend_requests_max
    }

    /// Who is ejected now.
    pub fn ejections(&self) -> Vec<Ejection> {
        self.current();
        self.locked().ejections(self.now())
    }

    /// What of a request is to be hashed for [`Wanted::key`].
    pub fn hashes(&self) -> Option<Hashed> {
        self.settings.algorithm.hashes()
    }

    /// Says whether a backend is well. Whoever waits looks again.
    pub fn mark(&self, backend: usize, well: bool) {
        self.change(|state, now| state.mark(now, backend, well, &self.figures));
    }

    /// Moves a backend: to an address where it is well, or away. Where it was, nothing is kept open: a worker that waits
    /// on a connection may not end before it is closed.
    pub fn place(&self, backend: usize, address: Option<Address>) {
        if let Some(figures) = self.figures.get(backend) {
            figures.parked.close();
        }
        self.change(|state, now| {
            state.mark(now, backend, address.is_some(), &self.figures);
            if let Some(place) = state.places.get_mut(backend) {
                place.address = address.map(Arc::new);
            }
        });
    }

    /// Whether a backend is to get no new requests, though it is well; those that it has end in peace.
    pub fn drain(&self, backend: usize, draining: bool) {
        self.change(|state, _| {
            if let Some(place) = state.places.get_mut(backend) {
                place.draining = draining;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut State, Time)) {
        let (mut state, now) = (self.locked(), self.now());
        change(&mut state, now);
        self.renew(state, now);
    }

    /// Shows what `state` has become, and has whoever waits look again.
    fn renew(&self, state: MutexGuard<'_, State>, now: Time) {
        self.view.store(Arc::new(state.view(self.settings.algorithm, now)));
        drop(state);
        self.freed();
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        self.time(now())
    }

    /// An instant by the pool's clock.
    fn time(&self, at: Instant) -> Time {
        Time::from_nanos(u64::try_from((at - self.origin).as_nanos()).unwrap_or(u64::MAX))
    }

    /// The view, once what is due by the clock is done. The clock is read only while something may be.
    fn current(&self) -> Guard<Arc<View>> {
        let view = self.view.load();
        if view.deadline == Time::NEVER || view.deadline > self.now() {
            return view;
        }
        // One thread does it; the others go by what was until it is done.
        let Ok(mut state) = self.state.try_lock() else { return view };
        let now = self.now();
        if self.view.load().deadline <= now {
            state.tick(now, &self.figures);
            self.renew(state, now);
        }
        self.view.load()
    }

    fn failed(&self, backend: usize, failure: Failure) {
        if self.settings.outliers.is_some() {
            self.news(backend, |state, now| state.failed(now, backend, failure, &self.figures));
        }
    }

    fn succeeded(&self, backend: usize) {
        if self.figures[backend].failed_last.load(Ordering::Relaxed) {
            self.news(backend, |state, now| state.succeeded(now, backend, &self.figures));
        }
    }

    /// A request ended that may have changed who may be chosen.
    fn news(&self, backend: usize, tell: impl FnOnce(&mut State, Time) -> bool) {
        let (mut state, now) = (self.locked(), self.now());
        if !tell(&mut state, now) {
            return;
        }
        let ejection = state.ejections(now).into_iter().find(|ejection| ejection.backend == backend);
        self.renew(state, now);
        if let Some(ejection) = ejection {
            tracing::warn!(pool = self.name(), backend = self.backend_name(backend), "ejected: {ejection}");
        }
    }

    /// Whether a request that was sent to a backend in vain may be sent again, by the retry budget; it is charged if so.
    pub fn may_resend(&self) -> bool {
        let first = given(&self.figures).saturating_sub(self.retried.load(Ordering::Relaxed));
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).withdraw(self.now(), first)
    }

    /// Returns when a backend did not end a request that it must have ended long ago; whoever runs it should end it.
    pub async fn stuck(&self, backend: usize) {
        match self.figures.get(backend) {
            Some(figures) => figures.stuck.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Whether anybody may be given requests, or will be when they are held no longer: that is no illness.
    pub fn is_well(&self) -> bool {
        !self.view.load().roster.is_empty() || (self.is_held() && self.locked().places.iter().any(|place| place.well))
    }

    /// Has whoever comes wait, as for a free backend, while what is under way ends; or no longer.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
        self.change(|state, _| state.places.iter_mut().for_each(|place| place.draining = held));
    }

    /// Whether whoever comes waits.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// When the view changes by the clock alone: an ejection ends, a slow start goes on.
    fn next_change(&self) -> Option<Instant> {
        let deadline = self.view.load().deadline;
        (deadline != Time::NEVER).then(|| self.origin + Duration::from_nanos(deadline.as_nanos()))
    }

    fn choose(self: &Arc<Pool>, wanted: &Wanted<'_>, may: impl Fn(usize) -> bool) -> Option<Lease> {
        let view = self.current();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        // The clock is not read for those that do not care.
        let now = if self.settings.algorithm.measures() { self.now() } else { Time::ZERO };
        let asked = Asked { turn, now, key: wanted.key };
        let looking = Looking { pool: self, may };
        let mut kept = wanted.kept.filter(|backend| looking.is_kept(*backend, &view));
        loop {
            let staying = kept.take();
            let backend = staying.or_else(|| view.roster.pick(&asked, &looking))?;
            let address = view.addresses[backend].clone()?;
            if self.take(backend) {
                if !wanted.tried.is_empty() {
                    self.retried.fetch_add(1, Ordering::Relaxed);
                }
                return Some(Lease { pool: self.clone(), backend, address, moved: wanted.kept != Some(backend) });
            }
        }
    }

    /// Counts a request in, unless another thread took the last place meanwhile.
    fn take(&self, backend: usize) -> bool {
        let figures = &self.figures[backend];
        // Never more than there are places, not for a moment: whoever gives his back then would find none free, and call nobody.
        let one_more = |taken| (taken < self.settings.backend_requests_max).then_some(taken + 1);
        if figures.outstanding.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_err() {
            return false;
        }
        figures.requests.fetch_add(1, Ordering::Relaxed);
        if self.settings.algorithm == Algorithm::ConsistentHash {
            self.total.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    fn give_back(&self, backend: usize) {
        self.figures[backend].outstanding.fetch_sub(1, Ordering::SeqCst);
        if self.settings.algorithm == Algorithm::ConsistentHash {
            self.total.fetch_sub(1, Ordering::Relaxed);
        }
        self.freed();
    }
}

/// The figures as the algorithms read them.
struct Looking<'p, May> {
    pool: &'p Pool,
    may: May,
}

impl<May: Fn(usize) -> bool> Looking<'_, May> {
    /// Whether a visitor can stay with the backend.
    fn is_kept(&self, backend: usize, view: &View) -> bool {
        view.addresses.get(backend).is_some_and(Option::is_some) && balance::Figures::is_free(self, backend)
    }
}

impl<May: Fn(usize) -> bool> balance::Figures for Looking<'_, May> {
    fn is_free(&self, backend: usize) -> bool {
        self.outstanding(backend) < self.pool.settings.backend_requests_max && (self.may)(backend)
    }

    fn outstanding(&self, backend: usize) -> u32 {
        self.pool.figures[backend].outstanding.load(Ordering::SeqCst)
    }

    fn latency(&self, backend: usize) -> Latency {
        self.pool.figures[backend].latency.read()
    }

    fn total(&self) -> u64 {
        self.pool.total.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
