//! What is drawn: tiers, boxes and arrows, before anything has a place.

use crate::findings::{Redundancy, notices, redundancy};
use crate::firewall::{Arrow, arrows};
use crate::model::{Algorithm, Certificate, ClusterMode, Durability, Failover, Inside, Server, Site};
use crate::names::Role;
use crate::plan::Notice;

/// More servers with the same roles than this are drawn as the first [`SHOWN`] and one box for the others: a row of
/// boxes must fit a page.
const ALIKE_MAX: usize = 4;
/// How many of many alike have a box of their own.
const SHOWN: usize = 2;
/// Follows whatever is declared and not enforced.
pub(super) const DAGGER: char = '†';

/// The tiers from top to bottom. Traffic flows from each to the next that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Firewall,
    /// Who visitors talk to: the name servers, and the balancers or else the web servers.
    Front,
    Web,
    App,
    Data,
}

impl Stage {
    pub const ALL: [Stage; 5] = [Stage::Firewall, Stage::Front, Stage::Web, Stage::App, Stage::Data];

    /// Whose arrows end in this tier; the internet's where nobody has that role.
    pub const fn source(self) -> Option<Role> {
        match self {
            Stage::Firewall => None,
            Stage::Front => Some(Role::Firewall),
            Stage::Web => Some(Role::Balancer),
            Stage::App => Some(Role::Web),
            Stage::Data => Some(Role::App),
        }
    }

    /// The words in the margin.
    pub const fn title(self) -> &'static str {
        match self {
            Stage::Firewall => "firewall",
            Stage::Front => "front door",
            Stage::Web => "web",
            Stage::App => "application",
            Stage::Data => "data",
        }
    }
}

/// Everything that is drawn.
pub(super) struct Picture<'s> {
    pub site: &'s Site,
    /// Top to bottom.
    pub blocks: Vec<Block<'s>>,
    /// Servers that only watch; they stand beside.
    pub monitors: Vec<Node<'s>>,
    pub floating: Option<Floating>,
    /// What the replicas do, if there are any.
    pub replication: Option<String>,
    /// What the servers' firewalls let in, an arrow a line; empty where nothing is filtered.
    pub open: Vec<String>,
    /// What is drawn with a dagger, in words.
    pub notes: Vec<Notice>,
    /// How many roles are a single point of failure.
    pub spofs: usize,
}

impl Picture<'_> {
    /// `3 servers, 3 single points of failure`
    pub fn headline(&self) -> String {
        let servers = counted(self.site.servers.len(), "server");
        match self.spofs {
            0 if self.notes.is_empty() => format!("{servers}, no single point of failure"),
            0 => format!("{servers}, no single point of failure once all that is marked {DAGGER} is enforced"),
            1 => format!("{servers}, 1 single point of failure"),
            many => format!("{servers}, {many} single points of failure"),
        }
    }

    /// The mark behind what is said of the servers' own firewalls.
    pub fn shield_mark(&self) -> String {
        let open = self.notes.iter().any(|notice| notice.declared.starts_with("[firewall]"));
        if open { DAGGER.to_string() } else { String::new() }
    }

    /// The picture in words, for those who do not see it.
    pub fn description(&self) -> String {
        let mut out = String::from("From the internet downwards. ");
        for node in self.blocks.iter().flat_map(|block| &block.nodes) {
            out.push_str(&told(node));
        }
        if let Some(floating) = &self.floating {
            out.push_str(&format!("The balancers share the {} {}. ", floating.title, floating.detail));
        }
        if let Some(replication) = &self.replication {
            out.push_str(&format!("Between the databases: {replication}. "));
        }
        for node in &self.monitors {
            out.push_str(&told(node));
        }
        if !self.open.is_empty() {
            out.push_str(&format!("Connections that are let in: {}. ", self.open.join("; ")));
        }
        out.trim_end().to_owned()
    }
}

/// `server1: web, application (single point of failure). `
fn told(node: &Node<'_>) -> String {
    let cell = |cell: &Cell| {
        let spof = if cell.spof { " (single point of failure)" } else { "" };
        format!("{}{spof}", cell.title.replace(" ·", ""))
    };
    format!("{}: {}. ", node.name(), node.cells.iter().map(cell).collect::<Vec<_>>().join(", "))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Consecutive tiers that share servers, and those servers side by side.
pub(super) struct Block<'s> {
    pub stages: Vec<Stage>,
    pub nodes: Vec<Node<'s>>,
}

/// A box: one server, or many alike.
pub(super) struct Node<'s> {
    pub servers: Vec<&'s Server>,
    /// In the order of the tiers.
    pub cells: Vec<Cell>,
    /// Whether its own firewall is declared.
    pub shield: bool,
}

