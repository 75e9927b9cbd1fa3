//! What must hold of every site's plans. The designs' own are golden files.

use std::collections::BTreeSet;

use super::*;
use crate::declaration::{Anywhere, parse};
use crate::draw::tests::tier;
use crate::model::{Codebase, Per, Rate, Site};

fn plans(site: &Site) -> Vec<Plan> {
    let codebase = |app: &crate::model::App| Codebase::new(&app.name, &"0123456789ab".into());
    derive(site, &site.apps.iter().map(codebase).collect::<Vec<_>>(), Generation(7))
}

fn one_server(apps: &str) -> Site {
    let file = format!(
        "format = 1\n[site]\ndomain = \"foobar.com\"\n{apps}\n[servers.s]\naddress = \"10.0.0.1\"\n\
         roles = [\"dns\", \"balancer\", \"web\", \"app\", \"database\"]\n"
    );
    parse(&file, &Anywhere).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn many_apps(count: usize) -> Site {
    let app = |number| {
        format!("[apps.a{number}]\npath = \"x\"\nkind = \"http\"\ncommand = \"x\"\nhost = \"a{number}.foobar.com\"\n")
    };
    one_server(&(0..count).map(app).collect::<String>())
}

/// Every socket of a site: with the server where each server has addresses of its own, without on one machine.
fn sockets(plans: &[Plan], one_machine: bool) -> Vec<(Option<ServerName>, Transport, SocketAddr)> {
    let server = |plan: &Plan| (!one_machine).then(|| plan.server.clone());
    let mut all = Vec::new();
    for plan in plans {
        for service in &plan.services {
            all.extend(service.listens.iter().map(|listen| (server(plan), listen.transport, listen.address)));
            if let Config::Database(database) = &service.config {
                all.push((server(plan), Transport::Tcp, database.address));
            }
            if let Config::Cache(redis) = &service.config {
                all.push((server(plan), Transport::Tcp, redis.address));
            }
            if let Config::Store(store) = &service.config {
                let own = store.member(&plan.server).unwrap();
                all.extend([own.client, own.peer].map(|address| (server(plan), Transport::Tcp, address)));
            }
        }
    }
    all
}

/// What must be true of the plans of any valid site.
pub(crate) fn assert_sound(site: &Site) {
    for (site, one_machine) in [(site.clone(), false), (site.on_loopback(), true)] {
        let plans = plans(&site);
        let addresses: BTreeSet<IpAddr> = site.servers.iter().map(|server| server.address.to_canonical()).collect();
        assert_eq!(addresses.len(), site.servers.len(), "two servers share an address");
        let all = sockets(&plans, one_machine);
        let distinct: BTreeSet<String> = all.iter().map(|socket| format!("{socket:?}")).collect();
        assert_eq!(distinct.len(), all.len(), "a socket is bound twice: {all:?}");
        // ## On loopback nothing needs a privilege
        let local = |address: &SocketAddr| address.ip().is_loopback() && address.port() >= 1024;
        assert!(!one_machine || all.iter().all(|(_, _, address)| local(address)), "{all:?}");
        assert!(!one_machine || site.public_addresses().iter().all(IpAddr::is_loopback));
        plans.iter().for_each(|plan| assert_flows(plan, &plans));
        plans.iter().flat_map(|plan| &plan.services).for_each(assert_paths);
        assert_eq!(plans, self::plans(&site), "the same site gives the same plans");
    }
}

/// Every flow ends where somebody listens.
fn assert_flows(plan: &Plan, plans: &[Plan]) {
    for flow in plan.services.iter().flat_map(|service| &service.talks) {
        let there: Vec<Plan> = plans.iter().filter(|plan| plan.server == flow.server).cloned().collect();
        let listens = |(_, transport, address): &(_, Transport, SocketAddr)| {
            *transport == Transport::Tcp && *address == flow.address
        };
        assert!(sockets(&there, false).iter().any(listens), "{flow:?}");
        assert!(there[0].service(&flow.service).is_some(), "{flow:?}");
    }
}

/// Every path stays below the state directory, and no two are the same.
fn assert_paths(service: &Service) {
    let distinct = |paths: &[&String]| paths.iter().collect::<BTreeSet<_>>().len() == paths.len();
    let below = |path: &&String| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let writes: Vec<&String> = service.writes.iter().collect();
    assert!(distinct(&writes) && writes.iter().all(below), "{writes:?}");
    let Config::Web(web) = &service.config else { return };
    for route in &web.routes {
        assert!(route.statics.iter().map(|it| &it.folder).all(|folder| below(&folder)), "{:?}", route.statics);
        let prefixes: Vec<&String> = route.statics.iter().map(|it| &it.prefix).collect();
        assert!(distinct(&prefixes) && prefixes.iter().all(|it| it.starts_with(&route.prefix)), "{prefixes:?}");
        let longer = route.statics.is_sorted_by_key(|it| std::cmp::Reverse(it.prefix.len()));
        assert!(longer, "the longest prefix comes first: {prefixes:?}");
    }
}

#[test]
fn plans_are_sound() {
    let cluster = "[balancer]\ncluster = { address = \"10.99.0.1\" }\n";
    for site in [
        many_apps(200),
        tier("", &[("all", 1, "dns web app database")]),
        tier("", &[("lb", 2, "dns balancer web"), ("s", 30, "web app database")]),
        tier(cluster, &[("lb", 2, "dns balancer"), ("s", 3, "web app database")]),
    ] {
        assert_sound(&site);
    }
}

#[test]
fn services_start_from_the_bottom() {
    let plans = plans(&one_server("[app]\npath = \"x\"\nkind = \"wsgi\"\nentry = \"a:b\""));
    let names: Vec<&str> = plans[0].services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["database", "sql", "app-site", "web", "balancer", "dns"]);
}

