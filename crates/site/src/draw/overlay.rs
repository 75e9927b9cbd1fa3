//! What is drawn over the declared site: how each role is right now.

use std::collections::BTreeMap;

use super::picture::{Cell, Node};
use crate::names::{Role, ServerName, ServiceName};
use crate::wire::{ServerStatus, State};

/// The live state of the site, for [`svg()`](super::svg()).
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    roles: BTreeMap<(ServerName, Role), Live>,
    silent: BTreeMap<ServerName, Live>,
}

/// How a role is on a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The worst of its services.
    pub state: State,
    /// Why.
    pub because: String,
    /// Requests (or questions, or statements) per second, where they are counted.
    pub per_second: Option<f64>,
}

impl Overlay {
    /// Adds a service of `role` on `server`: the worst state of the role's services counts, and the rates add up.
    pub fn add(&mut self, server: &ServerName, role: Role, live: Live) {
        let key = (server.clone(), role);
        let merged = match self.roles.remove(&key) {
            Some(known) => worse(known, live),
            None => live,
        };
        self.roles.insert(key, merged);
    }

    /// Adds what a server says of itself; `rate` knows the requests per second of a service, where they are counted.
    pub fn add_status(&mut self, status: &ServerStatus, rate: impl Fn(&ServiceName) -> Option<f64>) {
        for service in &status.services {
            let live = Live { state: service.state, because: service.because.clone(), per_second: rate(&service.name) };
            self.add(&status.server, service.role, live);
        }
    }

    /// Notes that a server says nothing: what that is taken for, and why.
    pub fn add_silent(&mut self, server: &ServerName, state: State, because: impl Into<String>) {
        self.silent.insert(server.clone(), Live { state, because: because.into(), per_second: None });
    }

    /// What to show for a cell, which may stand for several servers: the worst state and the sum of the rates.
    pub(super) fn of(&self, node: &Node<'_>, cell: &Cell) -> Option<Live> {
        node.servers.iter().filter_map(|server| self.one(&server.name, cell.role)).reduce(worse)
    }

    fn one(&self, server: &ServerName, role: Role) -> Option<Live> {
        if let Some(live) = self.silent.get(server) {
            return Some(live.clone());
        }
        self.roles.get(&(server.clone(), role)).cloned()
    }
}

fn worse(one: Live, other: Live) -> Live {
    let per_second = match (one.per_second, other.per_second) {
        (None, rate) | (rate, None) => rate,
        (Some(one), Some(other)) => Some(one + other),
    };
    let worst = if other.state > one.state { other } else { one };
    Live { per_second, ..worst }
}
