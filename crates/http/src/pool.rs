//! Backends among which requests are spread: who is well, how busy they are, and who waits for them.
//!
//! Counts and the roster belong to the whole process; idle connections to each thread (`idle`).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use mainstay_machines::balance::{Algorithm, Member, Roster};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::park::Parked;
use crate::stream::{Address, Stream};

/// How long a backend that just failed is not asked again by the same request, unless there is news of it: whoever
/// watches a worker hears of its death within milliseconds.
const SETTLE: Duration = Duration::from_millis(50);

/// How a pool behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is called in errors and reports: `web`, `app-site`.
    pub name: String,
    /// How to choose.
    pub algorithm: Algorithm,
    /// Requests at one backend at a time; a PHP worker takes one.
    pub backend_requests_max: u32,
    /// Requests that may wait for a backend: beyond 1,000 none of them would be served in time.
    pub waiting_max: u32,
    /// When a connection may carry another request.
    pub reuse: Reuse,
}

/// When a connection to a backend may carry another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Always: the backend keeps an idle connection longer than we do.
    Always,
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

/// What can change of a backend.
struct Place {
    member: Member,
    address: Option<Arc<Address>>,
}

/// What a choice is made from, swapped whole.
struct View {
    roster: Roster,
    addresses: Vec<Option<Arc<Address>>>,
}

/// One backend's figures.
#[derive(Default)]
pub struct Figures {
    /// Requests at it now.
    pub outstanding: AtomicU32,
    /// Requests given to it.
    pub requests: AtomicU64,
    /// Of these, those that it did not answer.
    pub failures: AtomicU64,
    parked: Parked,
    stuck: Notify,
}

/// A pool; shared by all threads.
///
/// `outstanding` and `waiting` are sequentially consistent: whoever gives a place back and whoever begins to wait must
/// not both miss the other.
pub struct Pool {
    settings: Settings,
    names: Vec<String>,
    figures: Vec<Figures>,
    places: Mutex<Vec<Place>>,
    view: ArcSwap<View>,
    turn: AtomicU64,
    waiting: AtomicU32,
    freed: Notify,
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
}

/// A request's place at a backend; given back when dropped.
pub struct Lease {
    pool: Arc<Pool>,
    /// Its index in the pool.
    pub backend: usize,
    /// Where it listens.
    pub address: Arc<Address>,
}

