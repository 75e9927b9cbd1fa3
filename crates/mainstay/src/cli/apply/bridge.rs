//! A tier that moves to other servers altogether, and a vote that does, go there by way of generations that have both.
//!
//! New servers of a tier are asked by the old ones of the tier before it and ask the old ones of the next, and none of these knows
//! them or lets them in before it has changed itself. Changed straight, the first server to follow would ask only such as cannot
//! serve yet. So at first everybody who is wanted comes beside everybody who was, and only when all are well do the old ones go.
//! With a vote in the store it is the same, and one step more: who gets it learns everything from those who had it, whom all that
//! stay must still reach; they put themselves out when it is their turn.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use mainstay_site::model::{Server, Site};
use mainstay_site::names::{Role, ServerName};
use mainstay_site::votes;
use mainstay_site::wire::State;

use super::fleet::Fleet;
use crate::cli::db::ask::{Databases, agreed, primary};
use crate::cli::db::order;
use crate::cli::up::say;

/// Until everybody who is new is well: a database of some gigabytes is copied.
const READY: Duration = Duration::from_secs(1800);
/// Until one of each tier that loses others is well, which it is unless something is broken.
const CAN_GO: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);
/// Between two words on what is waited for.
const WORD: Duration = Duration::from_secs(5);

/// The tiers whose servers stand in for one another.
const TIERS: [Role; 4] = [Role::Balancer, Role::Web, Role::App, Role::Database];

