//! [`Site`] → one [`Plan`] per server.

mod data;
pub use data::store_members;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::redis::{app_cache, primary};
use super::vip::vip;
use super::{
    App, AppDatabase, Backend, Balancer, Config, Dns, Door, Flow, Health, Hook, Listen, NEVER_SENT, Plan, Pool,
    Redirect, Route, Service, Static, Transport, Web,
};
use crate::findings::notices;
use crate::firewall::openings;
use crate::model::{self, Algorithm, AppKind, Codebase, FORMAT, Limits, LogFormat, Server, Site, Speaks, Tls};
use crate::names::{Generation, HOOK_USER, ReleaseId, Role, ServerName, ServiceName, VIP_USER};

/// The path that every tier answers by itself.
const HEALTH_PATH: &str = "/.mainstay/health";

/// Seconds that resolvers may keep the site's own records: five minutes, so that a change is everywhere soon and a busy
/// resolver asks twelve times an hour.
const TTL: u32 = 300;

/// And where an address is withdrawn when nobody holds it: nobody is to be sent there for longer than he would wait.
const FLOATING_TTL: u32 = 30;

/// The plan of every server, in the order of the file. The same arguments give the same plans.
///
/// `codebases` names the release of each application; one that is missing is planned as the release `unreleased`, which
/// no server can start.
pub fn derive(site: &Site, codebases: &[Codebase], generation: Generation) -> Vec<Plan> {
    let notices = notices(site);
    let tiers = Tiers { site, codebases, generation, databases: site.with_role(Role::Database).collect() };
    let plan = |server: &Server| Plan {
        format: FORMAT,
        generation,
        site: site.domain.clone(),
        server: server.name.clone(),
        address: server.address,
        store: tiers.endpoints(),
        firewall: openings(site, server),
        services: tiers.services(server),
        notices: notices.clone(),
    };
    site.servers.iter().map(plan).collect()
}

/// What every server's plan draws on.
struct Tiers<'s> {
    site: &'s Site,
    codebases: &'s [Codebase],
    generation: Generation,
    databases: Vec<&'s Server>,
}

