//! The roles that a request passes, and the monitors that watch them.

use super::super::Scene;
use super::super::failure::loss;
use super::super::sentence::{duration, list, names, verb};
use super::{Component, Here, absent};
use crate::findings::{Redundancy, redundancy};
use crate::model::{Algorithm, App, AppKind, Site};
use crate::names::Role;
use crate::plan::{Config, Pool};

pub(super) const BALANCER: Component = Component {
    word: "balancer",
    aliases: &["loadbalancer", "lb", "balancers", "proxy"],
    title: "load balancer",
    what: "A load balancer takes every visitor's request and passes it to one of several web servers. It asks them all \
           the time how they are, leaves out the one that fails, and takes it back when it is well.",
    here: balancer,
};

fn balancer(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let (Some(balancer), Some(server)) = (&site.balancer, site.with_role(Role::Balancer).next()) else {
        return absent(
            "Visitors talk to the web servers directly. A balancer would spread them over several, so that one may fail \
             or be worked on: a server with the role `balancer`.",
        );
    };
    let who = names(site.with_role(Role::Balancer));
    let text = format!(
        "{who} {} requests to {}: {}.{}",
        verb(site.count(Role::Balancer), "pass"),
        names(site.with_role(Role::Web)),
        spread(balancer.algorithm, balancer.sticky),
        pool(scene, "balancer").map(health).unwrap_or_default()
    );
    let mut talks = vec![format!("visitors ask `balancer` by HTTP, port {}", site.ports.http)];
    talks.extend(scene.arrows.sentences("balancer", None));
    let notices = scene.notices(&["balancer."]);
    Here { who: Some(who), text, talks, fails: fails(scene, Role::Balancer, server), notices }
}

/// A role's sentence on failure.
fn fails(scene: &Scene<'_>, role: Role, server: &crate::model::Server) -> String {
    let loss = loss(scene.site, role, server);
    match redundancy(scene.site, role) {
        Redundancy::Single => format!("{} is the only one: when it fails, {loss}.", server.name),
        _ => format!("When {} fails, {loss}.", server.name),
    }
}

fn spread(how: Algorithm, sticky: bool) -> String {
    let stays = if sticky { "; a visitor stays with the one that answered first" } else { "" };
    format!("{}{stays}", algorithm(how))
}

fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RoundRobin => "to each in turn, by weight (round robin)",
        Algorithm::LeastConnections => "to the one with the fewest requests under way (least connections)",
        Algorithm::Fastest => "to the one that answers quickest (fastest)",
        Algorithm::Observed => "to the one with the least latency times requests under way (observed)",
        Algorithm::Predictive => {
            "to the one that should answer soonest, by its latency, its trend and the requests under way (predictive)"
        }
        Algorithm::ConsistentHash => "the same page to the same one unless it is too busy (consistent hash)",
        Algorithm::SourceHash => "the same visitor always to the same one (source hash)",
    }
}

/// The first pool of the first service of that kind.
fn pool<'s>(scene: &Scene<'s>, kind: &str) -> Option<&'s Pool> {
    let mut services = scene.plans.iter().flat_map(|plan| &plan.services);
    services.find_map(|service| match &service.config {
        Config::Balancer(balancer) if kind == "balancer" => Some(&balancer.pool),
        Config::Web(web) if kind == "web" => web.routes.first().map(|route| &route.pool),
        _ => None,
    })
}

fn health(pool: &Pool) -> String {
    let health = &pool.health;
    format!(
        " Every {} each of them is asked for {}: {} failures in a row take it out, {} successes in a row bring it back.",
        duration(health.interval_ms),
        health.path,
        health.fall,
        health.rise
    )
}

pub(super) const WEB: Component = Component {
    word: "web",
    aliases: &["webserver", "webservers", "http"],
    title: "web server",
    what: "A web server speaks HTTP. It sends files that never change, such as styles, scripts and images, by itself, and \
           forwards every other request to an application server.",
    here: web,
};

fn web(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let Some(server) = site.with_role(Role::Web).next() else {
        return absent("Nobody speaks HTTP here: a server with the role `web` would.");
    };
    let who = names(site.with_role(Role::Web));
    let count = site.count(Role::Web);
    let place = if site.front() == Role::Web { "the front door itself" } else { "behind the balancer" };
    let files = files(site);
    let kept = match site.web.cache {
        Some(_) => " Answers that the code marks as fresh are kept in memory and given again.",
        None => "",
    };
    let text = format!(
        "{who} {} {place} and {} requests to {}: {}.{files}{kept}{}",
        verb(count, "are"),
        verb(count, "forward"),
        names(site.with_role(Role::App)),
        spread(site.web.algorithm, site.web.sticky),
        pool(scene, "web").map(health).unwrap_or_default()
    );
    let mut talks = Vec::new();
    if site.front() == Role::Web {
        talks.push(format!("visitors ask `web` by HTTP, port {}", site.ports.http));
    }
    talks.extend(scene.arrows.sentences("web", None));
    Here { who: Some(who), text, talks, fails: fails(scene, Role::Web, server), notices: scene.notices(&["web."]) }
}