/// What comes before what is wanted: nothing; both, where a tier keeps none of its servers or a vote moves; and then, both with
/// the votes where they are wanted.
pub fn bridge(before: &Site, wanted: &Site) -> Vec<Site> {
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

/// Waits until everybody who is wanted is well, and hands the primary database's place over.
pub async fn ready(fleet: &Fleet, wanted: &Site) -> anyhow::Result<()> {
    all_well(fleet, wanted).await?;
    hand_over(fleet, wanted).await?;
    // A new primary lets its replicas in anew.
    all_well(fleet, wanted).await
}

async fn all_well(fleet: &Fleet, wanted: &Site) -> anyhow::Result<()> {
    wait_for(READY, async || {
        for server in &wanted.servers {
            if let Some(missing) = unwell(fleet, server).await? {
                return Ok(Some(missing));
            }
        }
        let (heirs, able) = (databases(wanted), able(wanted).await?);
        Ok(able.and_then(|able| heirs.into_iter().find(|name| !able.contains(name))).map(|name| lacks(&name)))
    })
    .await
}

/// The same where servers only leave: of each tier that loses some, one that stays must be well. Who applies again what was cut
/// short on its way comes by here.
pub async fn can_go(fleet: &Fleet, now: &Site, wanted: &Site) -> anyhow::Result<()> {
    let loses = |role: &Role| {
        now.with_role(*role).any(|server| wanted.server(&server.name).is_none_or(|then| !then.has(*role)))
            && wanted.with_role(*role).next().is_some()
    };
    let shrinking: Vec<Role> = TIERS.into_iter().filter(loses).collect();
    if shrinking.is_empty() {
        return Ok(());
    }
    wait_for(CAN_GO, async || {
        for role in shrinking.iter().filter(|role| **role != Role::Database) {
            let mut missing = None;
            for server in wanted.with_role(*role).filter(|server| now.server(&server.name).is_some()) {
                missing = unwell(fleet, server).await?;
                if missing.is_none() {
                    break;
                }
            }
            if missing.is_some() {
                return Ok(missing);
            }
        }
        let (heirs, able) = (databases(wanted), able(now).await?);
        let nobody = able.is_some_and(|able| !heirs.iter().any(|name| able.contains(name)));
        Ok((shrinking.contains(&Role::Database) && nobody)
            .then(|| "a database server that stays to have all the data".into()))
    })
    .await?;
    if shrinking.contains(&Role::Database) { hand_over(fleet, wanted).await } else { Ok(()) }
}

async fn wait_for(
    patience: Duration,
    mut missing: impl AsyncFnMut() -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    let (begun, mut word) = (Instant::now(), Instant::now());
    while let Some(missing) = missing().await? {
        ensure!(
            begun.elapsed() < patience,
            "not ready after {} s: {missing}; all servers go on as they are, and applying again goes on from here",
            patience.as_secs()
        );
        if word.elapsed() > WORD {
            say(&format!("  waits for {missing}"));
            word = Instant::now();
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// What is amiss with a server.
async fn unwell(fleet: &Fleet, server: &Server) -> anyhow::Result<Option<String>> {
    let status = match fleet.client(&server.name)?.status().await {
        Ok(status) => status,
        Err(error) => return Ok(Some(format!("{}: {error}", server.name))),
    };
    let well = |state| matches!(state, State::Serving | State::Degraded);
    let unwell = status.services.iter().find(|service| !well(service.state));
    Ok(unwell.map(|service| format!("{} {}: {}", server.name, service.name, service.because)))
}

fn databases(site: &Site) -> Vec<ServerName> {
    site.with_role(Role::Database).map(|server| server.name.clone()).collect()
}

fn lacks(name: &ServerName) -> String {
    format!("{name} to have all the data")
}

/// The databases that may lead, being sure to have everything; `None` where nothing is agreed on.
async fn able(site: &Site) -> anyhow::Result<Option<Vec<ServerName>>> {
    let seen = Databases::named(site.domain.as_str())?.look().await;
    let cluster = agreed(&seen).and_then(|agreed| agreed.cluster.as_ref());
    Ok(cluster.map(|cluster| {
        let sync = cluster.sync.iter().map(|replica| ServerName::from(replica.0.as_str()));
        sync.chain([ServerName::from(cluster.primary.0.as_str())]).collect()
    }))
}

/// The primary's place to one that stays, if it is not one of them.
async fn hand_over(fleet: &Fleet, wanted: &Site) -> anyhow::Result<()> {
    let stay = databases(wanted);
    let able = able(wanted).await?.unwrap_or_default();
    let databases = Databases::named(fleet.running.site.domain.as_str())?;
    let leads = primary(&databases.look().await);
    let Some(heir) = stay.iter().find(|name| able.contains(name)) else { return Ok(()) };
    if leads.is_some_and(|leads| stay.contains(&leads)) {
        return Ok(());
    }
    order::switch_over(&databases, Some(heir.as_str().into())).await?;
    let leads = order::led(&databases, None).await?.primary;
    ensure!(
        stay.iter().any(|name| name.as_str() == leads),
        "{leads} is still the primary database and is to go; `mainstay db status` says why"
    );
    say(&format!("  {leads} is the primary database now"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use mainstay_site::declaration::{Anywhere, parse};

    use super::*;

    fn site(servers: &[(&str, &str)]) -> Site {
        let servers: String = servers
            .iter()
            .zip(1..)
            .map(|((name, roles), place)| {
                format!("[servers.{name}]\naddress = \"10.0.0.{}\"\nroles = [{roles}]\n", place * 10 + name.len())
            })
            .collect();
        let head = "format = 1\n[site]\ndomain = \"a.com\"\n[app]\npath = \"x\"\nkind = \"http\"\ncommand = \"x\"\n";
        parse(&format!("{head}{servers}"), &Anywhere).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    #[test]
    fn only_a_tier_that_keeps_nobody_needs_both() {
        let one = site(&[("server1", "\"web\", \"app\", \"database\"")]);
        let more = site(&[
            ("lb1", "\"balancer\""),
            ("server1", "\"web\", \"app\", \"database\""),
            ("server2", "\"web\", \"app\", \"database\""),
        ]);
        assert_eq!(bridge(&one, &more), [], "server1 serves throughout");
        assert_eq!(bridge(&more, &more), []);
        let tiers =
            site(&[("lb1", "\"balancer\""), ("web1", "\"web\""), ("app1", "\"app\""), ("server1", "\"database\"")]);
        let [both] = &bridge(&one, &tiers)[..] else { panic!("no vote moves") };
        let roles = |name: &str| both.server(&name.into()).unwrap().roles.clone();
        assert_eq!(roles("server1"), one.servers[0].roles, "what it did it does until the others do it");
        assert_eq!(roles("web1"), [Role::Web]);
        assert_eq!(both.number(&"server1".into()), Some(1));
        assert!(told(&one, &tiers, 2).contains("lb1, web1, app1 come beside server1"), "{}", told(&one, &tiers, 2));
    }

    #[test]
    fn who_has_the_data_stands_first() {
        let was = site(&[("server1", "\"web\", \"app\", \"database\"")]);
        let is = site(&[("web1", "\"web\", \"app\""), ("db1", "\"database\"")]);
        let [both] = &bridge(&was, &is)[..] else { panic!("no vote moves") };
        assert_eq!(both.primary().unwrap().name.as_str(), "server1");
        assert_eq!(both.servers.len(), 3);
    }

    #[test]
    fn a_vote_moves_while_those_that_had_it_are_there() {
        let data = "\"web\", \"app\", \"database\"";
        let was = site(&[("lb1", "\"balancer\""), ("server1", data), ("server2", data)]);
        let is = site(&[("lb1", "\"balancer\""), ("server1", data), ("server3", data)]);
        let voters = |site: &Site| names(votes::votes(site).into_iter());
        let [both, handed_on] = &bridge(&was, &is)[..] else { panic!("{}", told(&was, &is, 3)) };
        assert_eq!((&*voters(both), both.coming_voters.as_slice()), ("server2, lb1, server1", &["server3".into()][..]));
        assert_eq!(
            (&*voters(handed_on), handed_on.former_voters.as_slice()),
            ("lb1, server1, server3", &["server2".into()][..])
        );
        assert_eq!(both.servers, handed_on.servers);
        let mut then = is.clone();
        then.continues(handed_on);
        assert_eq!((voters(&then), then.former_voters.len()), (voters(handed_on), 0));
        assert_eq!(bridge(handed_on, &then), [], "who applies again what was cut short goes on from here");
        let told = told(&was, &is, 3);
        assert!(told.contains("the votes of lb1, server1, server2 go to lb1, server1, server3"), "{told}");
    }
}