impl Tiers<'_> {
    /// From the bottom of the drawing to its top, so that nobody is started before those it asks.
    fn services(&self, server: &Server) -> Vec<Service> {
        let mut services: Vec<Service> = self.store(server).into_iter().collect();
        for role in [Role::Database, Role::Cache, Role::App, Role::Web, Role::Balancer, Role::Dns] {
            if !server.has(role) {
                continue;
            }
            match role {
                Role::Database => services.push(self.database(server)),
                Role::Cache => services.push(self.cache(server)),
                Role::App => {
                    services.extend((!self.databases.is_empty()).then(|| self.sql(server)));
                    services.extend(self.site.apps.iter().enumerate().map(|(place, app)| self.app(place, app, server)));
                }
                Role::Web => services.push(self.web(server)),
                Role::Balancer => {
                    services.extend([Some(self.balancer(server)), self.vip(server), self.hook()].into_iter().flatten())
                }
                _ => services.push(self.dns(server)),
            }
        }
        services
    }

    fn dns(&self, server: &Server) -> Service {
        let at = SocketAddr::new(server.address, self.site.ports.dns);
        let listen =
            |transport| Listen { name: "dns".into(), transport, address: at, per_core: false, floating: false };
        let servers = self.site.with_role(Role::Dns).enumerate();
        // One address alone would be answered even if nobody held it: there is no other to send visitors to.
        let several = self.site.cluster().filter(|cluster| cluster.addresses.len() > 1);
        let watched = several.into_iter().flat_map(|cluster| &cluster.addresses);
        let watched: Vec<_> = watched.map(|address| SocketAddr::new(*address, self.site.ports.http)).collect();
        let config = Dns {
            zone: self.site.domain.clone(),
            www: self.site.www,
            // RFC 1982: serial numbers wrap; 2^32 edits are beyond any site.
            serial: self.generation.0 as u32,
            addresses: self.site.public_addresses(),
            name_servers: servers.map(|(n, it)| (format!("ns{}.{}", n + 1, self.site.domain), it.address)).collect(),
            hosts: self
                .site
                .servers
                .iter()
                .map(|it| (format!("{}.{}", it.name, self.site.domain), it.address))
                .collect(),
            records: self.site.records.clone(),
            ttl: if watched.is_empty() { TTL } else { FLOATING_TTL },
            watched,
        };
        let listens = vec![listen(Transport::Udp), listen(Transport::Tcp)];
        service("dns", Role::Dns, listens, Vec::new(), Config::Dns(config))
    }

    fn balancer(&self, server: &Server) -> Service {
        let how =
            self.site.balancer.as_ref().map_or_else(Default::default, |it| (it.algorithm, it.sticky, it.hedge_ms));
        let pool = self.pool("web", Role::Web, self.web_port(), how);
        let talks = flows(&pool, "web", "HTTP");
        let floating = self.site.cluster().into_iter().flat_map(|cluster| &cluster.addresses);
        let floating = floating.flat_map(|address| self.doors(*address));
        let floating = floating.map(|listen| Listen { floating: true, ..listen });
        let listens = self.doors(server.address).into_iter().chain(floating).chain(self.limits(server)).collect();
        let door = self.door(Some(server), self.site.balancer.as_ref().map_or_else(Default::default, |it| it.log));
        let cache = self.site.balancer.as_ref().and_then(|it| it.cache);
        service("balancer", Role::Balancer, listens, talks, Config::Balancer(Balancer { pool, door, cache }))
    }

    /// Started after the proxy and ended before it: the address goes where somebody answers.
    fn vip(&self, server: &Server) -> Option<Service> {
        let config = Config::Vip(vip(self.site, self.site.cluster()?, server));
        let service = service("vip", Role::Balancer, Vec::new(), Vec::new(), config);
        Some(Service { user: VIP_USER, writes: vec!["data/vip".into()], ..service })
    }

    /// Beside `vip`, and with nothing of it: what it does may take long or fail.
    fn hook(&self) -> Option<Service> {
        let cluster = self.site.cluster()?;
        let config = Config::Hook(Hook { program: cluster.hook.clone()?, addresses: cluster.addresses.clone() });
        let service = service("hook", Role::Balancer, Vec::new(), Vec::new(), config);
        Some(Service { user: HOOK_USER, ..service })
    }

    /// Where a door hears what others have admitted.
    fn limits(&self, server: &Server) -> Option<Listen> {
        let address = self.limits_address(server);
        let several = !self.site.limiters().is_empty();
        several.then(|| Listen {
            name: "limits".into(),
            transport: Transport::Udp,
            address,
            per_core: false,
            floating: false,
        })
    }

    fn limits_address(&self, server: &Server) -> SocketAddr {
        SocketAddr::new(server.address, self.site.ports.limits)
    }

    /// How `visited`, if visitors come there, and otherwise a tier behind it, is a door.
    fn door(&self, visited: Option<&Server>, log: LogFormat) -> Door {
        let front = visited.is_some();
        let others = self.site.limiters().into_iter().filter(|it| visited.is_some_and(|own| own.name != it.name));
        let fellows = others.map(|it| (it.name.clone(), self.limits_address(it))).collect();
        let limits = if front { self.site.limits.clone() } else { Limits::default() };
        let observers = self.site.servers.iter().map(|server| server.address).collect();
        let calls = self.site.apps.iter().any(|app| app.kind.speaks() == Speaks::Http2);
        let tls = self.site.tls.as_ref().filter(|_| front);
        let redirects = if tls.is_some_and(Tls::redirects) { self.redirects() } else { Vec::new() };
        let hsts_seconds = tls.and_then(|tls| tls.hsts_seconds);
        Door { limits, log, observers, https: tls.is_some(), calls, redirects, fellows, hsts_seconds }
    }

    /// Those that were published come first: where they are the same, that is how visitors come.
    fn redirects(&self) -> Vec<Redirect> {
        let ports = &self.site.ports;
        let all = ports.published.into_iter().chain([(ports.http, ports.https)]);
        all.map(|(http, https)| Redirect { http, https }).collect()
    }

    /// Where visitors knock.
    fn doors(&self, address: IpAddr) -> Vec<Listen> {
        let https = || Listen { name: "https".into(), ..http(address, self.site.ports.https) };
        [http(address, self.site.ports.http)].into_iter().chain(self.site.tls.is_some().then(https)).collect()
    }

    fn web(&self, server: &Server) -> Service {
        let front = self.site.front() == Role::Web;
        let how = (self.site.web.algorithm, self.site.web.sticky, self.site.web.hedge_ms);
        let mut talks = Vec::new();
        let mut routes = Vec::new();
        for (place, app) in self.site.apps.iter().enumerate() {
            let name = app_service(app);
            let pool = self.pool(&name, Role::App, self.site.ports.app_at(place), how);
            talks.extend(flows(&pool, &name, "HTTP"));
            let (within, beside) = self.statics(app).into_iter().partition(|it| it.prefix.starts_with(&app.prefix));
            let route = |prefix: &str, statics| Route {
                app: app.name.clone(),
                host: app.host.clone(),
                prefix: prefix.into(),
                statics,
                pool: pool.clone(),
            };
            routes.push(route(&app.prefix, within));
            routes.extend(Vec::into_iter(beside).map(|it: Static| route(&it.prefix.clone(), vec![it])));
        }
        // As the applications are sorted: a host beats any host, a longer prefix a shorter.
        routes.sort_by_key(|route| (route.host.is_none(), std::cmp::Reverse(route.prefix.len())));
        let listens = if front {
            self.doors(server.address).into_iter().chain(self.limits(server)).collect()
        } else {
            vec![http(server.address, self.site.ports.web)]
        };
        let (door, cache) = (self.door(front.then_some(server), self.site.web.log), self.site.web.cache);
        service("web", Role::Web, listens, talks, Config::Web(Web { front, routes, door, cache }))
    }

    fn web_port(&self) -> u16 {
        if self.site.front() == Role::Web { self.site.ports.http } else { self.site.ports.web }
    }

    fn pool(&self, name: &str, role: Role, port: u16, (algorithm, sticky, hedge_ms): How) -> Pool {
        let backend = |server: &Server| Backend {
            name: server.name.clone(),
            address: SocketAddr::new(server.address, port),
            weight: server.weight,
            spare: server.spare,
        };
        let backends = self.site.in_use(role).map(backend).collect();
        // One for all applications: they run on the same servers.
        let sticky = sticky.then(|| format!("mainstay-{role}"));
        Pool { name: name.into(), algorithm, backends, health: health(HEALTH_PATH), sticky, hedge_ms }
    }

    /// Longest prefix first.
    fn statics(&self, app: &model::App) -> Vec<Static> {
        let (code, before) = (self.code(app), self.code_before(app));
        let php = matches!(app.kind, AppKind::Php { .. });
        let never = if php { NEVER_SENT.map(String::from).to_vec() } else { Vec::new() };
        let at = |prefix: String, folder: String, fall_through| Static {
            prefix,
            folder,
            before: None,
            fall_through,
            never: never.clone(),
            fallback: None,
            cache_control: None,
        };
        let declared = app.statics.iter().map(|(prefix, folder)| Static {
            fallback: folder.fallback.clone(),
            cache_control: folder.cache_control.clone(),
            before: before.as_ref().map(|before| format!("{before}/{}", folder.path)),
            ..at(prefix.clone(), format!("{code}/{}", folder.path), false)
        });
        let mut statics: Vec<Static> = declared.collect();
        if php {
            // What the code writes lies outside the release, where the document root's links must not lead. What is not
            // on this server may be on the application's.
            let shared = app.shared.iter().map(|path| (format!("{}{path}/", app.prefix), shared(app, path)));
            statics.extend(shared.map(|(prefix, folder)| at(prefix, folder, true)));
            statics.push(Static { before: before.clone(), ..at(app.prefix.clone(), code, true) });
        }
        // What is declared comes before what is added.
        statics.sort_by(|one, other| (other.prefix.len(), &one.prefix).cmp(&(one.prefix.len(), &other.prefix)));
        statics.dedup_by(|later, earlier| later.prefix == earlier.prefix);
        statics
    }

    fn release(&self, app: &model::App) -> ReleaseId {
        let known = self.codebases.iter().find(|codebase| codebase.app == app.name);
        known.map_or_else(|| "unreleased".into(), |codebase| codebase.release.clone())
    }

    fn folder(&self, app: &model::App) -> String {
        format!("releases/{}-{}", app.name, self.release(app))
    }

    fn code(&self, app: &model::App) -> String {
        format!("{}/code", self.folder(app))
    }

    /// Of the release before.
    fn code_before(&self, app: &model::App) -> Option<String> {
        let known = self.codebases.iter().find(|codebase| codebase.app == app.name);
        Some(format!("releases/{}-{}/code", app.name, known?.before.as_ref()?))
    }

    fn app(&self, place: usize, app: &model::App, server: &Server) -> Service {
        let name = app_service(app);
        let python = matches!(app.kind, AppKind::Wsgi { .. } | AppKind::Asgi { .. });
        let own = loopback(server.address);
        let ports = &self.site.ports;
        let database = (!self.databases.is_empty()).then(|| AppDatabase {
            writer: SocketAddr::new(own, ports.sql_writer),
            reader: SocketAddr::new(own, ports.sql_reader),
            fresh: Some(SocketAddr::new(own, ports.sql_fresh)),
            schema: schema(app),
        });
        let endpoints = database.iter().flat_map(|it| [Some(it.writer), Some(it.reader), it.fresh]).flatten();
        let cache = primary(self.site).map(|(name, address)| cache_flow(&name, address, "Redis"));
        let talks = endpoints.map(|address| flow(server, "sql", address, "MySQL")).chain(cache).collect();
        let mut writes: Vec<String> = vec![format!("data/{name}")];
        writes.extend(app.shared.iter().map(|path| shared(app, path)));
        let config = App {
            app: app.name.clone(),
            kind: app.kind.clone(),
            release: self.release(app),
            code: self.code(app),
            prefix: app.prefix.clone(),
            venv: python.then(|| format!("{}/venv", self.folder(app))),
            workers: app.workers,
            shared: app.shared.iter().map(|path| (path.clone(), shared(app, path))).collect(),
            settings: app.settings.clone(),
            migrate: app.migrate.clone(),
            health: app.health.clone(),
            database,
            cache: app_cache(self.site, app),
        };
        let listens = vec![http(server.address, self.site.ports.app_at(place))];
        Service { writes, ..service(&name, Role::App, listens, talks, Config::App(config)) }
    }
}

