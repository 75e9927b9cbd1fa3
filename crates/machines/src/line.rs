//! Who waits for a place, in the order of coming, and whose turn it is.
//!
//! As many are called as there are places free, from the front, and nobody else is disturbed: of four hundred who wait for one
//! place a single one looks. Whoever is called and finds his place taken all the same keeps his own in the line.

use std::collections::VecDeque;

/// One who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Those who wait. `W` wakes one of them.
#[derive(Debug)]
pub struct Line<W> {
    /// Tickets ascend.
    seats: VecDeque<Seat<W>>,
    called: usize,
    next: u64,
}

#[derive(Debug)]
struct Seat<W> {
    ticket: Ticket,
    called: bool,
    wakes: Option<W>,
}

impl<W> Default for Line<W> {
    fn default() -> Line<W> {
        Line { seats: VecDeque::new(), called: 0, next: 0 }
    }
}

impl<W> Line<W> {
    /// Somebody comes, behind all others. The line is to be [called](Line::call) then: there may be places for all.
    pub fn enter(&mut self) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.seats.push_back(Seat { ticket, called: false, wakes: None });
        ticket
    }

    /// Has as many called as there are places: to be asked whenever there may be more free than before, and whenever somebody
    /// leaves. The same question twice calls nobody else.
    pub fn call(&mut self, free: usize) -> Vec<W> {
        let more = free.saturating_sub(self.called);
        let next = self.seats.iter_mut().filter(|seat| !seat.called).take(more);
        let mut woken = Vec::new();
        for seat in next {
            seat.called = true;
            self.called += 1;
            woken.extend(seat.wakes.take());
        }
        woken
    }

    /// Whether it is somebody's turn; until then `wakes` is kept for him.
    pub fn is_called(&mut self, ticket: Ticket, wakes: impl FnOnce() -> W) -> bool {
        let Some(seat) = self.seat(ticket).and_then(|at| self.seats.get_mut(at)) else { return false };
        if !seat.called {
            seat.wakes = Some(wakes());
        }
        seat.called
    }

    /// Somebody looks whether there is a place, if it is his turn, which it says: what becomes free from now on calls him again.
    pub fn looks(&mut self, ticket: Ticket) -> bool {
        let seat = self.seat(ticket).and_then(|at| self.seats.get_mut(at));
        let called = seat.is_some_and(|seat| std::mem::take(&mut seat.called));
        self.called -= usize::from(called);
        called
    }

    /// Somebody has a place, or waits no longer. The line is to be called then: his turn may be another's.
    pub fn leave(&mut self, ticket: Ticket) {
        if let Some(seat) = self.seat(ticket).and_then(|at| self.seats.remove(at)) {
            self.called -= usize::from(seat.called);
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    fn seat(&self, ticket: Ticket) -> Option<usize> {
        self.seats.binary_search_by_key(&ticket, |seat| seat.ticket).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may happen, of one or two places.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// Somebody comes.
        Comes,
        /// Whoever has a place gives it back.
        GivesBack,
        /// Of those who were called, the last looks and takes a place if there is one.
        Looks,
        /// Somebody who need not wait takes a place.
        Barges,
        /// The first, or the last, waits no longer.
        FirstGoes,
        LastGoes,
        /// There is a place more, or one fewer.
        Grows,
        Shrinks,
    }

    const EVENTS: [Event; 8] = [
        Event::Comes,
        Event::GivesBack,
        Event::Looks,
        Event::Barges,
        Event::FirstGoes,
        Event::LastGoes,
        Event::Grows,
        Event::Shrinks,
    ];

    /// A pool with its line, and beside it what is to be true of it.
    #[derive(Default)]
    struct World {
        line: Line<Ticket>,
        places: usize,
        taken: usize,
        /// Those who wait, as they came, each with whether he was woken.
        waiting: Vec<(Ticket, bool)>,
    }

    impl World {
        fn free(&self) -> usize {
            self.places.saturating_sub(self.taken)
        }

        fn call(&mut self) {
            let free = self.free();
            for woken in self.line.call(free) {
                let at =
                    self.waiting.iter().position(|(ticket, _)| *ticket == woken).expect("who has gone is not woken");
                assert!(!std::mem::replace(&mut self.waiting[at].1, true), "nobody is woken twice for one place");
                assert!(self.waiting[..at].iter().all(|(_, called)| *called), "nobody is passed over");
            }
        }

        fn goes(&mut self, at: usize) {
            let (ticket, _) = self.waiting.remove(at);
            self.line.leave(ticket);
            self.call();
        }

        fn happens(&mut self, event: Event) {
            match event {
                Event::Comes => {
                    let ticket = self.line.enter();
                    self.waiting.push((ticket, false));
                    self.call();
                    let called = self.line.is_called(ticket, || ticket);
                    self.waiting.last_mut().unwrap().1 |= called;
                }
                Event::GivesBack => {
                    self.taken = self.taken.saturating_sub(1);
                    self.call();
                }
                Event::Looks => self.looks(),
                Event::Barges => self.taken += usize::from(self.free() > 0),
                Event::FirstGoes if !self.waiting.is_empty() => self.goes(0),
                Event::LastGoes if !self.waiting.is_empty() => self.goes(self.waiting.len() - 1),
                Event::FirstGoes | Event::LastGoes => {}
                Event::Grows => {
                    self.places = (self.places + 1).min(2);
                    self.call();
                }
                Event::Shrinks => self.places = self.places.saturating_sub(1),
            }
        }

        fn looks(&mut self) {
            let Some(at) = self.waiting.iter().rposition(|(_, called)| *called) else { return };
            let ticket = self.waiting[at].0;
            assert!(self.line.looks(ticket));
            if self.free() > 0 {
                self.taken += 1;
                self.goes(at);
            } else {
                self.waiting[at].1 = self.line.is_called(ticket, || ticket);
            }
        }

        fn check(&mut self, history: &[Event]) {
            let called = self.waiting.iter().filter(|(_, called)| *called).count();
            assert!(called >= self.free().min(self.waiting.len()), "a place is free and nobody knows: {history:?}");
            assert_eq!((self.line.len(), self.line.called), (self.waiting.len(), called), "{history:?}");
        }
    }

    /// Every history of the given length, from its beginning.
    fn all(history: &mut Vec<Event>, left: usize, judge: &mut impl FnMut(&[Event])) {
        judge(history);
        for event in EVENTS.into_iter().filter(|_| left > 0) {
            history.push(event);
            all(history, left - 1, judge);
            history.pop();
        }
    }

    #[test]
    fn in_every_short_history_somebody_knows_of_a_free_place() {
        let mut histories = 0;
        all(&mut Vec::new(), 7, &mut |history| {
            histories += 1;
            let mut world = World { places: 1, ..World::default() };
            for event in history {
                world.happens(*event);
                world.check(history);
            }
        });
        assert_eq!(histories, (8_usize.pow(8) - 1) / 7);
    }

    #[test]
    fn who_came_first_is_called_first_and_alone() {
        let mut line = Line::default();
        let tickets: Vec<Ticket> = (0..4).map(|_| line.enter()).collect();
        for ticket in &tickets {
            assert!(!line.is_called(*ticket, || *ticket));
        }
        assert_eq!(line.call(2), tickets[..2]);
        assert_eq!(line.call(2), [], "they know it already");
        assert!(!line.looks(tickets[3]) && line.looks(tickets[0]));
        line.leave(tickets[0]);
        assert_eq!(line.call(1), [], "the other place is the second one's");
        assert!(line.looks(tickets[1]));
        assert!(!line.is_called(tickets[1], || tickets[1]), "somebody else was quicker");
        assert_eq!(line.call(1), [tickets[1]], "and he keeps his place in the line");
        assert_eq!(line.call(9), tickets[2..]);
        tickets.iter().for_each(|ticket| line.leave(*ticket));
        assert!(line.is_empty() && line.called == 0);
    }
}
