//! Which servers keep the store by which the others agree, and what that is worth.

use crate::model::{Server, Site};
use crate::names::{Role, ServerName};

/// Members of a store: three go on without one of them. Five would go on without two, and cost every write more.
const MEMBERS: usize = 3;

/// The servers that have a vote, in the order of the file.
///
/// None where nothing has to be agreed on, with fewer than two database servers, or where another etcd is declared. Three where there are three servers, those
/// without a database first, since the loss of a database server is what the vote is for; among them balancers, which do
/// least, and firewalls last, which should do nothing else. Two servers cannot outvote each other, so there one has the vote:
/// the declared primary's, whose loss needs an operator anyway.
pub fn votes(site: &Site) -> Vec<&Server> {
    let kept: Vec<&Server> = site.servers.iter().filter(|server| site.voters.contains(&server.name)).collect();
    if !kept.is_empty() && kept.len() == site.voters.len() { kept } else { best(site) }
}

/// Leaves the votes where they were `before` as far as those servers stay and no fewer are needed: a vote that moves has to learn
/// everything anew, and nothing is gained by it.
pub fn keep(before: &Site, after: &mut Site) {
    let best = names(best(after));
    let mut kept = names(votes(before));
    kept.retain(|name| after.server(name).is_some());
    let more: Vec<ServerName> = best.iter().filter(|name| !kept.contains(name)).cloned().collect();
    kept.extend(more.into_iter().take(best.len().saturating_sub(kept.len())));
    after.voters = if kept.len() == best.len() { kept } else { Vec::new() };
    if names(votes(after)) == best {
        after.voters.clear();
    }
    leave(before, after);
}

/// Those that have a vote `before` and none `after`, if with them the majority goes that alone knows what was agreed on: not even
/// together could the others let anybody in.
pub fn lost(before: &Site, after: &Site) -> Vec<ServerName> {
    let (was, is) = (names(votes(before)), names(votes(after)));
    let gone: Vec<ServerName> = was.iter().filter(|name| !is.contains(name)).cloned().collect();
    if is.is_empty() || 2 * gone.len() < was.len() { Vec::new() } else { gone }
}

/// Whether a vote goes from one server to another: then both have to be let in by the others' filters at one time, and the
/// one that comes has to find those that are in.
pub fn moves(before: &Site, after: &Site) -> bool {
    let (was, is) = (names(votes(before)), names(votes(after)));
    !was.is_empty() && is.iter().any(|name| !was.contains(name))
}

/// Notes who of `after` had a vote `before` and has none now.
pub fn leave(before: &Site, after: &mut Site) {
    let (was, is) = (names(votes(before)), names(votes(after)));
    let gone = if was == is { before.former_voters.clone() } else { was };
    after.former_voters = gone.into_iter().filter(|name| !is.contains(name) && after.server(name).is_some()).collect();
}

/// Leaves the votes where they are while those of `wanted` become known to everybody.
pub fn announce(before: &Site, wanted: &Site, both: &mut Site) {
    both.voters = names(votes(before));
    both.coming_voters = names(votes(wanted)).into_iter().filter(|name| !both.voters.contains(name)).collect();
    leave(before, both);
}

/// Gives the votes to those of `wanted`, while those that had them are still there.
pub fn hand_on(announced: &Site, wanted: &Site) -> Site {
    let mut site = Site { voters: names(votes(wanted)), coming_voters: Vec::new(), ..announced.clone() };
    leave(announced, &mut site);
    site
}

fn names(servers: Vec<&Server>) -> Vec<ServerName> {
    servers.into_iter().map(|server| server.name.clone()).collect()
}

fn best(site: &Site) -> Vec<&Server> {
    match (site.count(Role::Database), site.servers.len()) {
        _ if site.store.is_some() => Vec::new(),
        (..2, _) => Vec::new(),
        (_, ..MEMBERS) => site.primary().into_iter().collect(),
        _ => {
            let mut ranked: Vec<(usize, &Server)> = site.servers.iter().enumerate().collect();
            let later = [Role::Database, Role::Firewall];
            ranked.sort_by_key(|(_, server)| (later.map(|role| server.has(role)), !server.has(Role::Balancer)));
            ranked.truncate(MEMBERS);
            ranked.sort_by_key(|(place, _)| *place);
            ranked.into_iter().map(|(_, server)| server).collect()
        }
    }
}

/// Whether the store goes on when one server is lost, whichever it is.
pub fn survives_one(site: &Site) -> bool {
    site.store.is_some() || votes(site).len() >= MEMBERS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::tests::tier;

    fn names(tiers: &[(&str, usize, &str)]) -> Vec<String> {
        votes(&tier("", tiers)).into_iter().map(|server| server.name.to_string()).collect()
    }

    #[test]
    fn one_database_needs_no_vote() {
        assert!(names(&[("s", 1, "dns web app database")]).is_empty());
        assert!(names(&[("lb", 1, "dns balancer"), ("s", 4, "web app"), ("db", 1, "database")]).is_empty());
    }

    #[test]
    fn two_servers_cannot_outvote_each_other() {
        assert_eq!(names(&[("s", 2, "dns web app database")]), ["s1"]);
    }

    #[test]
    fn the_third_vote_stands_on_a_balancer() {
        assert_eq!(names(&[("s", 2, "web app database"), ("lb", 1, "dns balancer")]), ["s1", "s2", "lb1"]);
    }

    #[test]
    fn votes_stay_where_they_are_while_their_servers_do() {
        let before = tier("", &[("s", 2, "web app database"), ("lb", 1, "dns balancer")]);
        let mut grown = tier("", &[("s", 2, "web app database"), ("lb", 1, "dns balancer"), ("web", 1, "web")]);
        assert_eq!(best(&grown).iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["s1", "lb1", "web1"]);
        keep(&before, &mut grown);
        assert_eq!(votes(&grown).iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["s1", "s2", "lb1"]);
        let mut lost = tier(
            "",
            &[("s", 1, "web app database"), ("db", 1, "database"), ("lb", 1, "dns balancer"), ("web", 2, "web")],
        );
        keep(&before, &mut lost);
        let voters = |site: &Site| votes(site).iter().map(|it| it.name.to_string()).collect::<Vec<_>>();
        assert_eq!(voters(&lost), ["s1", "lb1", "web1"], "one of them has gone, and only its vote moves");
        assert_eq!(super::lost(&before, &lost), []);
    }

    #[test]
    fn a_majority_must_come_from_before() {
        let before = tier("", &[("s", 2, "web app database"), ("lb", 1, "dns balancer")]);
        let after = tier("", &[("db", 2, "database"), ("lb", 1, "dns balancer"), ("web", 1, "web app")]);
        assert_eq!(lost(&before, &after), ["s1".into(), "s2".into()]);
        assert_eq!(
            lost(&before, &tier("", &[("s", 1, "web app database")])),
            [],
            "nothing has to be agreed on any more"
        );
    }

    #[test]
    fn servers_without_a_database_come_first() {
        let tiers = [("db", 3, "database"), ("web", 2, "web app"), ("lb", 2, "dns balancer")];
        assert_eq!(names(&tiers), ["web1", "lb1", "lb2"]);
        assert_eq!(names(&[("s", 3, "dns web app database")]), ["s1", "s2", "s3"]);
    }
}
