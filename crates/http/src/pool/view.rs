//! What a choice is made from, and the state that it is made of when that changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::balance::{Algorithm, Member, Roster, slow_start, source};
use mainstay_machines::health::Failure;
use mainstay_machines::outlier::{Input, Outliers, Output};

use super::Declared;
use super::figures::Figures;
use crate::stream::Address;

/// What a choice is made from, swapped whole.
pub(super) struct View {
    pub(super) roster: Roster,
    /// Where they listen: of those that are well and not ejected, draining or not.
    pub(super) addresses: Vec<Option<Arc<Address>>>,
    /// When it is to be made anew, though nothing happened.
    pub(super) deadline: Time,
}

/// What can change of a backend.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) identity: u64,
    pub(super) weight: u16,
    pub(super) spare: bool,
    pub(super) address: Option<Arc<Address>>,
    pub(super) well: bool,
    pub(super) draining: bool,
    /// Whether it was well before: who comes for the first time starts at once, as the pool itself does.
    met: bool,
    /// Since when it is in its slow start.
    returned: Option<Time>,
    /// How it failed last.
    last: Failure,
}

impl Place {
    pub(super) fn standing(&self, serves: bool) -> Standing {
        let Place { weight, spare, draining, .. } = *self;
        Standing { weight, spare, serves: serves && !draining, draining, address: self.address.clone() }
    }

    pub(super) fn declared(declared: &Declared) -> Place {
        let &Declared { weight, spare, well, .. } = declared;
        let (identity, address) = (source::identity(&declared.name), declared.address.clone().map(Arc::new));
        Place {
            identity,
            weight,
            spare,
            address,
            well,
            draining: false,
            met: well,
            returned: None,
            last: Failure::Closed,
        }
    }

    /// What is known of it, as it is declared now.
    pub(super) fn declared_anew(&self, declared: &Declared) -> Place {
        Place { weight: declared.weight, spare: declared.spare, ..self.clone() }
    }
}

/// How a backend stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its share.
    pub weight: u16,
    /// Serves only when no other does.
    pub spare: bool,
    /// It may be given requests.
    pub serves: bool,
    /// It is to get no new ones.
    pub draining: bool,
    /// Where it listens, if it does.
    pub address: Option<Arc<Address>>,
}

/// The backends of a pool, and who of them is ejected.
pub(super) struct State {
    pub(super) places: Vec<Place>,
    outliers: Option<Outliers>,
    slow_start: Duration,
}

/// A backend that gets no requests because those it had failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Its index in the pool.
    pub backend: usize,
    /// For how much longer, unless the others turn ill.
    pub left: Duration,
    /// How its last request failed.
    pub last: Failure,
}

impl std::fmt::Display for Ejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.left.as_secs_f64().ceil();
        write!(
            f,
            "its requests failed one after the other, the last because it {}; it gets none for {seconds} s",
            self.last
        )
    }
}

impl State {
    pub(super) fn new(places: Vec<Place>, mut outliers: Option<Outliers>, slow_start: Duration, now: Time) -> State {
        if let Some(outliers) = &mut outliers {
            let ill = places.iter().enumerate().filter(|(_, place)| !place.well);
            ill.for_each(|(backend, _)| outliers.handle(now, backend, Input::Well(false)));
        }
        State { places, outliers, slow_start }
    }

    /// Who of a pool that comes after this one is ejected there: its backends by their numbers here.
    pub(super) fn outliers_of(&self, known: &[Option<usize>], now: Time) -> Option<Outliers> {
        Some(self.outliers.as_ref()?.regrouped(known, now))
    }

    /// An active check, or whoever runs the backend, says how it is.
    pub(super) fn mark(&mut self, now: Time, backend: usize, well: bool, figures: &[Arc<Figures>]) {
        let Some(place) = self.places.get_mut(backend) else { return };
        if well && !place.well && place.met {
            place.returned = Some(now);
        }
        place.met |= well;
        place.well = well;
        if let Some(outliers) = &mut self.outliers {
            outliers.handle(now, backend, Input::Well(well));
        }
        self.settle(now, figures);
    }