impl Node<'_> {
    /// `web1`, or `7 more` for many.
    pub fn name(&self) -> String {
        match self.servers.as_slice() {
            [one] => one.name.to_string(),
            many => format!("{} more", many.len()),
        }
    }

    /// Its address, or the names that it stands for.
    pub fn address(&self) -> String {
        match self.servers.as_slice() {
            [first, .., last] => format!("{} … {}", first.name, last.name),
            [one] => one.address.to_string(),
            [] => String::new(),
        }
    }

    /// Whether its loss is felt.
    pub fn spof(&self) -> bool {
        self.cells.iter().any(|cell| cell.spof)
    }

    pub fn stage_first(&self) -> Option<Stage> {
        self.cells.iter().map(|cell| cell.stage).min()
    }

    pub fn stage_last(&self) -> Option<Stage> {
        self.cells.iter().map(|cell| cell.stage).max()
    }

    pub fn cells_at(&self, stage: Stage) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.stage == stage)
    }
}

/// A role on a server.
#[derive(Clone)]
pub(super) struct Cell {
    pub role: Role,
    pub stage: Stage,
    /// `database · primary`
    pub title: String,
    /// `writes`
    pub detail: String,
    pub spof: bool,
    /// Serves only when the others of its tier cannot.
    pub standby: bool,
    /// What is spoken on the arrow that ends here, line by line.
    pub arrival: Vec<String>,
    /// What is wanted of this one and not of others of its role: `writes`; mostly empty.
    pub asked: &'static str,
}

impl Cell {
    /// Everything that is written at the arrow that ends here.
    pub fn label(&self) -> Vec<String> {
        let asked = (!self.asked.is_empty()).then(|| self.asked.to_owned());
        self.arrival.iter().cloned().chain(asked).collect()
    }
}

/// The address that the balancers share.
pub(super) struct Floating {
    pub title: String,
    pub detail: String,
    pub arrival: Vec<String>,
}

/// The picture of a site.
pub(super) fn picture(site: &Site) -> Picture<'_> {
    let sketch = Sketch { site, notices: notices(site) };
    let (monitors, others): (Vec<_>, Vec<_>) =
        alike(site).into_iter().partition(|servers| servers.iter().all(|server| server.roles == [Role::Monitor]));
    let nodes: Vec<Node<'_>> = others.into_iter().map(|servers| sketch.node(servers)).collect();
    Picture {
        site,
        blocks: blocks(nodes),
        monitors: monitors.into_iter().map(|servers| sketch.node(servers)).collect(),
        floating: sketch.floating(),
        replication: sketch.replication(),
        open: arrows(site).iter().map(Arrow::told).collect(),
        spofs: Role::ALL.iter().filter(|role| spof(site, **role).is_some()).count(),
        notes: sketch.notices,
    }
}

/// Servers in the order of the file; many alike together.
fn alike(site: &Site) -> Vec<Vec<&Server>> {
    let mut groups: Vec<Vec<&Server>> = Vec::new();
    for server in &site.servers {
        let same = |group: &&mut Vec<&Server>| group[0].roles == server.roles && group[0].spare == server.spare;
        match groups.iter_mut().find(same) {
            Some(group) => group.push(server),
            None => groups.push(vec![server]),
        }
    }
    groups.into_iter().flat_map(shown).collect()
}

fn shown(group: Vec<&Server>) -> Vec<Vec<&Server>> {
    let single = if group.len() > ALIKE_MAX { SHOWN } else { group.len() };
    let (first, others) = group.split_at(single);
    let mut nodes: Vec<Vec<&Server>> = first.iter().map(|server| vec![*server]).collect();
    nodes.extend((!others.is_empty()).then(|| others.to_vec()));
    nodes
}

/// Tiers that one server spans belong together.
fn blocks(nodes: Vec<Node<'_>>) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut nodes: Vec<Option<Node<'_>>> = nodes.into_iter().map(Some).collect();
    let mut end = None;
    for stage in Stage::ALL {
        let here = |node: &Node<'_>| node.stage_first() == Some(stage);
        let taken: Vec<Node<'_>> = nodes.iter_mut().filter_map(|node| node.take_if(|node| here(node))).collect();
        let reach = taken.iter().filter_map(Node::stage_last).max();
        match blocks.last_mut() {
            Some(block) if end >= Some(stage) => block.nodes.extend(taken),
            _ if taken.is_empty() => continue,
            _ => blocks.push(Block { stages: Vec::new(), nodes: taken }),
        }
        end = end.max(reach);
    }
    for block in &mut blocks {
        let all = |stage: &Stage| block.nodes.iter().any(|node| node.cells_at(*stage).next().is_some());
        block.stages = Stage::ALL.into_iter().filter(all).collect();
    }
    blocks
}

