//! Choosing a backend: pure functions over a given state, one algorithm a file.
//!
//! What changes rarely (who is well) is worked out once into a [`Roster`]; choosing from it costs the same whether it
//! holds two backends or a thousand, as long as the first choice is free.

pub mod fastest;
pub mod hash;
pub mod latency;
pub mod least_connections;
pub mod maglev;
pub mod predictive;
pub mod round_robin;
pub mod source;
pub mod two_choices;

use serde::{Deserialize, Serialize};

/// How to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Each in turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests outstanding for its weight.
    LeastConnections,
}

/// A backend as the algorithms see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its share; 0 counts as 1.
    pub weight: u16,
    /// Serves only when no other is well.
    pub spare: bool,
    /// Whether it may be given requests at all.
    pub well: bool,
}

/// Who may be chosen, and in which order of turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    algorithm: Algorithm,
    /// Indices into the members that the roster was made of.
    eligible: Vec<usize>,
    weights: Vec<u16>,
    /// Indices into `eligible`.
    turns: Vec<u16>,
}

impl Roster {
    /// The roster of `members`: those that are well and no spares; the spares that are well if there is no other.
    pub fn new(algorithm: Algorithm, members: &[Member]) -> Roster {
        let well = |spare: bool| -> Vec<usize> {
            let fits = |member: &Member| member.well && member.spare == spare;
            (0..members.len()).filter(|place| fits(&members[*place])).collect()
        };
        let regular = well(false);
        let eligible = if regular.is_empty() { well(true) } else { regular };
        let weights: Vec<u16> = eligible.iter().map(|place| members[*place].weight.max(1)).collect();
        let turns = round_robin::turns(&weights);
        Roster { algorithm, eligible, weights, turns }
    }

    /// Whether nobody may be chosen.
    pub fn is_empty(&self) -> bool {
        self.eligible.is_empty()
    }

    /// Who may be chosen, as indices into the members.
    pub fn eligible(&self) -> &[usize] {
        &self.eligible
    }

    /// Chooses a member for the request with number `turn`. `outstanding` tells how many requests a member has;
    /// `free` whether it can take one more now.
    pub fn pick(&self, turn: u64, outstanding: impl Fn(usize) -> u32, free: impl Fn(usize) -> bool) -> Option<usize> {
        let place = match self.algorithm {
            Algorithm::RoundRobin => round_robin::pick(&self.turns, turn, |place| free(self.eligible[place])),
            Algorithm::LeastConnections => least_connections::pick(
                &self.weights,
                turn,
                |place| outstanding(self.eligible[place]),
                |place| free(self.eligible[place]),
            ),
        };
        place.map(|place| self.eligible[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(weight: u16, spare: bool, well: bool) -> Member {
        Member { weight, spare, well }
    }

    /// Every pool of up to four members with any mix of spare and well: the rule an operator would give.
    #[test]
    fn spares_serve_only_when_no_other_is_well() {
        for size in 0..=4u32 {
            for mix in 0..4u32.pow(size) {
                let members: Vec<_> = (0..size)
                    .map(|place| mix / 4u32.pow(place) % 4)
                    .map(|kind| member(1, kind & 1 == 1, kind & 2 == 2))
                    .collect();
                let regular = members.iter().any(|member| member.well && !member.spare);
                for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections] {
                    let roster = Roster::new(algorithm, &members);
                    let anyone = members.iter().any(|member| member.well);
                    assert_eq!(roster.is_empty(), !anyone);
                    for turn in 0..8 {
                        let chosen = roster.pick(turn, |_| 0, |_| true);
                        assert_eq!(chosen.is_some(), anyone);
                        let fits = |place: usize| members[place].well && members[place].spare != regular;
                        assert!(chosen.is_none_or(fits), "{members:?} chose {chosen:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn who_is_not_free_is_passed_over() {
        let members = [member(1, false, true), member(1, false, true), member(1, true, true)];
        for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections] {
            let roster = Roster::new(algorithm, &members);
            assert!((0..4).all(|turn| roster.pick(turn, |_| 0, |place| place == 1) == Some(1)));
            assert_eq!(roster.pick(0, |_| 0, |_| false), None, "a spare does not relieve those that are only busy");
        }
    }
}
