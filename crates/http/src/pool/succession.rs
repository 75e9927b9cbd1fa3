//! A pool that comes after another, when what is declared has changed while the engine runs.
//!
//! A backend is the same if its name and its address are. Of those that are the same everything goes on: how they are, who
//! is ejected or in its slow start, their figures. Requests that have a backend of the old pool end there, also at one that
//! the new pool does not have; those that wait in the old pool look for one in the new.

use std::sync::Arc;

use mainstay_machines::outlier::Outliers;

use super::view::{Place, State};
use super::{Declared, Figures, Pool, Settings, Start};

impl Pool {
    /// The pool of `declared` that is to come after this one, which goes on until it is [superseded](Pool::supersede).
    pub fn following(&self, settings: Settings, declared: Vec<Declared>) -> Arc<Pool> {
        let (state, now) = (self.locked(), self.now());
        let known: Vec<Option<usize>> = declared.iter().map(|it| self.number(it, &state)).collect();
        let figures = known.iter().map(|known| match known {
            Some(known) => self.figures[*known].clone(),
            None => Arc::new(Figures::new(now)),
        });
        let place = |(it, known): (&Declared, &Option<usize>)| match known {
            Some(known) => state.places[*known].declared_anew(it),
            None => Place::declared(it),
        };
        let places = declared.iter().zip(&known).map(place).collect();
        let outliers = settings.outliers.map(|config| match state.outliers_of(&known, now) {
            Some(outliers) if self.settings.outliers == Some(config) => outliers,
            _ => Outliers::new(config, declared.len(), now),
        });
        let mut next = State::new(places, outliers, settings.slow_start, now);
        let figures: Vec<Arc<Figures>> = figures.collect();
        next.tick(now, &figures);
        let names = declared.into_iter().map(|it| it.name).collect();
        let start = Start { origin: self.origin, now, total: self.total.clone() };
        Arc::new(Pool::begun(settings, names, figures, next, start))
    }

    /// Has every request that waits here, or would have to, look for a backend of `next`.
    pub fn supersede(&self, next: Arc<Pool>) {
        // Whoever came first has told them already, and `next` comes after that one.
        let _ = self.successor.set(next);
        self.call_all();
    }

    /// The pool that has come after this one.
    pub fn successor(&self) -> Option<&Arc<Pool>> {
        self.successor.get()
    }

    /// The backend of that name, if there is one.
    pub(crate) fn numbered(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    fn number(&self, declared: &Declared, state: &State) -> Option<usize> {
        let number = self.numbered(&declared.name)?;
        (state.places[number].address.as_deref() == declared.address.as_ref()).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use mainstay_machines::outlier;

    use super::*;
    use crate::event_loop::{paused, yielded};
    use crate::pool::{Refused, Wanted};
    use crate::stream::Address;

    fn declared(name: &str, at: &str, weight: u16) -> Declared {
        Declared { name: name.into(), weight, spare: false, address: Some(Address::Unix(at.into())), well: false }
    }

    fn settings() -> Settings {
        Settings { outliers: Some(outlier::Config::default()), ..Settings::default() }
    }

    fn wanted(tried: &[usize]) -> Wanted<'_> {
        Wanted { tried, within: Duration::from_secs(10), ..Wanted::default() }
    }

    #[test]
    fn what_is_the_same_goes_on_and_what_is_new_waits_for_its_first_check() {
        paused(async {
            let pool =
                Pool::new(settings(), vec![declared("a", "/a", 1), declared("b", "/b", 1), declared("c", "/c", 1)]);
            (0..3).for_each(|backend| pool.mark(backend, true));
            let held = pool.lease(&wanted(&[1, 2])).await.unwrap();
            for _ in 0..5 {
                pool.lease(&wanted(&[0, 2])).await.unwrap().answered(502);
            }
            assert_eq!(pool.ejections()[0].backend, 1);
            let next = vec![
                declared("d", "/d", 1),
                declared("b", "/b", 7),
                declared("c", "/elsewhere", 1),
                declared("a", "/a", 1),
            ];
            let next = pool.following(settings(), next);
            let serving: Vec<bool> = next.standings().iter().map(|it| it.serves).collect();
            assert_eq!(serving, [false, false, false, true], "a was well; d and the moved c are new");
            assert_eq!((next.ejections()[0].backend, next.standings()[1].weight), (1, 7));
            assert_eq!(next.figures[3].outstanding.load(Ordering::SeqCst), 1, "requests of before are at it still");
            assert_eq!(next.figures[2].requests.load(Ordering::SeqCst), 0);
            drop(held);
            assert_eq!(next.figures[3].outstanding.load(Ordering::SeqCst), 0);
        });
    }

    /// What was asked before the change earns no retries behind it, where they would be many at the worst time.
    #[test]
    fn a_change_gives_no_further_retries() {
        paused(async {
            let pool = Pool::new(settings(), vec![declared("a", "/a", 1)]);
            pool.mark(0, true);
            for _ in 0..10_000 {
                pool.lease(&wanted(&[])).await.unwrap().answered(200);
            }
            let next = pool.following(settings(), vec![declared("a", "/a", 2)]);
            let granted = (0..10_000).take_while(|_| next.may_resend()).count();
            assert_eq!(granted, 100, "as after a long time without a request");
        });
    }

    #[test]
    fn whoever_waits_is_sent_on() {
        paused(async {
            let pool = Pool::new(settings(), vec![declared("gone", "/gone", 1)]);
            let next = pool.following(settings(), vec![declared("new", "/new", 1)]);
            let later = async {
                while pool.waiting() == 0 {
                    yielded().await;
                }
                pool.supersede(next.clone());
            };
            let anyone = wanted(&[]);
            let (waited, ()) = tokio::join!(pool.lease(&anyone), later);
            assert_eq!(waited.err(), Some(Refused::Moved));
            assert_eq!(pool.lease(&wanted(&[])).await.err(), Some(Refused::Moved), "and whoever comes late");
            next.mark(0, true);
            assert_eq!(pool.successor().unwrap().lease(&wanted(&[])).await.unwrap().name(), "new");
        });
    }
}
