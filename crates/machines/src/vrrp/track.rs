//! How fit a balancer is, by what its own proxy answers when it is asked as a visitor would ask.

use super::Fitness;

/// Silences in a row that count, and answers without a server: a proxy that has just begun does not know its servers yet.
const SILENT_AFTER: u32 = 2;
const EMPTY_AFTER: u32 = 6;
/// Good answers in a row after anything else: one that comes and goes is no place to go to.
const FIT_AFTER: u32 = 3;

/// What a question brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It serves.
    Well,
    /// It answers, and has no server behind it that is well.
    Empty,
    /// There was no answer in time.
    Silent,
}

/// What was seen, weighed.
#[derive(Clone, Debug)]
pub struct Track {
    fitness: Option<Fitness>,
    maintained: bool,
    last: Seen,
    in_a_row: u32,
}

impl Track {
    /// Nothing is known yet. `maintained`: an operator wants to work on this server, which is fit for no more than that.
    pub fn new(maintained: bool) -> Track {
        Track { fitness: None, maintained, last: Seen::Silent, in_a_row: 0 }
    }

    /// Weighs what was seen; gives the fitness if it is another one now.
    pub fn see(&mut self, seen: Seen) -> Option<Fitness> {
        self.in_a_row = if self.last == seen { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = seen;
        let well = if self.maintained { Fitness::Maintained } else { Fitness::Fit };
        let (fitness, after) = match seen {
            // At its beginning one is enough.
            Seen::Well if self.fitness.is_none() => (well, 1),
            Seen::Well => (well, FIT_AFTER),
            Seen::Empty => (Fitness::Empty, EMPTY_AFTER),
            Seen::Silent => (Fitness::Silent, SILENT_AFTER),
        };
        let changed = self.in_a_row >= after && self.fitness != Some(fitness);
        changed.then(|| *self.fitness.insert(fitness))
    }
}

#[cfg(test)]
mod tests {
    use super::Seen::{Empty, Silent, Well};
    use super::*;

    fn told(maintained: bool, seen: &[Seen]) -> Vec<Fitness> {
        let mut track = Track::new(maintained);
        seen.iter().filter_map(|seen| track.see(*seen)).collect()
    }

    #[test]
    fn a_single_slip_moves_nothing() {
        let told = |seen| told(false, seen);
        assert_eq!(told(&[Well, Silent, Well, Empty, Well]), [Fitness::Fit]);
        assert_eq!(told(&[Well, Silent, Silent, Well, Well]), [Fitness::Fit, Fitness::Silent]);
        assert_eq!(told(&[Silent, Silent, Well, Well, Well]), [Fitness::Silent, Fitness::Fit]);
        assert_eq!(told(&[Well, Empty, Empty, Empty, Empty, Empty]), [Fitness::Fit]);
        assert_eq!(told(&[Well, Empty, Empty, Empty, Empty, Empty, Empty]), [Fitness::Fit, Fitness::Empty]);
    }

    #[test]
    fn who_is_maintained_is_never_fit() {
        assert_eq!(told(true, &[Well, Well, Silent, Silent]), [Fitness::Maintained, Fitness::Silent]);
        assert_eq!(told(true, &[Silent, Silent, Well, Well, Well]), [Fitness::Silent, Fitness::Maintained]);
    }

    /// What an operator says, over every short history: the fitness is what the last answers said that were the same often
    /// enough in a row.
    #[test]
    fn every_short_history_is_as_the_operator_says() {
        for (number, maintained) in (0..3_u32.pow(9)).flat_map(|number| [(number, false), (number, true)]) {
            let history: Vec<Seen> =
                (0..9).map(|at| [Well, Empty, Silent][(number / 3_u32.pow(at) % 3) as usize]).collect();
            let mut track = Track::new(maintained);
            let mut known = None;
            for seen in &history {
                // It says each change, and nothing else.
                let told = track.see(*seen);
                assert!(told.is_none_or(|told| known.replace(told) != Some(told)), "{history:?}");
            }
            let fit = if maintained { Fitness::Maintained } else { Fitness::Fit };
            let expected = by_the_book(&history).map(|is| if is == Fitness::Fit { fit } else { is });
            assert_eq!((track.fitness, known), (expected, expected), "{history:?}");
        }
    }

    fn by_the_book(history: &[Seen]) -> Option<Fitness> {
        let often = |end: usize| history[..end].iter().rev().take_while(|seen| **seen == history[end - 1]).count();
        (1..=history.len()).fold(None, |known, end| match (history[end - 1], often(end)) {
            (Well, 3..) => Some(Fitness::Fit),
            (Well, _) if known.is_none() => Some(Fitness::Fit),
            (Empty, 6..) => Some(Fitness::Empty),
            (Silent, 2..) => Some(Fitness::Silent),
            _ => known,
        })
    }
}