impl Pool {
    /// A pool of the declared backends.
    pub fn new(settings: Settings, declared: Vec<Declared>) -> Arc<Pool> {
        let place = |it: &Declared| Place {
            member: Member { weight: it.weight, spare: it.spare, well: it.well },
            address: it.address.clone().map(Arc::new),
        };
        let places: Vec<Place> = declared.iter().map(place).collect();
        let view = ArcSwap::from_pointee(view(&settings, &places));
        Arc::new(Pool {
            settings,
            figures: declared.iter().map(|_| Figures::default()).collect(),
            names: declared.into_iter().map(|it| it.name).collect(),
            places: Mutex::new(places),
            view,
            turn: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            freed: Notify::new(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Every backend's name and figures.
    pub fn backends(&self) -> impl Iterator<Item = (&str, &Figures)> {
        self.names.iter().map(String::as_str).zip(&self.figures)
    }

    /// Says whether a backend is well. Whoever waits looks again.
    pub fn mark(&self, backend: usize, well: bool) {
        self.change(backend, |place| place.member.well = well);
    }

    /// Moves a backend: to an address where it is well, or away. Where it was, nothing is kept open: a worker that waits
    /// on a connection may not end before it is closed.
    pub fn place(&self, backend: usize, address: Option<Address>) {
        if let Some(figures) = self.figures.get(backend) {
            figures.parked.close();
        }
        self.change(backend, |place| {
            place.member.well = address.is_some();
            place.address = address.map(Arc::new);
        });
    }

    fn change(&self, backend: usize, change: impl FnOnce(&mut Place)) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get_mut(backend) {
            change(place);
        }
        self.view.store(Arc::new(view(&self.settings, &places)));
        drop(places);
        self.freed.notify_waiters();
    }

    /// Returns when a backend did not end a request that it must have ended long ago; whoever runs it should end it.
    pub async fn stuck(&self, backend: usize) {
        match self.figures.get(backend) {
            Some(figures) => figures.stuck.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Whether anybody may be given requests.
    pub fn is_well(&self) -> bool {
        !self.view.load().roster.is_empty()
    }

    /// Chooses a backend, or waits for one until `within` has passed. Backends in `tried` are taken only if there is no
    /// other, and after a moment in which their death may become known.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn lease(self: &Arc<Pool>, tried: &[usize], within: Duration) -> Result<Lease, Refused> {
        if let Some(lease) = self.choose(|backend| !tried.contains(&backend)) {
            return Ok(lease);
        }
        let _waiting = Waiting::begin(self)?;
        let now = Instant::now();
        let deadline = now + within;
        let mut settle = (!tried.is_empty()).then(|| deadline.min(now + SETTLE));
        loop {
            // Registered before looking again, so that no notice is missed in between.
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(lease) = self.choose(|backend| settle.is_none() || !tried.contains(&backend)) {
                return Ok(lease);
            }
            if timeout_at(settle.unwrap_or(deadline), freed).await.is_err() && settle.take().is_none() {
                return Err(Refused::Late);
            }
        }
    }

    fn choose(self: &Arc<Pool>, may: impl Fn(usize) -> bool) -> Option<Lease> {
        let view = self.view.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let outstanding = |backend: usize| self.figures[backend].outstanding.load(Ordering::SeqCst);
        let free = |backend: usize| outstanding(backend) < self.settings.backend_requests_max && may(backend);
        loop {
            let backend = view.roster.pick(turn, outstanding, free)?;
            let address = view.addresses[backend].clone()?;
            if self.take(backend) {
                return Some(Lease { pool: self.clone(), backend, address });
            }
        }
    }

    /// Counts a request in, unless another thread took the last place meanwhile.
    fn take(&self, backend: usize) -> bool {
        let figures = &self.figures[backend];
        if figures.outstanding.fetch_add(1, Ordering::SeqCst) >= self.settings.backend_requests_max {
            figures.outstanding.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        figures.requests.fetch_add(1, Ordering::Relaxed);
        true
    }
}

fn view(settings: &Settings, places: &[Place]) -> View {
    let members: Vec<Member> = places
        .iter()
        .map(|place| Member { well: place.member.well && place.address.is_some(), ..place.member })
        .collect();
    View {
        roster: Roster::new(settings.algorithm, &members),
        addresses: places.iter().map(|place| place.address.clone()).collect(),
    }
}

impl Lease {
    /// The backend's name.
    pub fn name(&self) -> &str {
        &self.pool.names[self.backend]
    }

    /// The backend did not answer.
    pub fn failed(&self) {
        self.figures().failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The backend did not end the request: see [`Pool::stuck`].
    pub fn stuck(&self) {
        self.figures().stuck.notify_one();
    }

    pub(crate) fn reuse(&self) -> Reuse {
        self.pool.settings.reuse
    }

    /// The connection that the backend has waited on since its last request.
    pub(crate) fn parked(&self) -> Option<Stream> {
        self.figures().parked.take()
    }

    /// Keeps the connection for the backend's next request, whichever thread has it.
    pub(crate) fn park(&self, stream: Stream) {
        if self.reuse() != Reuse::Never {
            self.figures().parked.put(stream);
        }
    }

    fn figures(&self) -> &Figures {
        &self.pool.figures[self.backend]
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.figures[self.backend].outstanding.fetch_sub(1, Ordering::SeqCst);
        if self.pool.waiting.load(Ordering::SeqCst) > 0 {
            self.pool.freed.notify_waiters();
        }
    }
}

/// A request that waits; counted for the bound.
struct Waiting<'p>(&'p Pool);

impl Waiting<'_> {
    fn begin(pool: &Pool) -> Result<Waiting<'_>, Refused> {
        let waiting = Waiting(pool);
        if pool.waiting.fetch_add(1, Ordering::SeqCst) >= pool.settings.waiting_max {
            return Err(Refused::Full);
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(backends: usize, requests_max: u32, waiting_max: u32) -> Arc<Pool> {
        let declared = |number| Declared {
            name: format!("b{number}"),
            weight: 1,
            spare: false,
            address: Some(Address::Unix(format!("/b{number}").into())),
            well: true,
        };
        let settings = Settings {
            name: "test".into(),
            algorithm: Algorithm::RoundRobin,
            backend_requests_max: requests_max,
            waiting_max,
            reuse: Reuse::Always,
        };
        Pool::new(settings, (0..backends).map(declared).collect())
    }

    const SOON: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn turns_alternate_and_the_tried_one_is_avoided() {
        let pool = pool(2, 10, 10);
        let first = pool.lease(&[], SOON).await.unwrap().backend;
        let second = pool.lease(&[], SOON).await.unwrap().backend;
        assert_ne!(first, second);
        for _ in 0..4 {
            assert_eq!(pool.lease(&[0], SOON).await.unwrap().backend, 1);
        }
        pool.mark(1, false);
        assert_eq!(pool.lease(&[0], SOON).await.unwrap().backend, 0, "better the tried one than none");
    }

    #[tokio::test(start_paused = true)]
    async fn the_tried_one_is_given_a_moment_to_be_found_dead() {
        let pool = pool(1, 10, 10);
        let began = Instant::now();
        assert_eq!(pool.lease(&[0], LONG).await.unwrap().backend, 0);
        assert_eq!(began.elapsed(), SETTLE);
        let (held, ()) = tokio::join!(pool.lease(&[0], LONG), async {
            tokio::task::yield_now().await;
            pool.place(0, None);
        });
        assert_eq!((held.err(), began.elapsed()), (Some(Refused::Late), SETTLE + LONG));
    }

    #[tokio::test]
    async fn a_full_backend_is_waited_for_and_the_queue_is_bounded() {
        let pool = pool(1, 1, 1);
        let held = pool.lease(&[], SOON).await.unwrap();
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.lease(&[], LONG).await.map(|_| ()) }
        });
        while pool.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.lease(&[], LONG).await.err(), Some(Refused::Full));
        drop(held);
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert_eq!(pool.figures[0].outstanding.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_request_is_held_until_a_backend_is_well() {
        let pool = pool(1, 10, 10);
        pool.mark(0, false);
        assert_eq!(pool.lease(&[], SOON).await.err(), Some(Refused::Late));
        let held = tokio::spawn({
            let pool = pool.clone();
            async move { pool.lease(&[], LONG).await.is_ok() }
        });
        while pool.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        pool.mark(0, true);
        assert!(held.await.unwrap());
    }
}
