//! When work on the site is felt by its visitors.

use super::{Group, List, Redundancy, Told, names, redundancy};
use crate::model::Server;
use crate::names::Role;

/// The tiers that carry components of their own from the scaled-up design on.
const TIERS: [Role; 3] = [Role::Web, Role::App, Role::Database];

pub(super) fn find(list: &mut List<'_>) {
    downtime(list);
    mixed(list);
    backups(list);
}

fn backups(list: &mut List<'_>) {
    let site = list.site;
    if site.database.as_ref().is_none_or(|database| database.backup.is_some()) {
        return;
    }
    let told = Told {
        what: "no backup is made by itself".into(),
        consequence:
            "replicas repeat a mistake within milliseconds: a table that was dropped, a disk that lies, a break-in"
                .into(),
        remedy: "write backup = { to = \"/var/backups/site\" } in [database], and copy that folder elsewhere".into(),
    };
    list.add(Group::Maintenance, "backup", site.with_role(Role::Database), told);
}

fn downtime(list: &mut List<'_>) {
    let site = list.site;
    let single = |role: &Role| redundancy(site, *role) == Redundancy::Single;
    let roles: Vec<Role> =
        [Role::Firewall, Role::Balancer, Role::Web, Role::App, Role::Database].into_iter().filter(single).collect();
    let servers: Vec<&Server> =
        site.servers.iter().filter(|server| roles.iter().any(|role| server.has(*role))).collect();
    if servers.is_empty() {
        return;
    }
    let told = Told {
        what: format!("nothing stands in for {} while it is worked on", names(servers.iter().copied())),
        consequence: "an update, a new kernel or a release that needs a restart means downtime".into(),
        remedy: format!(
            "have two servers with {}",
            roles.iter().map(|role| format!("`{role}`")).collect::<Vec<_>>().join(", ")
        ),
    };
    list.add(Group::Maintenance, "downtime", servers, told);
}

/// Several servers with several tiers each. A single server has no choice: that is said elsewhere.
fn mixed(list: &mut List<'_>) {
    let site = list.site;
    let tiers = |server: &Server| TIERS.iter().filter(|role| server.has(**role)).count();
    let mixed: Vec<&Server> = site.servers.iter().filter(|server| tiers(server) > 1).collect();
    if site.servers.len() < 2 || mixed.is_empty() {
        return;
    }
    let told = Told {
        what: format!("{} carry the same mix of components", names(mixed.iter().copied())),
        consequence:
            "no tier can be updated or scaled by itself, and a busy application starves the database beside it".into(),
        remedy: "give `web`, `app` and `database` servers of their own".into(),
    };
    list.add(Group::Maintenance, "mixed", mixed, told);
}
