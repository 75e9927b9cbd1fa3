//! Who talks to whom, from the plans, many alike as one sentence.

use std::collections::{BTreeMap, BTreeSet};

use super::sentence::list;
use crate::names::ServerName;
use crate::plan::{Flow, Plan, Service};

/// Connections of one kind between two kinds of services.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind<'p> {
    from: &'p str,
    to: &'p str,
    protocol: &'p str,
}

/// The places (in the file) of the servers at both ends, and the ports.
#[derive(Default)]
struct Ends {
    from: BTreeSet<usize>,
    to: BTreeSet<usize>,
    ports: BTreeSet<u16>,
}

/// Every connection that the plans foresee.
pub(super) struct Arrows<'p> {
    names: Vec<&'p ServerName>,
    kinds: BTreeMap<Kind<'p>, Ends>,
}

impl<'p> Arrows<'p> {
    pub fn new(plans: &'p [Plan]) -> Arrows<'p> {
        let places: BTreeMap<&ServerName, usize> = plans.iter().enumerate().map(|(at, it)| (&it.server, at)).collect();
        let mut kinds: BTreeMap<Kind<'p>, Ends> = BTreeMap::new();
        for (from, plan) in plans.iter().enumerate() {
            for (service, flow) in plan.services.iter().flat_map(flows) {
                let kind = Kind { from: service.name.as_str(), to: flow.service.as_str(), protocol: &flow.protocol };
                let ends = kinds.entry(kind).or_default();
                ends.from.insert(from);
                ends.ports.insert(flow.address.port());
                ends.to.extend(places.get(&flow.server));
            }
        }
        Arrows { names: plans.iter().map(|plan| &plan.server).collect(), kinds }
    }

    /// What the services whose name begins with `service` are asked and ask, on `server` alone if one is named.
    pub fn sentences(&self, service: &str, server: Option<&ServerName>) -> Vec<String> {
        let only = server.and_then(|server| self.names.iter().position(|name| *name == server));
        let within = |ends: &BTreeSet<usize>| only.is_none_or(|place| ends.contains(&place));
        let is_asked = |(kind, ends): &(&Kind<'_>, &Ends)| kind.to.starts_with(service) && within(&ends.to);
        let asks = |(kind, ends): &(&Kind<'_>, &Ends)| kind.from.starts_with(service) && within(&ends.from);
        let asked = self.kinds.iter().filter(|it| is_asked(it));
        let asking = self.kinds.iter().filter(|it| asks(it) && !is_asked(it));
        asked.chain(asking).map(|(kind, ends)| self.sentence(kind, ends)).collect()
    }

    fn on(&self, servers: &BTreeSet<usize>) -> String {
        list(&servers.iter().map(|place| self.names[*place].as_str()).collect::<Vec<_>>())
    }

    fn sentence(&self, kind: &Kind<'_>, ends: &Ends) -> String {
        let Kind { from, to, protocol } = kind;
        let ports: Vec<String> = ends.ports.iter().map(ToString::to_string).collect();
        let noun = if ports.len() == 1 { "port" } else { "ports" };
        // The SQL endpoints are on the asker's loopback: every server has its own.
        let there = if *to == "sql" { "the same server".into() } else { self.on(&ends.to) };
        format!("`{from}` on {} asks `{to}` on {there} by {protocol}, {noun} {}", self.on(&ends.from), list(&ports))
    }
}

fn flows(service: &Service) -> impl Iterator<Item = (&Service, &Flow)> {
    service.talks.iter().map(move |flow| (service, flow))
}
