//! What must hold between the parts of a declaration.

use std::net::IpAddr;

use super::diagnostic::Errors;
use super::reader::{At, Section, Span};
use super::tiers::{BalancerDraft, ClusterDraft, DatabaseDraft};
use crate::model::{App, ClusterMode, Durability, Failover, Record, Server, Www};
use crate::names::{Domain, Role};

/// Fewest nodes of a Galera cluster that keep a majority when one is lost.
const GALERA_NODES: usize = 3;

/// RFC 1035 § 2.3.4: 255 octets, of which the first length and the root take two.
const NAME_MAX: usize = 253;

/// Everything that was read, with its places.
pub(super) struct Draft<'d> {
    pub(super) www: Www,
    pub(super) records: &'d [At<Record>],
    pub(super) apps: &'d [At<App>],
    pub(super) balancer: Option<&'d BalancerDraft>,
    pub(super) database: &'d DatabaseDraft,
    pub(super) cache: Option<&'d Span>,
    pub(super) monitor: Option<&'d Span>,
    pub(super) store: Option<&'d Span>,
    pub(super) servers: &'d [At<Server>],
    /// Where `servers` stands.
    pub(super) servers_span: Span,
}

impl Draft<'_> {
    fn with_role(&self, role: Role) -> impl Iterator<Item = &At<Server>> {
        self.servers.iter().filter(move |server| server.value.has(role))
    }

    fn count(&self, role: Role) -> usize {
        self.with_role(role).count()
    }
}

/// Notes every contradiction.
pub(super) fn check(draft: &Draft<'_>, file: &Section<'_>, errors: &mut Errors) {
    roles_present(draft, file, errors);
    sections_have_servers(draft, file, errors);
    cluster(draft, errors);
    database(draft, errors);
    store(draft, errors);
    spares(draft, errors);
    zone(draft, errors);
}

/// Every role has what it needs. Says nothing of roles when servers could not be read: that is said already.
fn roles_present(draft: &Draft<'_>, file: &Section<'_>, errors: &mut Errors) {
    if draft.servers.is_empty() {
        let named = file.value("servers").is_some_and(|at| at.get_ref().as_table().is_some_and(|it| !it.is_empty()));
        if file.value("servers").is_some() && !named {
            errors.add(&draft.servers_span, "the site has no server").label("add [servers.NAME]").hint(
                "for example [servers.server1] with address = \"10.80.0.11\" and roles = [\"dns\", \"web\", \"app\", \"database\"]",
            );
        }
        return;
    }
    let needs = [
        (Role::Balancer, Role::Web, "has nobody to send requests to"),
        (Role::Web, Role::App, "has nobody to ask for pages"),
        (Role::App, Role::Web, "is reached by nobody"),
    ];
    for (role, needed, why) in needs {
        if let Some(server) = draft.with_role(role).next().filter(|_| draft.count(needed) == 0) {
            errors
                .add(&server.span, format!("the role `{role}` {why}: no server has the role `{needed}`"))
                .label(format!("has the role `{role}`"))
                .hint(format!("add `{needed}` to the roles of a server"));
        }
    }
    if draft.count(Role::Web) == 0 && draft.count(Role::App) == 0 && draft.count(Role::Balancer) == 0 {
        errors
            .add(&draft.servers[0].span, "no server has the role `web`, so no visitor is answered")
            .label("the first server")
            .hint("add `web` and `app` to the roles of a server");
    }
    if let Some(server) = draft.with_role(Role::App).next() {
        if draft.apps.is_empty() && file.value("app").is_none() && file.value("apps").is_none() {
            errors
                .add(&server.span, "the role `app` has nothing to run: there is no [app]")
                .label("has the role `app`")
                .hint("add [app] with path and kind");
        }
    } else if let Some(app) = draft.apps.first() {
        errors
            .add(&app.span, "no server runs the application: none has the role `app`")
            .label("runs nowhere")
            .hint("add `app` to the roles of a server");
    }
}