#[test]
fn visitors_stay_where_it_is_declared() {
    let app = "[app]\npath = \"x\"\nkind = \"wsgi\"\nentry = \"a:b\"\n";
    for (extra, cookies) in [
        ("", [None, None]),
        ("[balancer]\nsticky = true", [Some("mainstay-web"), None]),
        ("[web]\nsticky = true", [None, Some("mainstay-app")]),
    ] {
        let plans = plans(&one_server(&format!("{app}{extra}")));
        let config = |name: &str| plans[0].service(&name.into()).map(|service| &service.config);
        let (Some(Config::Balancer(balancer)), Some(Config::Web(web))) = (config("balancer"), config("web")) else {
            panic!("no balancer or web");
        };
        assert_eq!([balancer.pool.sticky.as_deref(), web.routes[0].pool.sticky.as_deref()], cookies);
    }
}

#[test]
fn php_serves_its_root_but_not_its_code() {
    let app = "[apps.blog]\npath = \"x\"\nkind = \"php\"\nentry = \"index.php\"\nroute = \"/blog/\"\n\
               shared = [\"wp-content/uploads\"]\nstatic = { \"/blog/assets/\" = \"dist\" }";
    let plans = plans(&one_server(app));
    let Some(Config::Web(web)) = plans[0].service(&"web".into()).map(|service| service.config.clone()) else {
        panic!("no web");
    };
    let statics = &web.routes[0].statics;
    let told: Vec<(&str, &str, bool)> =
        statics.iter().map(|it| (it.prefix.as_str(), it.folder.as_str(), it.fall_through)).collect();
    assert_eq!(
        told,
        [
            ("/blog/wp-content/uploads/", "shared/blog/wp-content/uploads", true),
            ("/blog/assets/", "releases/blog-0123456789ab/code/dist", false),
            ("/blog/", "releases/blog-0123456789ab/code", true),
        ]
    );
    assert!(statics.iter().all(|it| it.never.contains(&".php".into())), "no folder shows its code: {statics:?}");
}

/// A front end of files and an interface of code, the usual single-page application.
#[test]
fn a_folder_beside_the_applications_route_has_a_route_of_its_own() {
    let app = "[apps.api]\npath = \"x\"\nkind = \"wsgi\"\nentry = \"a:b\"\nroute = \"/api/\"\n\
               static = { \"/\" = { folder = \"dist\", fallback = \"index.html\", cache-control = \"max-age=60\" }, \
               \"/api/docs/\" = \"docs\" }";
    let plans = plans(&one_server(app));
    let Some(Config::Web(web)) = plans[0].service(&"web".into()).map(|service| service.config.clone()) else {
        panic!("no web");
    };
    let told: Vec<(&str, Vec<&str>)> = web
        .routes
        .iter()
        .map(|route| (route.prefix.as_str(), route.statics.iter().map(|it| it.prefix.as_str()).collect()))
        .collect();
    assert_eq!(told, [("/api/", vec!["/api/docs/"]), ("/", vec!["/"])]);
    let front = &web.routes[1].statics[0];
    assert_eq!((front.fall_through, front.fallback.as_deref()), (false, Some("index.html")));
    assert_eq!(front.cache_control.as_deref(), Some("max-age=60"));
    assert_eq!(web.routes[0].pool, web.routes[1].pool, "one pool, checked once");
}

