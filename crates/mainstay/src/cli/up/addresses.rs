//! What is reached from this machine's browser and terminal, and where.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;
use mainstay_lab::{Bound, Publication, Published, Targets};
use mainstay_site::model::Site;
use mainstay_site::names::{Domain, Role, ServerName};
use mainstay_site::plan::{Plan, Transport};

/// The ports of 127.0.0.1 that were asked for.
pub struct Ports {
    pub http: u16,
    pub https: u16,
    pub dns: u16,
    pub page: u16,
}

/// The ports, held.
pub struct Addresses {
    /// The relays, not serving yet.
    pub bound: Bound,
    /// The status page's listener.
    pub page: TcpListener,
    /// What a person opens or types, with what is there.
    pub links: Vec<(String, String)>,
    /// For the record.
    pub published: Vec<Published>,
    /// Whether HTTPS is among them.
    pub https: bool,
    /// Where each of them leads.
    pub doors: Vec<Door>,
}

/// A published port.
pub struct Door {
    what: &'static str,
    transport: Transport,
    targets: Targets,
}

impl Door {
    /// Leads to the servers of `site` that serve, if any does; `serves` says which have the front door open.
    pub fn follow(&self, site: &Site, plans: &[Plan], serves: &dyn Fn(&ServerName, Role) -> bool) {
        let role = if self.what == "dns" { Role::Dns } else { site.front() };
        let open: Vec<Plan> = plans.iter().filter(|plan| serves(&plan.server, role)).cloned().collect();
        let targets = targets(&open, role, self.what, self.transport);
        if !targets.is_empty() && *self.targets.now() != *targets {
            self.targets.set(&targets);
        }
    }
}

impl Ports {
    /// Whether all of them could be had a moment ago.
    pub fn probe(&self) -> anyhow::Result<()> {
        let probe = |what: &str, transport, port| Publication {
            what: what.into(),
            transport,
            listen: local(port),
            targets: Targets::default(),
        };
        let tcp = [("http", self.http), ("https", self.https), ("dns", self.dns), ("page", self.page)];
        let all = tcp.into_iter().map(|(what, port)| probe(what, Transport::Tcp, port));
        bind(all.chain([probe("dns", Transport::Udp, self.dns)]).collect()).map(drop)
    }

    /// Takes the ports on which something will answer.
    pub fn take(&self, site: &Site, plans: &[Plan]) -> anyhow::Result<Addresses> {
        let front = site.front();
        let wanted = [
            ("http", Transport::Tcp, self.http, targets(plans, front, "http", Transport::Tcp)),
            ("https", Transport::Tcp, self.https, targets(plans, front, "https", Transport::Tcp)),
            ("dns", Transport::Udp, self.dns, targets(plans, Role::Dns, "dns", Transport::Udp)),
            ("dns", Transport::Tcp, self.dns, targets(plans, Role::Dns, "dns", Transport::Tcp)),
        ];
        let served = wanted.into_iter().filter(|(.., targets)| !targets.is_empty());
        let mut doors = Vec::new();
        let publications = served.map(|(what, transport, port, targets)| {
            let targets = Targets::from(targets);
            doors.push(Door { what, transport, targets: targets.clone() });
            Publication { what: what.into(), transport, listen: local(port), targets }
        });
        let publications = publications.collect();
        let bound = bind(publications)?;
        let page = TcpListener::bind(local(self.page)).with_context(|| {
            format!("{} for the status page cannot be listened on; choose another with --page", local(self.page))
        })?;
        let at = bound.addresses();
        let published = at.iter().map(|(what, _, address)| Published { what: what.clone(), address: *address });
        let published = published.chain([Published { what: "page".into(), address: page.local_addr()? }]).collect();
        let links = links(site, &at, page.local_addr()?);
        Ok(Addresses { https: at.iter().any(|(what, ..)| what == "https"), bound, page, links, published, doors })
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn bind(publications: Vec<Publication>) -> anyhow::Result<Bound> {
    Bound::bind(publications).map_err(|taken| {
        let hint = format!("choose another port with --{} PORT", taken.what);
        anyhow::anyhow!("{taken}; {hint}")
    })
}

/// Where the services of `role` listen for `name`.
fn targets(plans: &[Plan], role: Role, name: &str, transport: Transport) -> Vec<SocketAddr> {
    let services = plans.iter().flat_map(|plan| &plan.services).filter(|service| service.role == role);
    let listens = services.flat_map(|service| &service.listens);
    let named: Vec<_> = listens.filter(|listen| listen.name == name && listen.transport == transport).collect();
    // Visitors come to what floats, if anything does; every balancer listens there.
    let floats = named.iter().any(|listen| listen.floating);
    let wanted = named.into_iter().filter(|listen| listen.floating == floats);
    wanted.map(|listen| listen.address).collect::<BTreeSet<_>>().into_iter().collect()
}

fn links(site: &Site, at: &[(String, Transport, SocketAddr)], page: SocketAddr) -> Vec<(String, String)> {
    let find = |wanted: &str| at.iter().find(|(what, ..)| what == wanted).map(|(.., address)| *address);
    let url =
        |scheme: &str, address: SocketAddr| format!("{scheme}://www.{}:{}/", local_name(&site.domain), address.port());
    let names = |address: SocketAddr| format!("dig @{} -p {} www.{}", address.ip(), address.port(), site.domain);
    let all = [
        ("Site", find("https").map(|address| url("https", address))),
        ("Site", find("http").map(|address| url("http", address))),
        ("Names", find("dns").map(names)),
        ("Status", Some(format!("http://{page}/"))),
    ];
    all.into_iter().filter_map(|(what, text)| Some((what.to_owned(), text?))).collect()
}

/// The name under which a browser finds the site here: every name below `localhost` leads to this machine
/// (RFC 6761 § 6.3).
fn local_name(domain: &Domain) -> String {
    let stem = domain.as_str().rsplit_once('.').map_or(domain.as_str(), |(stem, _)| stem);
    format!("{stem}.localhost")
}
