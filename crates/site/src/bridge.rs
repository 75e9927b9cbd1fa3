//! A tier that moves to other servers altogether, and a vote that does, go there by way of generations that have both.
//!
//! New servers of a tier are asked by the old ones of the tier before it and ask the old ones of the next, and none of these knows
//! them or lets them in before it has changed itself. Changed straight, the first server to follow would ask only such as cannot
//! serve yet. So at first everybody who is wanted comes beside everybody who was, and only when all are well do the old ones go.
//! With a vote in the store it is the same, and one step more: who gets it learns everything from those who had it, whom all that
//! stay must still reach; they put themselves out when it is their turn.

use std::collections::BTreeSet;

use crate::model::{Server, Site};
use crate::names::Role;
use crate::votes;

/// The tiers whose servers stand in for one another.
pub const TIERS: [Role; 4] = [Role::Balancer, Role::Web, Role::App, Role::Database];

/// What comes before what is wanted: nothing; both, where a tier keeps none of its servers or a vote moves; and then, both with
/// the votes where they are wanted.
pub fn generations(before: &Site, wanted: &Site) -> Vec<Site> {
    let of = |site: &Site, role| site.with_role(role).map(|server| server.name.clone()).collect::<BTreeSet<_>>();
    let moves = |role: &Role| {
        let (was, is) = (of(before, *role), of(wanted, *role));
        !was.is_empty() && !is.is_empty() && was.is_disjoint(&is)
    };
    let votes_move = votes::moves(before, wanted);
    if !votes_move && !TIERS.iter().any(moves) {
        return Vec::new();
    }
    let both = both(before, wanted);
    let handed_on = votes_move.then(|| votes::hand_on(&both, wanted));
    [both].into_iter().chain(handed_on).collect()
}

fn both(before: &Site, wanted: &Site) -> Site {
    let stays = |server: &&Server| wanted.server(&server.name).is_some();
    // Who has the data stands first: that is who is the primary where nobody has led yet.
    let mut servers: Vec<Server> = before.servers.iter().filter(|it| !stays(it)).cloned().collect();
    for server in &wanted.servers {
        let was = before.server(&server.name).map(|known| known.roles.clone()).unwrap_or_default();
        let roles: BTreeSet<Role> = server.roles.iter().copied().chain(was).collect();
        servers.push(Server { roles: roles.into_iter().collect(), ..server.clone() });
    }
    let mut site = Site { servers, ..wanted.clone() };
    site.continues(before);
    votes::announce(before, wanted, &mut site);
    site
}

/// In how many `generations`, who is new in a tier and who leaves one, and whose votes go to whom, for a person.
pub fn told(before: &Site, wanted: &Site, generations: usize) -> String {
    let mut parts = Vec::new();
    let gone = |site: &Site, other: &Site| {
        let gone = |server: &&Server| {
            let then = other.server(&server.name);
            TIERS.iter().any(|role| server.has(*role) && then.is_none_or(|then| !then.has(*role)))
        };
        names(site.servers.iter().filter(gone))
    };
    let (come, go) = (gone(wanted, before), gone(before, wanted));
    match (come.is_empty(), go.is_empty()) {
        (false, false) => parts.push(format!("{come} come beside {go}, and then take their places")),
        (false, true) => parts.push(format!("{come} come")),
        (true, false) => parts.push(format!("{go} go")),
        (true, true) => {}
    }
    if votes::moves(before, wanted) {
        let (had, get) = (votes::votes(before).into_iter(), votes::votes(wanted).into_iter());
        parts.push(format!("the votes of {} go to {}", names(had), names(get)));
    }
    format!("{generations} generations: {}", parts.join("; "))
}

fn names<'s>(servers: impl Iterator<Item = &'s Server>) -> String {
    servers.map(|server| server.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::tests::site;

    #[test]
    fn only_a_tier_that_keeps_nobody_needs_both() {
        let one = site("", &[("server1", "web app database")]);
        let more = site("", &[("lb1", "balancer"), ("server1", "web app database"), ("server2", "web app database")]);
        assert_eq!(generations(&one, &more), [], "server1 serves throughout");
        assert_eq!(generations(&more, &more), []);
        let tiers = site("", &[("lb1", "balancer"), ("web1", "web"), ("app1", "app"), ("server1", "database")]);
        let [both] = &generations(&one, &tiers)[..] else { panic!("no vote moves") };
        let roles = |name: &str| both.server(&name.into()).unwrap().roles.clone();
        assert_eq!(roles("server1"), one.servers[0].roles, "what it did it does until the others do it");
        assert_eq!(roles("web1"), [Role::Web]);
        assert_eq!(both.number(&"server1".into()), Some(1));
        assert!(told(&one, &tiers, 2).contains("lb1, web1, app1 come beside server1"), "{}", told(&one, &tiers, 2));
    }

    #[test]
    fn who_has_the_data_stands_first() {
        let was = site("", &[("server1", "web app database")]);
        let is = site("", &[("web1", "web app"), ("db1", "database")]);
        let [both] = &generations(&was, &is)[..] else { panic!("no vote moves") };
        assert_eq!(both.primary().unwrap().name.as_str(), "server1");
        assert_eq!(both.servers.len(), 3);
    }

    #[test]
    fn a_vote_moves_while_those_that_had_it_are_there() {
        let data = "web app database";
        let was = site("", &[("lb1", "balancer"), ("server1", data), ("server2", data)]);
        let is = site("", &[("lb1", "balancer"), ("server1", data), ("server3", data)]);
        let voters = |site: &Site| names(votes::votes(site).into_iter());
        let [both, handed_on] = &generations(&was, &is)[..] else { panic!("{}", told(&was, &is, 3)) };
        assert_eq!((&*voters(both), both.coming_voters.as_slice()), ("server2, lb1, server1", &["server3".into()][..]));
        assert_eq!(
            (&*voters(handed_on), handed_on.former_voters.as_slice()),
            ("lb1, server1, server3", &["server2".into()][..])
        );
        assert_eq!(both.servers, handed_on.servers);
        let mut then = is.clone();
        then.continues(handed_on);
        assert_eq!((voters(&then), then.former_voters.len()), (voters(handed_on), 0));
        assert_eq!(generations(handed_on, &then), [], "who applies again what was cut short goes on from here");
        let told = told(&was, &is, 3);
        assert!(told.contains("the votes of lb1, server1, server2 go to lb1, server1, server3"), "{told}");
    }
}
