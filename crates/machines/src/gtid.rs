//! Where a MariaDB server stands in the history of writes.
//!
//! A transaction's name is `DOMAIN-SERVER-SEQUENCE` (MariaDB, "Global Transaction ID"); a position is the last one of each
//! domain. Servers that follow the same history are compared by sequence. Equal sequences of different servers are two
//! histories: [`Position::order`] says so, and what it cannot see (two histories that part further back) follows from the
//! reigns on record, `election::divergence`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtid {
    /// `gtid_domain_id`: an independent stream; Mainstay uses 0 alone.
    pub domain: u32,
    /// `server_id` of who wrote it first.
    pub server: u32,
    /// Its number in the domain.
    pub sequence: u64,
}

/// The last transaction of each domain, as `@@gtid_current_pos` has it; empty if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Position(BTreeMap<u32, Gtid>);

/// Text that is no position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is no list of GTIDs such as \"0-1-42\"", self.0)
    }
}

impl std::error::Error for Malformed {}

impl Gtid {
    fn parse(text: &str) -> Option<Gtid> {
        let mut parts = text.trim().split('-');
        let gtid = Gtid {
            domain: parts.next()?.parse().ok()?,
            server: parts.next()?.parse().ok()?,
            sequence: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(gtid)
    }
}

impl Position {
    /// Before the first transaction.
    pub const START: Position = Position(BTreeMap::new());

    /// Reads `0-1-42,1-1-7`. Of several names in one domain, as `@@gtid_binlog_state` has them, the one with the highest
    /// sequence stands.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(text: &str) -> Result<Position, Malformed> {
        let mut position = Position::START;
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            position.reach(Gtid::parse(part).ok_or_else(|| Malformed(text.to_owned()))?);
        }
        Ok(position)
    }

    /// Whether nothing was ever written.
    pub fn is_start(&self) -> bool {
        self.0.is_empty()
    }

    /// Moves on to `gtid`, if that is further.
    pub fn reach(&mut self, gtid: Gtid) {
        let last = self.0.entry(gtid.domain).or_insert(gtid);
        if gtid.sequence > last.sequence {
            *last = gtid;
        }
    }

    /// Whether everything that `other` has is here too, if both follow one history.
    pub fn covers(&self, other: &Position) -> bool {
        other.0.values().all(|theirs| self.sequence(theirs.domain) >= theirs.sequence)
    }

    /// Which of two is further in one history; `None` if they cannot belong to one: each has something that the other has
    /// not, or the same number was given twice.
    pub fn order(&self, other: &Position) -> Option<Ordering> {
        let split = |ours: &Gtid| {
            other
                .0
                .get(&ours.domain)
                .is_some_and(|theirs| ours.sequence == theirs.sequence && ours.server != theirs.server)
        };
        match (self.covers(other), other.covers(self)) {
            _ if self.0.values().any(split) => None,
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }

    /// The last of each domain, by domain.
    pub fn iter(&self) -> impl Iterator<Item = &Gtid> {
        self.0.values()
    }

    fn sequence(&self, domain: u32) -> u64 {
        self.0.get(&domain).map_or(0, |gtid| gtid.sequence)
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.sequence)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, gtid) in self.0.values().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            gtid.fmt(f)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Position {
    type Error = Malformed;
    fn try_from(text: String) -> Result<Self, Malformed> {
        Position::parse(&text)
    }
}

impl From<Position> for String {
    fn from(position: Position) -> String {
        position.to_string()
    }
}

impl From<Gtid> for Position {
    fn from(gtid: Gtid) -> Self {
        Position(BTreeMap::from([(gtid.domain, gtid)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        Position::parse(text).unwrap()
    }

    #[test]
    fn positions_are_read_as_mariadb_writes_them() {
        for text in ["", "0-1-42", "0-1-42,7-3-1"] {
            assert_eq!(at(text).to_string(), text);
        }
        assert_eq!(at("0-1-3,0-2-9,0-1-7"), at("0-2-9"), "the highest of a domain stands");
        assert_eq!(at(" 0-1-1,\n1-1-2"), at("0-1-1,1-1-2"), "SHOW SLAVE STATUS breaks lines");
        for wrong in ["0-1", "0-1-2-3", "a-b-c", "0-1--2", "0-1-18446744073709551616"] {
            assert!(Position::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn positions_are_ordered_within_one_history() {
        let rows = [
            ("", "", Some(Ordering::Equal)),
            ("0-1-5", "", Some(Ordering::Greater)),
            ("0-1-5", "0-2-6", Some(Ordering::Less)),
            ("0-1-5", "0-2-5", None),
            ("0-1-5,1-1-1", "0-1-6", None),
            ("0-1-6,1-1-1", "0-1-6", Some(Ordering::Greater)),
        ];
        for (one, other, order) in rows {
            assert_eq!(at(one).order(&at(other)), order, "{one} {other}");
            assert_eq!(at(other).order(&at(one)), order.map(Ordering::reverse), "{other} {one}");
        }
    }
}