/// MySQL takes `-` in a name only in quotes; code that forgets them is common.
fn schema(app: &model::App) -> String {
    app.name.as_str().replace('-', "_")
}

fn app_service(app: &model::App) -> String {
    format!("app-{}", app.name)
}

fn shared(app: &model::App, path: &str) -> String {
    format!("shared/{}/{path}", app.name)
}

/// The server's own loopback: where all servers share one machine, the server's address is one itself.
fn loopback(address: IpAddr) -> IpAddr {
    match address {
        _ if address.is_loopback() => address,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

fn http(address: IpAddr, port: u16) -> Listen {
    let address = SocketAddr::new(address, port);
    Listen { name: "http".into(), transport: Transport::Tcp, address, per_core: true, floating: false }
}

fn health(path: &str) -> Health {
    Health { path: path.into(), interval_ms: 1000, timeout_ms: 1000, rise: 2, fall: 3 }
}

fn flow(server: &Server, service: &str, address: SocketAddr, protocol: &str) -> Flow {
    Flow { server: server.name.clone(), service: service.into(), address, protocol: protocol.into() }
}

fn store_flow(server: &ServerName, address: SocketAddr, protocol: &str) -> Flow {
    Flow { server: server.clone(), service: "store".into(), address, protocol: protocol.into() }
}

fn cache_flow(server: &ServerName, address: SocketAddr, protocol: &str) -> Flow {
    Flow { server: server.clone(), service: "cache".into(), address, protocol: protocol.into() }
}

fn flows(pool: &Pool, service: &str, protocol: &str) -> Vec<Flow> {
    let to = |backend: &Backend| Flow {
        server: backend.name.clone(),
        service: service.into(),
        address: backend.address,
        protocol: protocol.into(),
    };
    pool.backends.iter().map(to).collect()
}

/// A service that writes nothing but its own run folder, under its role's user.
fn service(name: &str, role: Role, listens: Vec<Listen>, talks: Vec<Flow>, config: Config) -> Service {
    Service { name: ServiceName::from(name), role, user: role.user(), listens, writes: Vec::new(), talks, config }
}

/// How a tier chooses: by which algorithm, whether visitors stay, and after how many milliseconds another is asked too.
type How = (Algorithm, bool, Option<u32>);
