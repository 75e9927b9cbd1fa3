//! What a rollout needs to know of a site: in which order its servers change, and what a change is.

use std::collections::BTreeMap;

pub use mainstay_machines::Time;
pub use mainstay_machines::rollout::{Decision, Member, Standing as Known, next};

use crate::model::{Server, Site};
use crate::names::{Generation, Role};
use crate::plan::{Plan, derive};
use crate::wire::rollout::{Following, Proposal, Record, Standing};

/// From the visitor inwards: who is taken out of a tier is asked no more before it goes, and a release's files are where
/// visitors' browsers will ask for them before its code serves.
const ORDER: [Role; 8] =
    [Role::Dns, Role::Balancer, Role::Web, Role::App, Role::Cache, Role::Database, Role::Firewall, Role::Monitor];

/// Whether a server that follows `now` has anything else to do under `then`.
pub fn changes(now: &Plan, then: &Plan) -> bool {
    (&now.services, &now.store, &now.firewall) != (&then.services, &then.store, &then.firewall)
}

/// Everybody of `site`, in the order in which they are to change, as they said they are. `present` are those that are
/// heard of.
pub fn members(site: &Site, target: Generation, said: &[Standing], present: &dyn Fn(&Standing) -> bool) -> Vec<Member> {
    let mut servers: Vec<_> = site.servers.iter().collect();
    let rank = |roles: &[Role]| ORDER.iter().position(|role| *role != Role::Dns && roles.contains(role));
    // Who gives its vote away goes last: those that get one learn everything from it.
    let leaves = |server: &&Server| site.former_voters.contains(&server.name);
    servers.sort_by_key(|server| (leaves(server), rank(&server.roles).unwrap_or(ORDER.len())));
    let member = |server: &&Server| {
        let standing = said.iter().find(|standing| standing.server == server.name);
        Member {
            name: server.name.to_string(),
            tiers: server.roles.iter().map(|role| role.as_str()).collect(),
            maintained: server.maintained,
            at: standing.map_or(0, |it| it.at.0),
            turn: standing.map_or(0, |it| it.turn.0),
            changes: standing.and_then(|it| it.changes).is_none_or(|(of, changes)| of != target || changes),
            standing: standing.filter(|it| present(it)).map_or(Known::Away, known),
            waited: std::time::Duration::ZERO,
        }
    };
    servers.iter().map(member).collect()
}

/// For how long servers have been on their way, as far as whoever leads has seen: another one who leads waits longer.
#[derive(Debug, Default)]
pub struct Waits(BTreeMap<String, Time>);

impl Waits {
    /// Notes in `members`, who said `said` of themselves, how long it has been at `now`. What one prepares that is there has a deadline
    /// of its own and does not count.
    pub fn note(&mut self, now: Time, target: Generation, members: &mut [Member], said: &[Standing]) {
        for member in members {
            if member.turn < target.0 || (member.at >= target.0 && member.standing == Known::Well) {
                self.0.remove(&member.name);
                continue;
            }
            let since = self.0.entry(member.name.clone()).or_insert(now);
            let prepares = |it: &Standing| it.server.as_str() == member.name && it.preparing;
            if member.standing != Known::Away && said.iter().any(prepares) {
                *since = now;
            }
            member.waited = now.since(*since);
        }
    }
}

/// The generation that goes back from `failed` to what was before it. From there a rollback leads to what was before that, and not to
/// what has failed.
pub fn retreat(failed: &Record, before: Record, because: &str, at_ms: u64) -> Proposal {
    let generation = Generation(failed.generation.0 + 1);
    let what = format!("back to generation {}, since {} failed: {because}", before.generation, failed.generation);
    let plans = derive(&before.site, &before.codebases, generation);
    let record = Record { generation, at_ms, what, retreats: false, ..before };
    Proposal { record, plans }
}

fn known(standing: &Standing) -> Known {
    match standing.state {
        Following::Well => Known::Well,
        Following::Unwell => Known::Unwell(standing.because.clone()),
        Following::Refuses => Known::Refuses(standing.because.clone()),
        Following::Away => Known::Away,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn server(standing: Known, at: u64) -> Member {
        let (name, tiers) = ("server1".to_owned(), Vec::new());
        Member { name, tiers, maintained: false, at, turn: 2, changes: true, standing, waited: Duration::ZERO }
    }

    #[test]
    fn it_is_waited_for_from_its_turn_on_but_not_while_it_prepares() {
        let (mut waits, target, unwell) = (Waits::default(), Generation(2), || Known::Unwell("changing".into()));
        let mut waited = |seconds: u64, member: Member, preparing: bool| {
            let (at, turn) = (Generation(member.at), Generation(member.turn));
            let (state, because, changes) = (Following::Unwell, String::new(), None);
            let said = [Standing { server: "server1".into(), at, turn, state, because, changes, preparing }];
            let mut members = [member];
            waits.note(Time::ZERO + Duration::from_secs(seconds), target, &mut members, &said);
            members[0].waited.as_secs()
        };
        assert_eq!(waited(0, Member { turn: 1, ..server(Known::Well, 1) }, false), 0);
        assert_eq!(waited(5, server(Known::Well, 1), false), 0);
        assert_eq!(waited(9, server(unwell(), 2), false), 4);
        assert_eq!(waited(500, server(unwell(), 2), true), 0);
        assert_eq!(waited(510, server(unwell(), 2), false), 10);
        assert_eq!(waited(520, server(Known::Away, 2), true), 20, "who is away prepares nothing");
        assert_eq!(waited(530, server(Known::Well, 2), false), 0);
        assert_eq!(waited(540, server(unwell(), 2), false), 0, "another illness");
    }
}
