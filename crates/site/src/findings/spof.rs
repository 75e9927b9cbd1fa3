//! Single points of failure.

use std::net::IpAddr;

use super::{Group, List, Redundancy, Told, names, redundancy};
use crate::model::Site;
use crate::names::Role;
use crate::votes;

/// What is lost with the only server of a role, and what mends it.
const LOSSES: [(Role, &str, &str); 7] = [
    (
        Role::Dns,
        "the name is no longer found, and visitors who do not have the address yet cannot come",
        "give a second server the role `dns`",
    ),
    (Role::Firewall, "nobody reaches the site through it", "give a second server the role `firewall`"),
    (
        Role::Balancer,
        "the site is down, although the servers behind it are well",
        "add a second server with the role `balancer` and a floating address: [balancer] cluster = { address = \"…\" }",
    ),
    (Role::Web, "the site is down", "add a server with the role `web`, and one with the role `balancer` in front"),
    (Role::App, "only static files are answered", "give a second server the role `app`"),
    (
        Role::Cache,
        "what it keeps is lost, and the database carries its load until it is back",
        "give a second server the role `cache`: it keeps a copy",
    ),
    (
        Role::Database,
        "the site cannot read or write, and what was not backed up is gone",
        "add a second server with the role `database`: it becomes the replica",
    ),
];

pub(super) fn find(list: &mut List<'_>) {
    let site = list.site;
    for (role, consequence, remedy) in LOSSES {
        if redundancy(site, role) == Redundancy::Single {
            let one: Vec<_> = site.with_role(role).collect();
            let told = Told {
                what: format!("{} is the only server with the role `{role}`", names(one.iter().copied())),
                consequence: format!("when it fails, {consequence}"),
                remedy: remedy.into(),
            };
            list.add(Group::Spof, role.as_str(), one, told);
        }
    }
    if redundancy(site, Role::Monitor) == Redundancy::Single {
        let one: Vec<_> = site.with_role(Role::Monitor).collect();
        let told = Told {
            what: format!("{} is the only monitor", names(one.iter().copied())),
            consequence: "when it fails, nobody is told of anything, its own failure included".into(),
            remedy: "give a second server the role `monitor`".into(),
        };
        list.add(Group::Spof, "monitor", one, told);
    }
    partial(list);
    distant(list);
    votes(list);
}

/// Floating addresses that do not look like their balancers' neighbours.
fn distant(list: &mut List<'_>) {
    let site = list.site;
    for address in site.cluster().into_iter().flat_map(|cluster| &cluster.addresses) {
        let far: Vec<_> = site.with_role(Role::Balancer).filter(|it| !are_near(it.address, *address)).collect();
        if far.is_empty() {
            continue;
        }
        let told = Told {
            what: format!("the floating address {address} is outside of the network of {}", names(far.iter().copied())),
            consequence: "unless they are on one wire all the same, routers and neighbours do not hear where it has \
                          moved to, and nobody reaches it"
                .into(),
            remedy: "choose a free address of the balancers' own network: [balancer] cluster = { address = \"…\" }"
                .into(),
        };
        list.add(Group::Spof, "floating-network", far, told);
    }
}

/// Whether they share the first 24 bits, of IPv6 64: a declaration knows no prefixes, and these are what is usual.
fn are_near(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..8] == other.octets()[..8],
        _ => false,
    }
}

/// Several servers, of which not every one replaces every other by itself.
fn partial(list: &mut List<'_>) {
    let site = list.site;
    if redundancy(site, Role::Balancer) == Redundancy::Partial {
        let balancers: Vec<_> = site.with_role(Role::Balancer).collect();
        let told = Told {
            what: format!("{} share no floating address", names(balancers.iter().copied())),
            consequence: "when one fails, every visitor whose resolver gave its address is turned away until the \
                          name's time to live has passed"
                .into(),
            remedy: "declare one: [balancer] cluster = { address = \"…\" }".into(),
        };
        list.add(Group::Spof, "floating-address", balancers, told);
    }
    if redundancy(site, Role::Web) == Redundancy::Partial {
        let webs: Vec<_> = site.with_role(Role::Web).collect();
        let told = Told {
            what: format!("{} answer visitors directly, without a balancer", names(webs.iter().copied())),
            consequence: "when one fails, its share of the visitors gets no answer".into(),
            remedy: "add a server with the role `balancer`".into(),
        };
        list.add(Group::Spof, "front-door", webs, told);
    }
    if redundancy(site, Role::Cache) == Redundancy::Partial
        && let Some(first) = site.with_role(Role::Cache).next()
    {
        let told = Told {
            what: format!("{} is the only cache that the applications ask", first.name),
            consequence:
                "when it fails, they do without until it is back: the copies are kept warm, and nothing puts one in \
                          its place by itself"
                    .into(),
            remedy: format!("take it out, which hands its place to a copy: mainstay maintain {}", first.name),
        };
        list.add(Group::Spof, "cache-primary", [first], told);
    }
    if redundancy(site, Role::Database) == Redundancy::Partial
        && let Some(primary) = site.primary()
    {
        let told = Told {
            what: format!("{} is the only database server that accepts writes", primary.name),
            consequence: "when it fails, nothing can be written until somebody promotes a replica by hand".into(),
            remedy: promotion(site).into(),
        };
        list.add(Group::Spof, "database-primary", [primary], told);
    }
}

/// What lets Mainstay promote a replica.
fn promotion(site: &Site) -> &'static str {
    if votes::survives_one(site) {
        "let Mainstay promote one: [database] failover = \"automatic\""
    } else {
        "add a third server of any role, which gets the third vote, and let Mainstay promote one: [database] failover = \
         \"automatic\""
    }
}

/// Databases that are too few servers to agree among.
fn votes(list: &mut List<'_>) {
    let site = list.site;
    if let [only] = votes::votes(site).as_slice() {
        let told = Told {
            what: format!("{} has the only vote on which server is the primary database", only.name),
            consequence:
                "two servers cannot outvote each other: when one is lost, only an operator can make the other the \
                          primary"
                    .into(),
            remedy: "add a third server of any role, a `balancer` in front for example: it gets the third vote".into(),
        };
        list.add(Group::Spof, "votes", [*only], told);
    }
}