/// What comes from files.
fn files(site: &Site) -> String {
    let statics = || site.apps.iter().flat_map(|app| &app.statics);
    let prefixes: Vec<String> = statics().map(|(prefix, _)| prefix.clone()).collect();
    if prefixes.is_empty() {
        return String::new();
    }
    let mut text = format!(" What begins with {} comes from files.", list(&prefixes));
    for (prefix, folder) in statics() {
        if let Some(fallback) = &folder.fallback {
            text += &format!(
                " Pages below {prefix} that are no files are `{fallback}`, which finds its way in the browser."
            );
        }
    }
    text
}

pub(super) const APP: Component = Component {
    word: "app",
    aliases: &["application", "appserver", "applications", "codebase", "worker", "workers"],
    title: "application server",
    what: "An application server runs the site's own code: it makes the pages that depend on who asks and on what is in \
           the database.",
    here: app,
};

fn app(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let Some(server) = site.with_role(Role::App).next() else {
        return absent("Nobody runs code here: a server with the role `app` would.");
    };
    let who = names(site.with_role(Role::App));
    let apps: Vec<String> = site.apps.iter().map(running).collect();
    let verb = verb(site.count(Role::App), "run");
    let text = format!("{who} {verb} {}. A worker that ends or does not answer is started again.", list(&apps));
    let fails = fails(scene, Role::App, server);
    let talks = scene.arrows.sentences("app-", None);
    Here { who: Some(who), text, talks, fails, notices: Vec::new() }
}

/// `site (../examples/guestbook-flask, a wsgi application with 2 workers on each server)`
fn running(app: &App) -> String {
    let article = if matches!(app.kind, AppKind::Asgi { .. } | AppKind::Http { .. }) { "an" } else { "a" };
    let kind = app.kind.as_str();
    let workers = if app.workers == 1 { "1 worker".into() } else { format!("{} workers", app.workers) };
    let migrate = match &app.migrate {
        Some(command) => format!(", after `{command}` once per release"),
        None => String::new(),
    };
    format!("`{}` ({}, {article} {kind} application with {workers} on each server{migrate})", app.name, app.path)
}

pub(super) const CACHE: Component = Component {
    word: "cache",
    aliases: &["redis", "valkey", "caches"],
    title: "cache",
    what: "A cache keeps what is asked often in memory, so that the database is not asked for it each time.",
    here: cache,
};

fn cache(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let Some(server) = site.with_role(Role::Cache).next() else {
        return absent(
            "Every read goes to the database. A server with the role `cache` would take the most frequent ones off it.",
        );
    };
    let who = names(site.with_role(Role::Cache));
    let copies = names(site.with_role(Role::Cache).skip(1));
    let copies = if site.count(Role::Cache) > 1 {
        format!(" {copies} {} a copy.", verb(site.count(Role::Cache) - 1, "keep"))
    } else {
        String::new()
    };
    let mebibytes = site.cache.unwrap_or_default().memory_bytes >> 20;
    Here {
        text: format!(
            "{} runs Redis for the applications, which find it in REDIS_URL, each with a database of its own. It keeps {mebibytes} MiB, \
             then what was not used for longest goes; nothing is written to a disk.{copies}",
            server.name
        ),
        talks: scene.arrows.sentences("cache", None),
        fails: fails(scene, Role::Cache, server),
        notices: Vec::new(),
        who: Some(who),
    }
}

pub(super) const MONITOR: Component = Component {
    word: "monitor",
    aliases: &["monitoring", "monitors", "alerts", "dashboard"],
    title: "monitor",
    what: "A monitor collects from every server how it is (processor, memory, disk, services, logs), keeps it for later, \
           and tells people before visitors notice.",
    here: monitor,
};

fn monitor(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let (Some(monitor), Some(server)) = (&site.monitor, site.with_role(Role::Monitor).next()) else {
        return absent(
            "Visitors are the first to notice that the site is down, slow or full. A server with the role `monitor` would be.",
        );
    };
    let who = names(site.with_role(Role::Monitor));
    let alerts = match monitor.alerts_to.as_slice() {
        [] => "nobody: no `alerts-to` is declared".into(),
        destinations => list(destinations),
    };
    let days = monitor.retention.as_secs() / 86_400;
    let verb = verb(site.count(Role::Monitor), "watch");
    Here {
        text: format!(
            "{who} {verb} all {} servers, keeping history for {days} days. Alerts go to {alerts}.",
            site.servers.len()
        ),
        talks: vec!["every server tells the monitors how it is".into()],
        fails: fails(scene, Role::Monitor, server),
        notices: scene.notices(&["the role `monitor`"]),
        who: Some(who),
    }
}
