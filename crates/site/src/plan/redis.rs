//! Redis as a server runs it, and as an application finds it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::{App, Server, Site};
use crate::names::{AppName, Role, ServerName};

/// Numbered databases of each Redis. More applications than these would share one; a database that nobody uses costs a few
/// hundred bytes.
pub const DATABASES: u16 = 256;

/// Redis on one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redis {
    /// Redis' own listener; it binds this itself.
    pub address: SocketAddr,
    /// Bytes of keys and values.
    pub memory_bytes: u64,
    /// Whose content it keeps a copy of; `None`: it is the one that applications ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<(ServerName, SocketAddr)>,
}

/// How an application reaches its cache. The password comes from the server's secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppCache {
    /// Where Redis listens.
    pub address: SocketAddr,
    /// The numbered database that is this application's own, so that clearing it clears nobody else's.
    pub database: u16,
}

/// The Redis that applications ask: of the first server in the file that was not taken out.
pub(super) fn primary(site: &Site) -> Option<(ServerName, SocketAddr)> {
    site.in_use(Role::Cache).next().map(|server| (server.name.clone(), at(site, server)))
}

/// What `server` runs.
pub(super) fn redis(site: &Site, server: &Server) -> Redis {
    let follows = primary(site).filter(|(name, _)| *name != server.name);
    Redis { address: at(site, server), memory_bytes: site.cache.unwrap_or_default().memory_bytes, follows }
}

/// Where `app` finds its cache, if there is one.
pub(super) fn app_cache(site: &Site, app: &App) -> Option<AppCache> {
    primary(site).map(|(_, address)| AppCache { address, database: database(&site.apps, &app.name) })
}

fn at(site: &Site, server: &Server) -> SocketAddr {
    SocketAddr::new(server.address, site.ports.cache)
}

/// By its name, so that another application that comes or goes does not give it a stranger's values. Of two that would have the
/// same, the second in the alphabet has the next one that is free.
fn database(apps: &[App], name: &AppName) -> u16 {
    let names: BTreeSet<&AppName> = apps.iter().map(|app| &app.name).collect();
    let mut taken = BTreeSet::new();
    for app in names {
        let first = hash(app.as_str());
        let free = (0..DATABASES).map(|step| (first + step) % DATABASES).find(|it| !taken.contains(it));
        let free = free.unwrap_or(first);
        if app == name {
            return free;
        }
        taken.insert(free);
    }
    0
}

/// FNV-1a (draft-eastlake-fnv), of which one number in [`DATABASES`] is kept.
fn hash(text: &str) -> u16 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash % u32::from(DATABASES)) as u16
}

#[cfg(test)]
mod tests {
    use crate::declaration::{Anywhere, parse};
    use crate::names::Generation;
    use crate::plan::{Config, Plan, derive};

    fn plans(more: &str) -> Vec<Plan> {
        let text = format!(
            "format = 1\n[site]\ndomain = \"foobar.com\"\n{more}\n\
             [servers.s1]\naddress = \"10.0.0.1\"\nroles = [\"web\", \"app\"]\n\
             [servers.c1]\naddress = \"10.0.0.2\"\nroles = [\"cache\"]\n\
             [servers.c2]\naddress = \"10.0.0.3\"\nroles = [\"cache\"]\n"
        );
        let site = parse(&text, &Anywhere).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        derive(&site, &[], Generation(1))
    }

    fn app(name: &str) -> String {
        format!("[apps.{name}]\npath = \".\"\nkind = \"wsgi\"\nentry = \"a:b\"\nhost = \"{name}.foobar.com\"\n")
    }

    fn databases(plans: &[Plan]) -> Vec<(String, u16)> {
        let service = |service: &crate::plan::Service| match &service.config {
            Config::App(app) => app.cache.map(|cache| (app.app.to_string(), cache.database)),
            _ => None,
        };
        plans.iter().flat_map(|plan| &plan.services).filter_map(service).collect()
    }

    #[test]
    fn the_first_is_asked_and_the_second_follows_it() {
        let plans = plans(&format!("[cache]\nmemory = \"32 MiB\"\n{}", app("shop")));
        let redis = |plan: &Plan| match &plan.services[0].config {
            Config::Cache(redis) => redis.clone(),
            other => panic!("{other:?}"),
        };
        let (first, second) = (redis(&plans[1]), redis(&plans[2]));
        assert_eq!((first.memory_bytes, first.follows), (32 << 20, None));
        assert_eq!(second.follows, Some(("c1".into(), first.address)));
        let talks: Vec<_> = plans[0].services.iter().flat_map(|service| &service.talks).map(|it| it.address).collect();
        assert!(talks.contains(&first.address) && !talks.contains(&second.address), "{talks:?}");
    }

    #[test]
    fn each_application_has_a_database_that_others_do_not_move() {
        let few = databases(&plans(&format!("{}{}", app("blog"), app("shop"))));
        let more = databases(&plans(&format!("{}{}{}", app("blog"), app("forum"), app("shop"))));
        assert!(few.len() == 2 && few.iter().all(|one| more.contains(one)), "{few:?} {more:?}");
        let many: String = (0..60).map(|number| app(&format!("a{number}"))).collect();
        let numbers: std::collections::BTreeSet<u16> = databases(&plans(&many)).into_iter().map(|(_, it)| it).collect();
        assert_eq!(numbers.len(), 60);
    }
}