    /// A request at it failed. Whether who may be chosen is another now.
    pub(super) fn failed(&mut self, now: Time, backend: usize, failure: Failure, figures: &[Arc<Figures>]) -> bool {
        if let Some(place) = self.places.get_mut(backend) {
            place.last = failure;
        }
        self.handle(now, backend, Input::Failure, figures)
    }

    /// It answered a request. Whether who may be chosen is another now.
    pub(super) fn succeeded(&mut self, now: Time, backend: usize, figures: &[Arc<Figures>]) -> bool {
        self.handle(now, backend, Input::Success, figures)
    }

    fn handle(&mut self, now: Time, backend: usize, input: Input, figures: &[Arc<Figures>]) -> bool {
        let Some(outliers) = &mut self.outliers else { return false };
        outliers.handle(now, backend, input);
        let changed = self.settle(now, figures);
        self.note(backend, figures);
        changed
    }

    /// Whether the next success of a backend is news.
    fn note(&self, backend: usize, figures: &[Arc<Figures>]) {
        if let (Some(outliers), Some(figures)) = (&self.outliers, figures.get(backend)) {
            figures.failed_last.store(outliers.has_failed(backend), Ordering::Relaxed);
        }
    }

    /// Carries out what became of what the outliers were told. Whether there was anything.
    fn settle(&mut self, now: Time, figures: &[Arc<Figures>]) -> bool {
        let mut changed = false;
        while let Some(output) = self.outliers.as_mut().and_then(Outliers::poll) {
            changed = true;
            match output {
                Output::Ejected { member, .. } => {
                    figures[member].ejections.fetch_add(1, Ordering::Relaxed);
                }
                Output::Returned { member } => {
                    self.places[member].returned = Some(now);
                    self.note(member, figures);
                }
            }
        }
        changed
    }

    /// The view of this moment.
    pub(super) fn view(&self, algorithm: Algorithm, now: Time) -> View {
        let ejected = |backend| self.outliers.as_ref().is_some_and(|it| it.is_ejected(backend));
        let up: Vec<bool> = (0..self.places.len()).map(|at| self.places[at].well && !ejected(at)).collect();
        let mut deadline = self.outliers.as_ref().map_or(Time::NEVER, Outliers::deadline);
        let mut members = Vec::with_capacity(up.len());
        for (place, up) in self.places.iter().zip(&up) {
            let began = place.returned.filter(|_| *up);
            let parts = began.map_or(slow_start::PARTS, |began| slow_start::parts(began, self.slow_start, now));
            deadline = deadline.min(began.map_or(Time::NEVER, |began| slow_start::grows(began, self.slow_start, now)));
            let well = *up && place.address.is_some() && !place.draining;
            members.push(Member { identity: place.identity, weight: place.weight, parts, spare: place.spare, well });
        }
        let reachable = |(place, up): (&Place, &bool)| place.address.clone().filter(|_| *up);
        let addresses = self.places.iter().zip(&up).map(reachable).collect();
        View { roster: Roster::new(algorithm, &members), addresses, deadline }
    }

    /// Time passed.
    pub(super) fn tick(&mut self, now: Time, figures: &[Arc<Figures>]) {
        if let Some(outliers) = &mut self.outliers {
            outliers.tick(now);
        }
        self.settle(now, figures);
    }

    /// Who is ejected.
    pub(super) fn ejections(&self, now: Time) -> Vec<Ejection> {
        let Some(outliers) = &self.outliers else { return Vec::new() };
        let of = |backend: usize| {
            let left = outliers.ejected_until(backend)?.since(now);
            Some(Ejection { backend, left, last: self.places[backend].last })
        };
        (0..self.places.len()).filter_map(of).collect()
    }
}
