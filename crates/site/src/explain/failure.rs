//! What the loss of a server means to each of its roles, in this design.

use super::sentence::names;
use crate::findings::{Redundancy, redundancy};
use crate::model::{Failover, Server, Site};
use crate::names::Role;

/// What happens when `server` can no longer do `role`: a clause, after "when it fails".
pub(super) fn loss(site: &Site, role: Role, server: &Server) -> String {
    let others = || names(site.with_role(role).filter(|it| it.name != server.name));
    let serve = if site.count(role) == 2 { "serves" } else { "serve" };
    match (role, redundancy(site, role)) {
        (_, Redundancy::Absent) => "nothing changes".into(),
        (Role::Dns, Redundancy::Single) => {
            "only visitors whose resolver still remembers the address find the site, for minutes at most".into()
        }
        (Role::Dns, _) => format!("resolvers ask {} instead, by themselves", others()),
        (Role::Firewall, Redundancy::Single) => "nobody reaches the site through it".into(),
        (Role::Firewall, _) => format!("traffic passes {}", others()),
        (Role::Balancer, Redundancy::Single) => "the site is down, although the servers behind it are well".into(),
        (Role::Balancer, Redundancy::Partial) => {
            "visitors who were given its address are turned away until the name's time to live has passed".into()
        }
        (Role::Balancer, _) => format!("{} {} in its place, on the same address", others(), verb(site, role, "serve")),
        (Role::Web, Redundancy::Single) => "the site is down: nobody answers visitors".into(),
        (Role::Web, Redundancy::Partial) => {
            format!("its share of the visitors gets no answer; {} {serve} on", others())
        }
        (Role::Web, _) => format!("the balancer leaves it out and {} {serve} on", others()),
        (Role::App, Redundancy::Single) => {
            "only static files are answered; every page that needs code is an error".into()
        }
        (Role::App, _) => format!("the web servers leave it out and {} {serve} on", others()),
        (Role::Cache, Redundancy::Single) => {
            "the applications do without: what it kept is gone, and the database carries its load".into()
        }
        (Role::Cache, _) if site.in_use(Role::Cache).next().is_some_and(|first| first.name == server.name) => format!(
            "the applications do without until it is back, or until `mainstay maintain {}` has them ask {}",
            server.name,
            others()
        ),
        (Role::Cache, _) => "nobody notices: it only keeps a copy".into(),
        (Role::Monitor, Redundancy::Single) => "nobody is told of anything, its own failure included".into(),
        (Role::Monitor, _) => format!("{} {} on", others(), verb(site, role, "watch")),
        (Role::Store, _) => "the other members go on while they are the majority".into(),
        (Role::Database, how) => database(site, how, server),
    }
}

fn verb(site: &Site, role: Role, stem: &str) -> String {
    super::sentence::verb(site.count(role) - 1, stem)
}

fn database(site: &Site, how: Redundancy, server: &Server) -> String {
    let primary = site.primary().is_some_and(|primary| primary.name == server.name);
    match (how, primary) {
        (Redundancy::Single, _) => {
            "the site can neither read nor write, and what was not backed up is gone with its disk".into()
        }
        (_, false) => {
            let left = names(site.with_role(Role::Database).filter(|it| it.name != server.name));
            format!("reads go to {left}; nothing is lost")
        }
        (_, true) => {
            let replicas = names(site.replicas());
            let promoted = match site.database.as_ref().map(|it| it.failover) {
                Some(Failover::Automatic) => "until Mainstay has promoted a replica, by itself",
                _ => "until somebody promotes a replica by hand",
            };
            format!("reads go on from {replicas}, but nothing can be written {promoted}")
        }
    }
}