/// Which servers are the single point of failure of `role`; `None` if there is none.
fn spof(site: &Site, role: Role) -> Option<Vec<&Server>> {
    match (redundancy(site, role), role) {
        (Redundancy::Absent | Redundancy::Redundant, _) => None,
        (Redundancy::Partial, Role::Database) => site.primary().map(|primary| vec![primary]),
        (Redundancy::Partial, Role::Cache) => site.with_role(Role::Cache).next().map(|first| vec![first]),
        (Redundancy::Single | Redundancy::Partial, _) => Some(site.with_role(role).collect()),
    }
}

/// What cells are made from.
struct Sketch<'s> {
    site: &'s Site,
    notices: Vec<Notice>,
}

impl<'s> Sketch<'s> {
    fn node(&self, servers: Vec<&'s Server>) -> Node<'s> {
        let server = servers[0];
        let home = server.roles.iter().filter_map(|role| self.stage(*role)).min().unwrap_or(Stage::Data);
        let in_order = Role::ALL.into_iter().filter(|role| server.has(*role));
        let mut cells: Vec<Cell> =
            in_order.map(|role| self.cell(server, role, self.stage(role).unwrap_or(home))).collect();
        cells.sort_by_key(|cell| cell.stage);
        Node { servers, cells, shield: self.site.firewall.is_some() }
    }

    /// Where a role is drawn; monitors beside, or in the first row of a server that does something else too.
    fn stage(&self, role: Role) -> Option<Stage> {
        match role {
            Role::Firewall => Some(Stage::Firewall),
            Role::Dns => Some(Stage::Front),
            _ if role == self.site.front() => Some(Stage::Front),
            Role::Balancer | Role::Web => Some(Stage::Web),
            Role::App => Some(Stage::App),
            Role::Cache | Role::Database => Some(Stage::Data),
            Role::Monitor | Role::Store => None,
        }
    }

    fn cell(&self, server: &Server, role: Role, stage: Stage) -> Cell {
        let spof = spof(self.site, role).is_some_and(|servers| servers.iter().any(|it| it.name == server.name));
        let (title, detail) = self.words(server, role);
        let (arrival, asked) = (self.arrival(role), self.asked(server, role));
        Cell { role, stage, title, detail, spof, standby: self.standby(server, role), arrival, asked }
    }

    fn words(&self, server: &Server, role: Role) -> (String, String) {
        let detail = match role {
            Role::Dns => self.name_server(server),
            Role::Firewall => self.marked("filters packets", "the role `firewall`"),
            Role::Balancer => algorithm(self.site.balancer.as_ref().map_or_else(Default::default, |it| it.algorithm)),
            Role::Web => "files, forwards".into(),
            Role::App => self.applications(),
            Role::Cache => self.kept(server),
            Role::Monitor => self.marked("metrics, alerts", "the role `monitor`"),
            Role::Database => return self.database(server),
            Role::Store => "votes".into(),
        };
        let title = if role == Role::Dns { "name server" } else { role.as_str() };
        (title.into(), detail)
    }

    fn kept(&self, server: &Server) -> String {
        let first = self.site.with_role(Role::Cache).next().is_some_and(|it| it.name == server.name);
        let bytes = self.site.cache.unwrap_or_default().memory_bytes;
        if first { format!("Redis, {} MiB", bytes >> 20) } else { "Redis, a copy".into() }
    }

    fn name_server(&self, server: &Server) -> String {
        let place = self.site.with_role(Role::Dns).position(|it| it.name == server.name).unwrap_or(0);
        format!("ns{}", place + 1)
    }

    fn applications(&self) -> String {
        match self.site.apps.as_slice() {
            [one] => {
                format!("{}, {}", one.kind.as_str(), counted(usize::from(one.workers), "worker"))
            }
            [one, two] => format!("{}, {}", one.name, two.name),
            many => format!("{} applications", many.len()),
        }
    }

    fn database(&self, server: &Server) -> (String, String) {
        let (part, does) = if self.durability() == Durability::Galera {
            ("cluster", "reads and writes")
        } else if !self.is_primary(server) {
            ("replica", "reads")
        } else if self.site.replicas().next().is_some() {
            let automatic = self.site.database.as_ref().is_some_and(|it| it.failover == Failover::Automatic);
            let fails_over = || self.marked("writes, fails over", "database.failover");
            return ("database · primary".into(), if automatic { fails_over() } else { "writes".into() });
        } else {
            ("primary", "reads and writes")
        };
        (format!("database · {part}"), does.into())
    }

    fn is_primary(&self, server: &Server) -> bool {
        self.site.primary().is_some_and(|primary| primary.name == server.name)
    }

    fn durability(&self) -> Durability {
        self.site.database.as_ref().map_or_else(Default::default, |it| it.durability)
    }

    /// Marks `text` while the declaration's `declared` is not enforced.
    fn marked(&self, text: &str, declared: &str) -> String {
        let open = self.notices.iter().any(|notice| notice.declared.starts_with(declared));
        if open { format!("{text}{DAGGER}") } else { text.to_owned() }
    }

    fn standby(&self, server: &Server, role: Role) -> bool {
        let cluster = self.site.balancer.as_ref().and_then(|it| it.cluster.as_ref());
        match role {
            Role::Balancer => {
                let first = self.site.with_role(Role::Balancer).next().is_some_and(|it| it.name == server.name);
                cluster.is_some_and(|it| it.mode == ClusterMode::ActivePassive) && !first
            }
            Role::Web | Role::App => server.spare,
            Role::Cache => self.site.with_role(Role::Cache).next().is_some_and(|it| it.name != server.name),
            _ => false,
        }
    }

    fn arrival(&self, role: Role) -> Vec<String> {
        let ports = &self.site.ports;
        let clustered = self.site.balancer.as_ref().is_some_and(|it| it.cluster.is_some());
        match role {
            Role::Firewall => [self.door(), vec![format!("DNS {}", ports.dns)]].concat(),
            Role::Dns => vec![format!("DNS {}", ports.dns)],
            Role::Balancer if clustered => Vec::new(),
            _ if role == self.site.front() => self.door(),
            Role::Balancer | Role::Web => self.inner(format!("HTTP {}", ports.web)),
            Role::App => self.inner(format!("HTTP {}", self.app_ports())),
            Role::Cache => self.inner(format!("Redis {}", ports.cache)),
            Role::Database => self.inner(format!("MySQL {}", ports.database)),
            Role::Monitor | Role::Store => Vec::new(),
        }
    }

    fn asked(&self, server: &Server, role: Role) -> &'static str {
        let replicated = self.site.replicas().next().is_some() && self.durability() != Durability::Galera;
        match role {
            Role::Database if replicated && self.is_primary(server) => "writes",
            Role::Database if replicated => "reads",
            _ if self.standby(server, role) => "stand-by",
            _ => "",
        }
    }

