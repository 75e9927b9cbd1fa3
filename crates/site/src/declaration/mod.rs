//! Text → [`Site`]. Every mistake is found at once, each with its place.
//!
//! `keys` is the one list of what may be written; `reader` gives typed access to it; `apps` with `folders`, `limits`,
//! `records`, `redis`, `servers`, `store`, `tiers` and `tls` read the sections; `rules` checks what must hold between them; `schema` says
//! the same to editors.

mod apps;
mod database;
mod diagnostic;
mod folders;
mod keys;
mod limits;
mod reader;
mod records;
mod redis;
mod rules;
mod schema;
mod servers;
mod store;
mod syntax;
mod tiers;
mod tls;

use std::ops::Range;

use toml::de::DeTable;

pub use diagnostic::{Diagnostic, Place};
pub use schema::schema;

use crate::model::{App, Balancer, Database, Ports, Server, Site};
use crate::names::Role;
use diagnostic::Errors;
use reader::{At, Section};
use rules::Draft;
use tiers::BalancerDraft;

/// What a declaration's paths lead to. Paths are relative to the declaration's folder.
pub trait Disk {
    /// Whether there is a folder at `path`.
    fn is_folder(&self, path: &str) -> bool;
    /// Whether there is a file at `path`.
    fn is_file(&self, path: &str) -> bool;
}

/// A disk on which everything is there: for looking at a declaration away from its codebase.
pub struct Anywhere;

impl Disk for Anywhere {
    fn is_folder(&self, _: &str) -> bool {
        true
    }
    fn is_file(&self, _: &str) -> bool {
        true
    }
}

/// Reads a declaration.
///
/// # Errors
/// Every mistake, in the order of the text.
pub fn parse(text: &str, disk: &dyn Disk) -> Result<Site, Vec<Diagnostic>> {
    let mut errors = Errors::default();
    let (table, faults) = DeTable::parse_recoverable(text);
    for fault in &faults {
        let span = within(text, fault.span().unwrap_or(0..text.len().min(1)));
        errors.add(&span, format!("not TOML: {}", fault.message())).label("here");
    }
    // A broken line makes the sections around it look wrong in ways they are not.
    if !faults.is_empty() {
        return Err(errors.into_sorted());
    }
    // What is missing from the whole file is shown at its first line.
    let start = 0..text.find('\n').unwrap_or(text.len());
    let file = Section::open(table.get_ref(), &start, "the declaration", keys::FILE, &mut errors);
    let site = read(&file, &start, disk, &mut errors);
    match site {
        Some(site) if errors.is_empty() => Ok(site),
        _ => Err(errors.into_sorted()),
    }
}

/// A span that can be shown: inside the text, on the borders of characters.
fn within(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.min(text.len()));
    start..end.max(start)
}

fn read(file: &Section<'_>, start: &Range<usize>, disk: &dyn Disk, errors: &mut Errors) -> Option<Site> {
    file.count("format", errors);
    let site = tiers::site(file, errors);
    let records = records::read(file, errors);
    let apps = apps::read(file, disk, errors);
    let web = tiers::web(file, errors);
    let balancer = tiers::balancer(file, errors);
    let limits = limits::read(file, errors);
    let database = tiers::database(file, errors);
    let cache = redis::read(file, errors);
    let store = store::read(file, disk, errors);
    let tls = tls::read(file, disk, errors);
    let firewall = tiers::firewall(file, errors);
    let monitor = tiers::monitor(file, errors);
    let servers = servers::read(file, errors);
    let draft = Draft {
        www: site.as_ref().map_or_else(Default::default, |(_, www)| *www),
        records: &records,
        apps: &apps,
        balancer: balancer.as_ref(),
        database: &database,
        cache: cache.as_ref().map(|at| &at.span),
        monitor: monitor.as_ref().map(|at| &at.span),
        store: store.as_ref().map(|at| &at.span),
        servers: &servers,
        servers_span: file.value("servers").map_or(start.clone(), |at| at.span()),
    };
    rules::check(&draft, file, errors);
    let (domain, www) = site?;
    rules::domain(&domain.value, &draft, errors);

    let count = |role: Role| servers.iter().filter(|server| server.value.has(role)).count();
    let balancer = (count(Role::Balancer) > 0).then(|| balancer.map_or_else(Balancer::default, BalancerDraft::settled));
    let database = (count(Role::Database) > 0).then(|| Database {
        failover: database.failover.map_or_else(Default::default, |at| at.value),
        durability: database.durability.map_or_else(Default::default, |at| at.value),
        semi_sync: database.semi_sync.map_or_else(Default::default, |at| at.value),
        lease: database.lease,
        reads: database.reads,
        backup: database.backup,
        binlog_keep: database.binlog_keep,
    });
    let cache = (count(Role::Cache) > 0).then(|| cache.map_or_else(Default::default, |at| at.value));
    let monitor = (count(Role::Monitor) > 0).then(|| monitor.map_or_else(tiers::default_monitor, |at| at.value));
    Some(Site {
        domain: domain.value,
        www,
        records: records.into_iter().map(|at| at.value).collect(),
        apps: values::<App>(apps),
        web,
        balancer,
        limits,
        database,
        cache,
        store: store.map(|at| at.value),
        tls,
        firewall,
        monitor,
        servers: values::<Server>(servers),
        ports: Ports::default(),
        voters: Vec::new(),
        coming_voters: Vec::new(),
        former_voters: Vec::new(),
    })
}

fn values<T>(at: Vec<At<T>>) -> Vec<T> {
    at.into_iter().map(|at| at.value).collect()
}