/// A section is of use only with a server of its role.
fn sections_have_servers(draft: &Draft<'_>, file: &Section<'_>, errors: &mut Errors) {
    if draft.servers.is_empty() {
        return;
    }
    let sections = [
        ("balancer", Role::Balancer, draft.balancer.map(|at| &at.span)),
        ("database", Role::Database, draft.database.span.as_ref()),
        ("cache", Role::Cache, draft.cache),
        ("monitor", Role::Monitor, draft.monitor),
    ];
    for (name, role, span) in sections {
        if let Some(span) = span.filter(|_| draft.count(role) == 0) {
            errors
                .add(span, format!("there is [{name}], but no server has the role `{role}`"))
                .label("concerns nobody")
                .hint(format!("add `{role}` to the roles of a server, or remove [{name}]"));
        }
    }
    if let (Some(dns), 0) = (file.value("dns"), draft.count(Role::Dns)) {
        errors
            .add(&dns.span(), "there is [dns], but no server has the role `dns`")
            .label("nobody answers with these records")
            .hint("add `dns` to the roles of a server, or remove [dns]");
    }
}

fn cluster(draft: &Draft<'_>, errors: &mut Errors) {
    let Some(ClusterDraft { span, addresses, mode, .. }) = draft.balancer.and_then(|it| it.cluster.as_ref()) else {
        return;
    };
    let balancers = draft.count(Role::Balancer);
    if balancers == 1 {
        errors
            .add(span, "a cluster needs two balancers, and there is one")
            .label("nobody to take over")
            .hint("add a second server with the role `balancer`, or remove `cluster`");
    }
    let mut seen: Vec<&At<IpAddr>> = Vec::new();
    for address in addresses {
        if let Some(server) = draft.servers.iter().find(|server| server.value.address == address.value) {
            errors
                .add(&address.span, format!("the floating address is {}'s own", server.value.name))
                .label("must belong to no server")
                .also(&server.span, "has this address")
                .hint("choose a free address of the same network");
        }
        let mut holders = draft.with_role(Role::Balancer);
        let other = holders.find(|it| it.value.address.is_ipv4() != address.value.is_ipv4());
        if let Some(server) = other {
            errors
                .add(
                    &address.span,
                    format!("{} cannot hold an address of another family than its own", server.value.name),
                )
                .label("the floating address")
                .also(&server.span, "the server's address")
                .hint("choose a free address of the servers' own network");
        }
        if let Some(first) = seen.iter().find(|first| first.value == address.value) {
            errors
                .add(&address.span, "the floating address is listed twice")
                .label("again")
                .also(&first.span, "the first time");
        }
        seen.push(address);
    }
    let wrong = match mode {
        ClusterMode::ActivePassive => addresses.len() > 1,
        ClusterMode::ActiveActive => balancers > 1 && addresses.len() != balancers,
    };
    if wrong {
        let (name, wanted) = match mode {
            ClusterMode::ActivePassive => ("active-passive", "one floating address".to_owned()),
            ClusterMode::ActiveActive => ("active-active", format!("one floating address per balancer, {balancers}")),
        };
        errors
            .add(span, format!("mode = \"{name}\" wants {wanted}; there are {}", addresses.len()))
            .label("the number does not fit the mode");
    }
}

fn store(draft: &Draft<'_>, errors: &mut Errors) {
    if let Some(span) = draft.store.filter(|_| draft.count(Role::Database) < 2 && !draft.servers.is_empty()) {
        errors
            .add(span, "there is [store], but fewer than two servers have the role `database`")
            .label("there is nothing to agree on")
            .hint("add a second server with the role `database`, or remove [store]");
    }
}

