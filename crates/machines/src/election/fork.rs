//! Where the history of a server that was away parts from the cluster's.

use super::record::{Epoch, Reign};
use crate::gtid::Position;

/// How the data of a server stand to the cluster's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They are a beginning of it: it can replay the rest.
    Behind,
    /// They went on beyond where the histories part.
    Beyond {
        /// There.
        fork: Position,
    },
    /// It is not known from which reign they are, or that one is forgotten.
    Strange,
}

/// How data at `position`, whose last reign was `epoch`, stand to `history`.
///
/// All reigns up to `epoch` are common: what a server took in one, it took from that one's primary. The next one began at its
/// `from_gtid`, with all that is common from there on; sequences alone would not tell, since both sides count on from the
/// same number.
pub fn standing(history: &[Reign], epoch: Epoch, position: &Position) -> Standing {
    if epoch == Epoch::default() || history.first().is_none_or(|oldest| oldest.epoch > epoch) {
        return Standing::Strange;
    }
    match history.iter().find(|reign| reign.epoch > epoch) {
        Some(next) if !next.from_gtid.covers(position) => Standing::Beyond { fork: next.from_gtid.clone() },
        _ => Standing::Behind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reign(epoch: u64, from: &str) -> Reign {
        let from_gtid = Position::parse(from).unwrap();
        Reign { epoch: Epoch(epoch), primary: "db1".into(), from_gtid, because: String::new(), at_ms: 0 }
    }

    #[test]
    fn the_next_reign_says_where_histories_part() {
        let history = [reign(3, ""), reign(7, "0-1-40"), reign(9, "0-2-45")];
        let fork = |text: &str| Standing::Beyond { fork: Position::parse(text).unwrap() };
        let rows = [
            (3, "0-1-40", Standing::Behind),
            (3, "0-1-41", fork("0-1-40")),
            (5, "0-1-41", fork("0-1-40")),
            (7, "0-2-45", Standing::Behind),
            (7, "0-2-46", fork("0-2-45")),
            (9, "0-3-99", Standing::Behind),
            (2, "0-1-1", Standing::Strange),
            (0, "0-1-1", Standing::Strange),
        ];
        for (epoch, at, expected) in rows {
            assert_eq!(standing(&history, Epoch(epoch), &Position::parse(at).unwrap()), expected, "{epoch} {at}");
        }
    }
}
