//! A site in every state, for the page's tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mainstay_site::declaration::{Anywhere, parse};
use mainstay_site::names::{Generation, Role};
use mainstay_site::plan::Notice;
use mainstay_site::wire::{Part, Report, ServerStatus, ServiceStatus, State};

use super::{Overview, Page, Sight};

/// When the sample was seen.
const NOW: u64 = 1_795_226_400_000;

const DECLARATION: &str = r#"
format = 1
[site]
domain = "foobar.com"
[app]
path = "."
kind = "wsgi"
entry = "guestbook:app"
[balancer]
algorithm = "round-robin"
[database]
durability = "semi-sync"
[tls]
certificate = "self-signed"
[servers.lb1]
address = "10.80.0.10"
roles = ["dns", "balancer"]
[servers.server1]
address = "10.80.0.11"
roles = ["web", "app", "database"]
[servers.server2]
address = "10.80.0.12"
roles = ["web", "app", "database"]
[servers.server3]
address = "10.80.0.13"
roles = ["web", "app"]
"#;

/// Two servers of three serve, one of them not well; the third is not there.
pub fn page() -> Page {
    let site = Arc::new(parse(DECLARATION, &Anywhere).expect("the sample is valid"));
    let servers = vec![
        sight("lb1", &[("dns", Role::Dns), ("balancer", Role::Balancer)]),
        sight(
            "server1",
            &[("web", Role::Web), ("app-site", Role::App), ("sql", Role::App), ("database", Role::Database)],
        ),
        unwell(sight("server2", &[("web", Role::Web), ("app-site", Role::App), ("database", Role::Database)])),
        Sight {
            state: State::Failed,
            because: "no supervisor answers on …/server3/control.sock: <script>alert(1)</script>".into(),
            status: None,
            requests_per_second: BTreeMap::new(),
            ..sight("server3", &[])
        },
    ];
    let servers = servers.into_iter().zip(&site.servers).map(|(mut sight, server)| {
        (sight.address, sight.roles) = (server.address, server.roles.clone());
        sight
    });
    let overview = Overview::new(&site, NOW, servers.collect());
    let links = [("Site", "http://www.foobar.localhost:8080/"), ("Names", "dig @127.0.0.1 -p 5300 www.foobar.com")];
    Page {
        findings: mainstay_site::findings::findings(&site).into(),
        links: links.map(|(what, address)| (what.to_owned(), address.to_owned())).into(),
        latest: Arc::new(ArcSwap::from_pointee(overview)),
        site,
    }
}

fn sight(server: &str, services: &[(&str, Role)]) -> Sight {
    let status = ServerStatus {
        upgrading: false,
        format: 1,
        site: "foobar.com".into(),
        server: server.into(),
        generation: Generation(7),
        version: "0.1.0".into(),
        pid: 2,
        since_ms: NOW - 3_700_000,
        services: services.iter().map(|(name, role)| service(name, *role)).collect(),
        notices: vec![Notice {
            declared: "[tls] certificate = \"self-signed\"".into(),
            instead: "HTTPS is not served: the site answers HTTP only".into(),
        }],
    };
    let (state, because) = Sight::judge(&status);
    let counting = services.iter().filter(|(name, _)| ["balancer", "web"].contains(name));
    Sight {
        server: server.into(),
        address: [127, 0, 0, 1].into(),
        roles: Vec::new(),
        state,
        because,
        requests_per_second: counting.map(|(name, _)| ((*name).into(), 1_234.5)).collect(),
        status: Some(status),
    }
}

fn service(name: &str, role: Role) -> ServiceStatus {
    let parts = match name {
        "balancer" => vec![
            part("server1", State::Serving, "2 checks in a row succeeded"),
            part("server2", State::Serving, "2 checks in a row succeeded"),
            part("server3", State::Failed, "10.80.0.13:8080: connection timed out"),
        ],
        "app-site" => {
            vec![part("worker 0", State::Serving, "answers /"), part("worker 1", State::Serving, "answers /")]
        }
        "database" => vec![part("mariadbd", State::Serving, "accepts connections")],
        _ => Vec::new(),
    };
    let facts =
        if name == "database" { vec![("replica".to_owned(), "0.0 s behind server1".to_owned())] } else { Vec::new() };
    ServiceStatus {
        name: name.into(),
        role,
        state: State::Serving,
        since_ms: NOW - 3_699_000,
        because: "every listener is open".into(),
        pid: Some(17),
        restarts: 0,
        rss_bytes: 12_345_678,
        report: Some(Report { state: State::Serving, because: String::new(), facts, parts, counters: BTreeMap::new() }),
    }
}

fn part(name: &str, state: State, because: &str) -> Part {
    Part { name: name.into(), state, since_ms: NOW - 61_000, because: because.into(), pid: None }
}

fn unwell(mut sight: Sight) -> Sight {
    if let Some(app) = sight.status.as_mut().and_then(|status| status.services.get_mut(1)) {
        app.state = State::Degraded;
        app.because = "worker 1 ended with code 1: ModuleNotFoundError: No module named 'flask'; see `mainstay logs server2 app-site`".into();
        app.restarts = 4;
        if let Some(part) = app.report.as_mut().and_then(|report| report.parts.get_mut(1)) {
            part.state = State::Failed;
            part.because = "ended with code 1; tried again in 4 s".into();
        }
    }
    if let Some(status) = &sight.status {
        (sight.state, sight.because) = Sight::judge(status);
    }
    sight
}
