//! What is wrong with a valid design: one file a group, each a list of pure rules over the [`Site`].

mod maintenance;
mod monitoring;
mod notices;
mod scaling;
mod security;
mod spof;

use serde::{Deserialize, Serialize};

use crate::model::{Failover, Server, Site};
use crate::names::{Role, ServerName};
pub use notices::notices;

/// Something that will hurt one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable: `spof.balancer`.
    pub id: String,
    /// Which kind of trouble.
    pub group: Group,
    /// What is the case.
    pub what: String,
    /// What follows when it goes wrong.
    pub consequence: String,
    /// The edit of the declaration that mends it.
    pub remedy: String,
    /// Whom it concerns.
    pub servers: Vec<ServerName>,
}

/// The kinds of trouble, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// One failure takes the site, or a part of it, down.
    Spof,
    /// Somebody may read or do what they should not.
    Security,
    /// Work on the site is felt by its visitors.
    Maintenance,
    /// The site cannot grow with its visitors.
    Scaling,
    /// Trouble is not noticed.
    Monitoring,
}

impl Group {
    /// Every group, in order.
    pub const ALL: [Group; 5] = [Group::Spof, Group::Security, Group::Maintenance, Group::Scaling, Group::Monitoring];

    /// The word in ids and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Group::Spof => "spof",
            Group::Security => "security",
            Group::Maintenance => "maintenance",
            Group::Scaling => "scaling",
            Group::Monitoring => "monitoring",
        }
    }

    /// The heading in reports.
    pub const fn title(self) -> &'static str {
        match self {
            Group::Spof => "Single points of failure",
            Group::Security => "Security",
            Group::Maintenance => "Maintenance",
            Group::Scaling => "Scaling",
            Group::Monitoring => "Monitoring",
        }
    }
}

/// Everything that is wrong with the design, group by group.
pub fn findings(site: &Site) -> Vec<Finding> {
    let mut list = List { site, found: Vec::new() };
    spof::find(&mut list);
    security::find(&mut list);
    maintenance::find(&mut list);
    scaling::find(&mut list);
    monitoring::find(&mut list);
    list.found
}

/// How well the loss of one server of a role is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redundancy {
    /// No server has the role.
    Absent,
    /// Its loss is the loss of what the role does.
    Single,
    /// Several, but not every one can replace every other by itself.
    Partial,
    /// Any one may be lost.
    Redundant,
}

/// How well the loss of one server with `role` is borne.
pub fn redundancy(site: &Site, role: Role) -> Redundancy {
    match (site.count(role), role) {
        (0, _) => Redundancy::Absent,
        (1, _) => Redundancy::Single,
        (_, Role::Balancer) if site.balancer.as_ref().is_some_and(|it| it.cluster.is_none()) => Redundancy::Partial,
        (_, Role::Web) if site.front() == Role::Web => Redundancy::Partial,
        (_, Role::Database) if site.database.as_ref().is_some_and(|it| it.failover == Failover::Manual) => {
            Redundancy::Partial
        }
        (_, Role::Cache) => Redundancy::Partial,
        _ => Redundancy::Redundant,
    }
}

/// Collects findings.
struct List<'s> {
    site: &'s Site,
    found: Vec<Finding>,
}

/// The three sentences of a finding.
struct Told {
    what: String,
    consequence: String,
    remedy: String,
}

impl List<'_> {
    fn add<'s>(&mut self, group: Group, id: &str, servers: impl IntoIterator<Item = &'s Server>, told: Told) {
        self.found.push(Finding {
            id: format!("{}.{id}", group.as_str()),
            group,
            what: told.what,
            consequence: told.consequence,
            remedy: told.remedy,
            servers: servers.into_iter().map(|server| server.name.clone()).collect(),
        });
    }
}

/// `server1`, `server1 and server2`, `server1, server2 and 7 others`
fn names<'s>(servers: impl IntoIterator<Item = &'s Server>) -> String {
    /// More names than this are no longer read.
    const SHOWN: usize = 4;
    let all: Vec<&str> = servers.into_iter().map(|server| server.name.as_str()).collect();
    match all.as_slice() {
        [] => "no server".into(),
        [one] => (*one).into(),
        [most @ .., last] if all.len() <= SHOWN => format!("{} and {last}", most.join(", ")),
        _ => format!("{} and {} others", all[..SHOWN - 1].join(", "), all.len() - SHOWN + 1),
    }
}