#[test]
fn a_balancer_keeps_answers_only_where_it_is_asked_to() {
    let cache = |declared: &str| {
        let plans = plans(&tier(&format!("[balancer]\n{declared}\n"), &[("lb", 1, "balancer"), ("s", 1, "web app")]));
        let Some(Config::Balancer(it)) = plans[0].service(&"balancer".into()).map(|it| it.config.clone()) else {
            panic!("no balancer");
        };
        it.cache.map(|cache| cache.memory_bytes)
    };
    assert_eq!(cache(""), None);
    assert_eq!(cache("cache = true"), Some(64 << 20));
    assert_eq!(cache("cache = { memory = \"1 GiB\" }"), Some(1 << 30));
}

/// The plans grow with the pools that they hold and with nothing else.
#[test]
fn a_thousand_servers_know_only_whom_they_ask() {
    let site = tier("", &[("lb", 2, "dns balancer"), ("web", 298, "web"), ("app", 690, "app"), ("db", 10, "database")]);
    let flows = plans(&site).iter().flat_map(|plan| &plan.services).map(|service| service.talks.len()).sum::<usize>();
    let (to_web, to_app, to_sql, to_database, replication) = (2 * 298, 298 * 690, 690 * 3, 690 * 10, 9);
    // Three have a vote: two ask the others, all SQL endpoints and databases ask all three.
    let votes = 3 * 2 + (690 + 10) * 3;
    assert_eq!(flows, to_web + to_app + to_sql + to_database + replication + votes);
}

/// Nobody is sent to a certificate that browsers warn of unless the owner says so; the front door alone does it.
#[test]
fn plain_http_is_sent_on_where_the_certificate_is_trusted() {
    let sent = |tls: &str, published| {
        let mut site = tier(&format!("[tls]\n{tls}\n"), &[("lb", 1, "balancer"), ("s", 1, "web app")]);
        site.ports.published = published;
        let plans = plans(&site);
        let doors = plans.iter().flat_map(|plan| &plan.services).filter_map(|service| match &service.config {
            Config::Balancer(balancer) => Some(balancer.door.clone()),
            Config::Web(web) => Some(web.door.clone()),
            _ => None,
        });
        let mut doors: Vec<Door> = doors.collect();
        let inner = doors.remove(1);
        assert_eq!((inner.https, inner.redirects, inner.hsts_seconds), (false, Vec::new(), None));
        let pairs = doors[0].redirects.iter().map(|one| (one.http, one.https)).collect::<Vec<_>>();
        (pairs, doors[0].hsts_seconds)
    };
    let own = "certificate = { certificate = \"a\", key = \"b\" }";
    let said = format!("{own}\nhsts = \"1d\"");
    assert_eq!(sent("certificate = \"self-signed\"", None), (vec![], None));
    assert_eq!(sent("certificate = \"acme\"", None), (vec![], None));
    assert_eq!(sent(own, None), (vec![(80, 443)], None));
    assert_eq!(sent(&said, Some((8080, 8443))), (vec![(8080, 8443), (80, 443)], Some(86_400)));
    assert_eq!(sent(&format!("{own}\nredirect = false"), None), (vec![], None));
    assert_eq!(sent("certificate = \"self-signed\"\nredirect = true", None), (vec![(80, 443)], None));
}

/// Limits are the front door's, whichever role that is: behind it one address stands for all visitors.
#[test]
fn only_the_front_door_limits() {
    let limits = "[limits]\nconnections-per-address = 9\n\
                  rates = [{ per = \"key\", header = \"X-Key\", rate = \"5/m\", route = \"/a/\" }]\n[web]\nlog = \"combined\"\n";
    let rate = Rate {
        per: Per::Key { header: "x-key".into() },
        host: None,
        prefix: "/a/".into(),
        requests: 5,
        seconds: 60,
        burst: 5,
        ban: None,
    };
    let declared = Limits { address_connections_max: Some(9), rates: vec![rate] };
    let doors = |tiers: &[(&str, usize, &str)]| {
        let plans = plans(&tier(limits, tiers));
        let door = |service: &Service| match &service.config {
            Config::Balancer(balancer) => Some(("balancer", balancer.door.clone())),
            Config::Web(web) => Some(("web", web.door.clone())),
            _ => None,
        };
        plans.iter().flat_map(|plan| plan.services.iter().filter_map(door).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let said = |doors: &[(&str, Door)]| -> Vec<(String, bool, LogFormat, usize)> {
        let one =
            |(name, door): &(&str, Door)| (name.to_string(), door.limits == declared, door.log, door.observers.len());
        doors.iter().map(one).collect()
    };
    assert_eq!(said(&doors(&[("all", 1, "web app")])), [("web".into(), true, LogFormat::Combined, 1)]);
    let two = doors(&[("lb", 1, "balancer"), ("s", 1, "web app")]);
    assert_eq!(two[1].1.limits, Limits::default());
    assert_eq!(
        said(&two),
        [("balancer".into(), true, LogFormat::Json, 2), ("web".into(), false, LogFormat::Combined, 2)]
    );
}
