//! Who is put out of the store that the servers of a site agree by.
//!
//! A member too few is a majority lost: a store of three that counts a fourth, who is gone, stands on one more failure than it
//! looks. And etcd lets nobody in while somebody is missing, so who is gone keeps out whoever comes in his place. Both say: put
//! out who is no member any more. What must never be is that this costs the majority of those who stay; hence the two rules
//! below (Ongaro, "Consensus: Bridging Theory and Practice", 2014, § 4; etcd, "Runtime reconfiguration").

use std::time::Duration;

use crate::Time;

/// For how long somebody who is no member any more must not have answered before he is put out: a server that restarts is back within
/// it, and goes by himself.
pub const GONE_FOR: Duration = Duration::from_secs(30);

/// One that the store counts among its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// By which the store knows it.
    pub id: u64,
    /// Whether it is among those who are to be members.
    pub stays: bool,
    /// Whether it answered just now.
    pub answers: bool,
}

/// Somebody who is to be no member, does not answer and so will not go by himself, while everybody answers who stays: with one
/// more missing, nobody could vote. The first of several; the others after it.
pub fn in_the_way(roster: &[Listed]) -> Option<u64> {
    if roster.iter().any(|it| it.stays && !it.answers) {
        return None;
    }
    roster.iter().find(|it| !it.stays && !it.answers).map(|it| it.id)
}

/// Who is in the way, and since when. Nobody is put out at first sight.
#[derive(Debug, Default)]
pub struct Patience {
    gone: Option<(u64, Time)>,
}

impl Patience {
    /// Takes a look at all members. Who is to be put out, if that is somebody.
    pub fn look(&mut self, now: Time, roster: &[Listed]) -> Option<u64> {
        let id = in_the_way(roster);
        self.gone = id.map(|id| match self.gone {
            Some((same, since)) if same == id => (id, since),
            _ => (id, now),
        });
        self.gone.filter(|(_, since)| now.since(*since) >= GONE_FOR).map(|(id, _)| id)
    }
}

/// Whether the member `own` may have itself put out: it is to be none, and the `members` who are to be are all in already, so that
/// what it knows is theirs.
pub fn may_leave(own: u64, members: usize, roster: &[Listed]) -> bool {
    let goes = roster.iter().any(|it| it.id == own && !it.stays);
    let are_in = roster.iter().filter(|it| it.stays).count();
    goes && members > 0 && are_in == members
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every roster of at most six.
    fn rosters() -> impl Iterator<Item = Vec<Listed>> {
        (0..=6_u32).flat_map(|size| {
            (0..4_u32.pow(size)).map(move |kinds| {
                let kind = |place: u32| kinds / 4_u32.pow(place) % 4;
                let one = |place| Listed {
                    id: u64::from(place) + 7,
                    stays: kind(place) & 1 == 1,
                    answers: kind(place) & 2 == 2,
                };
                (0..size).map(one).collect()
            })
        })
    }

    fn has_a_majority(roster: &[Listed]) -> bool {
        2 * roster.iter().filter(|it| it.answers).count() > roster.len()
    }

    fn without(roster: &[Listed], id: u64) -> Vec<Listed> {
        roster.iter().copied().filter(|it| it.id != id).collect()
    }

    #[test]
    fn who_is_put_out_is_gone_and_no_member_and_leaves_a_majority() {
        for roster in rosters() {
            let Some(id) = in_the_way(&roster) else { continue };
            let one = roster.iter().find(|it| it.id == id).unwrap();
            assert!(!one.stays && !one.answers, "{roster:?}");
            let after = without(&roster, id);
            assert!(has_a_majority(&after) || !has_a_majority(&roster), "{roster:?}");
        }
    }

    #[test]
    fn all_who_are_gone_are_put_out_in_the_end_where_all_others_answer() {
        for mut roster in rosters().filter(|roster| roster.iter().all(|it| it.answers || !it.stays)) {
            while let Some(id) = in_the_way(&roster) {
                roster = without(&roster, id);
            }
            assert!(roster.iter().all(|it| it.answers), "{roster:?}");
        }
    }

    #[test]
    fn one_more_that_is_missing_is_no_time_to_put_anybody_out() {
        for roster in rosters().filter(|roster| roster.iter().any(|it| it.stays && !it.answers)) {
            assert_eq!(in_the_way(&roster), None, "{roster:?}");
        }
    }

    #[test]
    fn nobody_is_put_out_at_first_sight_nor_who_came_back_meanwhile() {
        let (gone, back) =
            (Listed { id: 7, stays: false, answers: false }, Listed { id: 7, stays: false, answers: true });
        let (other, half) = (Listed { id: 8, ..gone }, GONE_FOR / 2);
        let at = |halves: u32| Time::from_millis(1_000) + half * halves;
        let mut patience = Patience::default();
        let looks = [(0, gone, None), (1, gone, None), (2, gone, Some(7)), (3, gone, Some(7)), (4, back, None)];
        let again = [(5, gone, None), (6, gone, None), (7, other, None), (8, gone, None), (9, gone, None)];
        for (halves, one, put_out) in looks.into_iter().chain(again).chain([(10, gone, Some(7))]) {
            assert_eq!(patience.look(at(halves), &[one]), put_out, "after {halves} halves");
        }
    }

    #[test]
    fn who_leaves_leaves_all_members_behind() {
        for roster in rosters() {
            for (own, members) in (6..14).flat_map(|own| (0..=6).map(move |members| (own, members))) {
                let after = without(&roster, own);
                let may = may_leave(own, members, &roster);
                let whole = after.len() < roster.len() && after.iter().filter(|it| it.stays).count() == members;
                let goes = roster.iter().any(|it| it.id == own && !it.stays);
                assert_eq!(may, goes && whole && members > 0, "{own} of {members}: {roster:?}");
            }
        }
    }
}
