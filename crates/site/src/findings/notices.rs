//! What is declared and not enforced by this version.

use crate::model::{Certificate, Durability, Failover, Inside, Site};
use crate::names::Role;
use crate::plan::Notice;
use crate::votes::survives_one;

/// Everything that the declaration asks for and this version does not do, each with what happens instead.
pub fn notices(site: &Site) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut add = |declared: String, instead: &str| notices.push(Notice { declared, instead: instead.into() });
    if let Some(tls) = &site.tls {
        if tls.certificate == Certificate::Acme {
            let sent = "visitors are shown a self-signed certificate, and browsers warn";
            let unsent = "visitors get a self-signed certificate: browsers warn, and plain HTTP is not sent on";
            add("tls.certificate = \"acme\"".into(), if tls.redirects() { sent } else { unsent });
        }
        if tls.inside == Inside::Mutual {
            add("tls.inside = \"mutual\"".into(), "traffic between the servers is in the clear");
        }
    }
    if site.cluster().is_none() && site.balancer.as_ref().is_some_and(|it| it.cluster.is_some()) {
        add("balancer.cluster".into(), "on one machine no address floats; the balancers answer on their own");
    }
    if let Some(database) = &site.database {
        if database.failover == Failover::Automatic && !survives_one(site) {
            let outvoted = "two servers cannot outvote each other: an operator promotes the replica";
            add("database.failover = \"automatic\"".into(), outvoted);
        }
        if database.durability == Durability::Galera {
            add("database.durability = \"galera\"".into(), "commits wait for one replica, as with semi-sync");
        }
    }
    for role in [Role::Firewall, Role::Monitor] {
        if site.count(role) > 0 {
            add(format!("the role `{role}`"), "its servers start and run nothing for it");
        }
    }
    notices
}