fn database(draft: &Draft<'_>, errors: &mut Errors) {
    let nodes = draft.count(Role::Database);
    if nodes == 0 {
        return;
    }
    if let Some(at) = draft.database.failover.as_ref().filter(|at| at.value == Failover::Automatic) {
        if nodes == 1 {
            errors
                .add(&at.span, "automatic failover needs a replica, and there is one database server")
                .label("nobody to promote")
                .hint("add a second server with the role `database`");
        } else if draft.servers.len() == 2 && draft.store.is_none() {
            errors
                .add(&at.span, "automatic failover needs a third server: of two, neither can tell who is cut off")
                .label("two servers have no majority")
                .hint("add a server (a balancer will do), name an etcd in [store], or write failover = \"manual\"");
        }
    }
    if let Some(at) = &draft.database.semi_sync {
        let other = draft.database.durability.as_ref().filter(|at| at.value != Durability::SemiSync);
        if nodes == 1 || other.is_some() {
            errors
                .add(&at.span, "`semi-sync` says how commits wait for a replica, and none does here")
                .label(if nodes == 1 { "one database server" } else { "another durability is declared" })
                .hint("leave `semi-sync` out");
        }
    }
    if let Some(at) = &draft.database.durability {
        match at.value {
            Durability::SemiSync if nodes == 1 => {
                errors
                    .add(&at.span, "semi-sync needs a replica, and there is one database server")
                    .label("nobody to acknowledge")
                    .hint("add a second server with the role `database`, or leave `durability` out");
            }
            Durability::Galera if nodes < GALERA_NODES => {
                errors
                    .add(&at.span, format!("galera needs {GALERA_NODES} database servers; there are {nodes}"))
                    .label("no majority when one is lost");
            }
            _ => {}
        }
    }
}

/// A tier of spares alone never serves.
fn spares(draft: &Draft<'_>, errors: &mut Errors) {
    for role in [Role::Web, Role::App] {
        let mut tier = draft.with_role(role).peekable();
        if let Some(first) = tier.peek().map(|first| first.span.clone())
            && tier.all(|server| server.value.spare)
        {
            errors
                .add(&first, format!("every server with the role `{role}` is a spare"))
                .label("spare, like all the others")
                .hint("remove `spare` from the one that should serve");
        }
    }
}

/// RFC 1034 § 3.6.2: where an alias is, nothing else is.
fn zone(draft: &Draft<'_>, errors: &mut Errors) {
    let own = |name: &str| {
        name == "@"
            || draft.servers.iter().any(|server| server.value.name.as_str() == name)
            || (1..=draft.count(Role::Dns)).any(|number| name == format!("ns{number}"))
    };
    for (index, at) in draft.records.iter().enumerate() {
        let (name, kind) = (at.value.name.as_str(), at.value.kind.as_str());
        if kind == "CNAME" && (own(name) || name == "www") {
            errors
                .add(&at.span, format!("`{name}` cannot be a CNAME: the zone has it already"))
                .label("an alias stands alone")
                .hint(if name == "www" { "see `www` in [site]" } else { "choose another name" });
        } else if name == "www" && draft.www == Www::Cname {
            errors
                .add(&at.span, "`www` is an alias of the domain, so it has no other records")
                .label("an alias stands alone")
                .hint("write www = \"address\" in [site], or put the record at \"@\"");
        }
        let alias = |other: &&At<Record>| other.value.name == name && (kind == "CNAME" || other.value.kind == "CNAME");
        if let Some(first) = draft.records[..index].iter().find(alias) {
            errors
                .add(&at.span, format!("`{name}` is an alias, so it has no other records"))
                .label("clashes")
                .also(&first.span, "with this one");
        }
    }
}

/// What must hold of names below the domain.
pub(super) fn domain(domain: &Domain, draft: &Draft<'_>, errors: &mut Errors) {
    let domain = domain.as_str();
    for app in draft.apps {
        let Some(host) = &app.value.host else { continue };
        if host != domain && !host.ends_with(&format!(".{domain}")) {
            errors
                .add(&app.span, format!("the host `{host}` of [apps.{}] is not in {domain}", app.value.name))
                .label("no visitor gets here by this name")
                .hint(format!("for example host = \"{}.{domain}\"", app.value.name));
        }
    }
    let servers = draft.servers.iter().map(|server| (server.value.name.as_str(), &server.span));
    let records = draft.records.iter().flat_map(|record| {
        let target = record.value.value.rsplit(' ').next().filter(|_| record.value.kind != "TXT");
        let target = target.filter(|target| !target.ends_with('.'));
        [Some(record.value.name.as_str()), target].into_iter().flatten().map(|name| (name, &record.span))
    });
    for (name, span) in servers.chain(records) {
        if name.len() + 1 + domain.len() > NAME_MAX {
            errors
                .add(span, format!("`{name}.{domain}` has more than {NAME_MAX} characters"))
                .label("too long for a name");
        }
    }
}
