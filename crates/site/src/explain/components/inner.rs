//! The database tier: the endpoints, the primary, the replicas, and what a commit waits for.

use super::super::Scene;
use super::super::failure::loss;
use super::super::sentence::{list, names, verb};
use super::{Component, Here, absent};
use crate::findings::{Redundancy, redundancy};
use crate::model::{Durability, Failover};
use crate::names::Role;
use crate::plan::{AppDatabase, Config};

const NO_DATABASE: &str =
    "The applications keep no data in a database of the site. A server with the role `database` would.";

pub(super) const SQL: Component = Component {
    word: "sql",
    aliases: &["sqlendpoints", "endpoints", "writer", "reader", "databaseaddress"],
    title: "SQL endpoints",
    what: "Two doors to the database on every application server: the writer leads to the primary, the reader to a \
           replica that is not far behind. The code need not know which server is which, nor notice when that changes.",
    here: sql,
};

fn sql(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let Some(AppDatabase { writer, reader, .. }) = endpoints(scene) else {
        return absent(NO_DATABASE);
    };
    let text = format!(
        "On {} the writer is {writer} and the reader {reader}, given to the code as DATABASE_URL and DATABASE_READ_URL. \
         They are a process of their own, so that a release of the code cuts no connection to the database.",
        names(site.with_role(Role::App))
    );
    let replica = match site.replicas().next() {
        Some(_) => "When no replica is fit to be read, the reader leads to the primary.",
        None => "There is no replica: the reader leads to the primary.",
    };
    let fails = format!(
        "They stand and fall with their application server. When their process ends it is started again: what it carried \
         breaks once, and new connections wait until it is back. {replica}"
    );
    let talks = scene.arrows.sentences("sql", None);
    Here { who: Some(names(site.with_role(Role::App))), text, talks, fails, notices: Vec::new() }
}

fn endpoints<'s>(scene: &Scene<'s>) -> Option<&'s AppDatabase> {
    let mut services = scene.plans.iter().flat_map(|plan| &plan.services);
    services.find_map(|service| if let Config::App(app) = &service.config { app.database.as_ref() } else { None })
}

pub(super) const PRIMARY: Component = Component {
    word: "primary",
    aliases: &["database", "databaseprimary", "master", "mysql", "mariadb"],
    title: "primary database",
    what: "The primary takes every write and records it in its binary log, from which replicas repeat it. There is one at \
           a time, so that two writes cannot contradict each other.",
    here: primary,
};

fn primary(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let (Some(database), Some(primary)) = (&site.database, site.primary()) else {
        return absent(NO_DATABASE);
    };
    let replaced = match (redundancy(site, Role::Database), database.failover) {
        (Redundancy::Single, _) => "It has no replica.".to_owned(),
        (_, Failover::Automatic) => "When it is lost, Mainstay promotes the replica that has most.".into(),
        (_, Failover::Manual) => "When it is lost, an operator promotes a replica (failover = \"manual\").".into(),
    };
    let only = redundancy(site, Role::Database) == Redundancy::Single;
    let lead = if only { format!("{} is the only one: when", primary.name) } else { "When".into() };
    let it = if only { "it".into() } else { primary.name.to_string() };
    Here {
        text: format!("{} is the primary, since it is the first database server of the file. {replaced}", primary.name),
        talks: scene.arrows.sentences("database", Some(&primary.name)),
        fails: format!("{lead} {it} fails, {}.", loss(site, Role::Database, primary)),
        notices: scene.notices(&["database.failover"]),
        who: Some(primary.name.to_string()),
    }
}

pub(super) const REPLICA: Component = Component {
    word: "replica",
    aliases: &["replicas", "database", "databasereplica", "slave", "standby"],
    title: "replica database",
    what: "A replica repeats everything that the primary did, a moment later. It serves reads, and it is the copy from \
           which the site goes on when the primary is lost. It is no backup: what is deleted is deleted there too.",
    here: replica,
};

fn replica(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let Some(first) = site.replicas().next() else {
        return absent(
            "There is no second copy of the data. A second server with the role `database` becomes the replica.",
        );
    };
    let who = names(site.replicas());
    let count = site.replicas().count();
    let primary = site.primary().map(|it| it.name.to_string()).unwrap_or_default();
    let all: Vec<String> = site.replicas().flat_map(|it| scene.arrows.sentences("database", Some(&it.name))).collect();
    let mut talks = all;
    talks.sort();
    talks.dedup();
    Here {
        text: format!(
            "{who} {} {primary} and {} the applications' reads.",
            verb(count, "replay"),
            verb(count, "serve")
        ),
        talks,
        fails: format!("When {} fails, {}.{}", first.name, loss(site, Role::Database, first), waits(scene, count)),
        notices: Vec::new(),
        who: Some(who),
    }
}

/// What the loss of a replica does to commits.
fn waits(scene: &Scene<'_>, replicas: usize) -> &'static str {
    match (scene.site.database.as_ref().map(|it| it.durability), replicas) {
        (Some(Durability::SemiSync), 1) => {
            " Until it is back, a commit waits a moment for it and then goes on alone: it exists once."
        }
        (Some(Durability::SemiSync), _) => " Commits go on: another replica acknowledges them.",
        _ => "",
    }
}

pub(super) const SEMI_SYNC: Component = Component {
    word: "replication",
    aliases: &["semisync", "semisynchronous", "durability", "galera", "database", "async"],
    title: "replication",
    what: "Replication copies each commit from the primary to the replicas. What a commit waits for decides what can be \
           lost: its own disk only (async), one replica's too (semi-sync), or every server of a cluster (galera).",
    here: replication,
};

fn replication(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let (Some(database), Some(primary), Some(_)) = (&site.database, site.primary(), site.replicas().next()) else {
        return absent("There is one database server or none, so nothing is copied.");
    };
    let (text, fails) = durability(database.durability);
    let who = [vec![primary.name.to_string()], site.replicas().map(|it| it.name.to_string()).collect()].concat();
    Here {
        text: text.into(),
        talks: scene.arrows.sentences("database", None).into_iter().filter(|it| it.contains("replication")).collect(),
        fails: fails.into(),
        notices: scene.notices(&["database.durability"]),
        who: Some(list(&who)),
    }
}

/// What a commit waits for, and what is lost when the primary is.
fn durability(durability: Durability) -> (&'static str, &'static str) {
    match durability {
        Durability::Async => (
            "A commit is acknowledged when it is on the primary's own disk (durability = \"async\").",
            "When the primary is lost, the commits of its last moments may be lost with it, although they were acknowledged.",
        ),
        Durability::SemiSync => (
            "A commit is acknowledged when a replica has it, too (durability = \"semi-sync\"): what was acknowledged exists twice.",
            "When the primary is lost, a replica has what was acknowledged. While no replica answers, a commit waits a \
             moment and then goes on alone: it exists once until a replica is back.",
        ),
        Durability::Galera => (
            "Every server takes writes, and a commit is acknowledged when all have it (durability = \"galera\").",
            "When one server is lost the others go on, as long as they are the majority.",
        ),
    }
}