    /// What visitors speak.
    fn door(&self) -> Vec<String> {
        match &self.site.tls {
            None => vec![format!("HTTP {}", self.site.ports.http)],
            Some(tls) => {
                let unsigned = if tls.certificate == Certificate::SelfSigned { "self-signed" } else { "" };
                let https = self.marked(&format!("HTTPS {}", self.site.ports.https), "tls.certificate");
                [https, unsigned.to_owned()].into_iter().filter(|line| !line.is_empty()).collect()
            }
        }
    }

    /// What is spoken between the tiers.
    fn inner(&self, protocol: String) -> Vec<String> {
        let mutual = self.site.tls.as_ref().is_some_and(|tls| tls.inside == Inside::Mutual);
        let over = mutual.then(|| self.marked("mutual TLS", "tls.inside"));
        [protocol].into_iter().chain(over).collect()
    }

    fn app_ports(&self) -> String {
        let port = |place| self.site.ports.app_at(place);
        match self.site.apps.len() {
            0 | 1 => port(0).to_string(),
            many => format!("{}–{}", port(0), port(many - 1)),
        }
    }

    fn floating(&self) -> Option<Floating> {
        let cluster = self.site.balancer.as_ref()?.cluster.as_ref()?;
        let addresses: Vec<String> = cluster.addresses.iter().map(ToString::to_string).collect();
        let (noun, mode) = match cluster.mode {
            ClusterMode::ActivePassive => ("floating address", "active-passive"),
            ClusterMode::ActiveActive => ("floating addresses", "active-active"),
        };
        let title = self.marked(noun, "balancer.cluster");
        Some(Floating { title, detail: format!("{}, {mode}", addresses.join(" ")), arrival: self.door() })
    }

    fn replication(&self) -> Option<String> {
        self.site.replicas().next()?;
        Some(match self.durability() {
            Durability::Async => "replication, asynchronous".into(),
            Durability::SemiSync => "replication, semi-sync".into(),
            Durability::Galera => self.marked("Galera, every server writes", "database.durability"),
        })
    }
}

/// `least connections`
fn algorithm(algorithm: Algorithm) -> String {
    Algorithm::ALL.iter().find(|(_, it)| *it == algorithm).map_or("", |(word, _)| word).replace('-', " ")
}
