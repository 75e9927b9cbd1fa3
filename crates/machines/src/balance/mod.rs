//! Choosing a backend: pure functions over a given state, one algorithm a file.
//!
//! What changes rarely (who is well) is worked out once into a [`Roster`]; what changes with each request is read through
//! [`Figures`] as it is needed. Choosing costs the same whether there are twenty members or a thousand: in a pool larger
//! than [`FEW`] two are compared, or a table is looked into.

pub mod fastest;
pub mod hash;
pub mod latency;
pub mod least_connections;
pub mod maglev;
pub mod observed;
pub mod predictive;
pub mod round_robin;
pub mod slow_start;
pub mod source;
pub mod two_choices;

use serde::{Deserialize, Serialize};

use crate::Time;
use latency::{Latency, Load, lowest};
use maglev::Maglev;

/// Members of a pool that are all compared; of more than these, [`two_choices`] draws. Sixteen scores cost about half a
/// microsecond, and a sample of two would be noticeably worse than the best of so few.
pub const FEW: usize = 16;

/// How to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Each in turn, by weight: [`round_robin`].
    #[default]
    RoundRobin,
    /// The one with the fewest requests outstanding for its weight: [`least_connections`].
    LeastConnections,
    /// The one with the lowest average latency: [`fastest`].
    Fastest,
    /// Average latency times outstanding requests: [`observed`].
    Observed,
    /// Peak latency and its trend times outstanding requests: [`predictive`].
    Predictive,
    /// The same client to the same member: [`source`], and [`maglev`] in a pool larger than [`FEW`].
    SourceHash,
    /// The same page to the same member unless it is too busy: [`maglev`].
    ConsistentHash,
}

/// What of a request is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashed {
    /// Who asks.
    Client,
    /// What is asked for.
    Page,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 7] = [
        Algorithm::RoundRobin,
        Algorithm::LeastConnections,
        Algorithm::Fastest,
        Algorithm::Observed,
        Algorithm::Predictive,
        Algorithm::SourceHash,
        Algorithm::ConsistentHash,
    ];

    /// Whether [`Asked::now`] and [`Figures::latency`] matter.
    pub fn measures(self) -> bool {
        matches!(self, Algorithm::Fastest | Algorithm::Observed | Algorithm::Predictive)
    }

    /// Of what [`Asked::key`] must be the hash, if it matters.
    pub fn hashes(self) -> Option<Hashed> {
        match self {
            Algorithm::SourceHash => Some(Hashed::Client),
            Algorithm::ConsistentHash => Some(Hashed::Page),
            _ => None,
        }
    }
}

/// A backend as the algorithms see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// [`source::identity`] of its name.
    pub identity: u64,
    /// Its share; 0 counts as 1.
    pub weight: u16,
    /// How many [`slow_start::PARTS`] of its share it gets for now. Hashing does not heed it: what moves to a member by
    /// and by would move ten times.
    pub parts: u8,
    /// Serves only when no other is well.
    pub spare: bool,
    /// Whether it may be given requests at all.
    pub well: bool,
}

/// The request that a member is chosen for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its number.
    pub turn: u64,
    /// When.
    pub now: Time,
    /// A hash that spreads well.
    pub key: u64,
}

/// How the members are at this moment, each by its index.
pub trait Figures {
    /// Whether it can take one more request.
    fn is_free(&self, member: usize) -> bool;
    /// Requests that it has.
    fn outstanding(&self, member: usize) -> u32;
    /// How long it takes.
    fn latency(&self, member: usize) -> Latency;
    /// Requests that all have together.
    fn total(&self) -> u64;
}

/// What a choice is made with, worked out when the membership changes. Places are indices into [`Roster::eligible`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum Table {
    /// Places in the order of turns, which are also the lots that two are drawn from.
    Turns(Vec<u16>),
    /// All are compared.
    All,
    /// All are compared, by identity.
    Identities(Vec<(u64, u16)>),
    /// Places by slot.
    Slots(Maglev),
}

/// Who may be chosen, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    algorithm: Algorithm,
    /// Indices into the members that the roster was made of.
    eligible: Vec<usize>,
    shares: Vec<u16>,
    table: Table,
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
        let chosen: Vec<Member> = eligible.iter().map(|place| members[*place]).collect();
        let shares = shares(&chosen);
        let identities = || chosen.iter().map(|member| (member.identity, member.weight)).collect::<Vec<_>>();
        // By how many there are, not by how many are well: else every client would move when one of 17 turns ill.
        let few = members.len() <= FEW;
        let table = match algorithm {
            Algorithm::SourceHash if few => Table::Identities(identities()),
            Algorithm::SourceHash | Algorithm::ConsistentHash => Table::Slots(Maglev::new(&identities())),
            Algorithm::RoundRobin => Table::Turns(round_robin::turns(&shares)),
            _ if few => Table::All,
            _ => Table::Turns(round_robin::turns(&shares)),
        };
        Roster { algorithm, eligible, shares, table }
    }

    /// Whether nobody may be chosen.
    pub fn is_empty(&self) -> bool {
        self.eligible.is_empty()
    }

    /// Who may be chosen, as indices into the members.
    pub fn eligible(&self) -> &[usize] {
        &self.eligible
    }

    /// Chooses a member that is free.
    pub fn pick(&self, asked: &Asked, figures: &impl Figures) -> Option<usize> {
        let free = |place: usize| figures.is_free(self.eligible[place]);
        let outstanding = |place: usize| figures.outstanding(self.eligible[place]);
        let place = match (&self.table, self.algorithm) {
            (Table::Turns(turns), Algorithm::RoundRobin) => round_robin::pick(turns, asked.turn, free),
            (Table::Turns(lots), _) => {
                let place = |lot: usize| usize::from(lots[lot]);
                let score = |lot| self.score(place(lot), true, asked, figures);
                two_choices::pick(lots.len(), 0, asked.turn, score, |lot| free(place(lot))).map(place)
            }
            (Table::All, _) => {
                lowest(self.eligible.len(), asked.turn, |place| self.score(place, false, asked, figures), free)
            }
            (Table::Identities(members), _) => source::pick(members, asked.key, free),
            (Table::Slots(slots), Algorithm::SourceHash) => slots.nearest(asked.key, free),
            (Table::Slots(slots), _) => slots.pick(asked.key, figures.total(), outstanding, free),
        };
        place.map(|place| self.eligible[place])
    }

    /// The lower the better. `drawn`: by weight.
    fn score(&self, place: usize, drawn: bool, asked: &Asked, figures: &impl Figures) -> f64 {
        let member = self.eligible[place];
        let load = Load { outstanding: figures.outstanding(member), weight: self.shares[place], drawn };
        let by_latency = match self.algorithm {
            Algorithm::Fastest => fastest::score,
            Algorithm::Observed => observed::score,
            Algorithm::Predictive => predictive::score,
            _ => return least_connections::score(&load),
        };
        by_latency(&figures.latency(member), asked.now, &load)
    }
}

/// The weights; while someone is in its slow start, in parts of them.
fn shares(members: &[Member]) -> Vec<u16> {
    let all = members.iter().all(|member| member.parts >= slow_start::PARTS);
    let parts = |member: &Member| if all { 1 } else { u32::from(member.parts.clamp(1, slow_start::PARTS)) };
    let share = |member: &Member| u32::from(member.weight.max(1)) * parts(member);
    // Weights are at most 256; larger ones would only be cut down here.
    members.iter().map(|member| share(member).min(u32::from(u16::MAX)) as u16).collect()
}

#[cfg(test)]
mod tests;
