//! The zone and how a question is answered from it: RFC 1034 § 4.3.2 with the wildcards of RFC 4592.
//!
//! Pure: the same question has the same answer until the plan changes.

use std::collections::BTreeMap;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use mainstay_site::plan;

use super::records::{self, Error};

/// Aliases followed for one question. A chain inside one zone is rarely longer than two; the bound ends loops.
const ALIASES_MAX: usize = 8;

/// What is said of a name. A name without records of its own exists when there is something below it.
type Node = BTreeMap<RecordType, Vec<Record>>;

/// Everything that the server is an authority for.
pub struct Zone {
    apex: Name,
    nodes: BTreeMap<Name, Node>,
}

/// What is answered.
#[derive(Debug, Default)]
pub struct Answer {
    /// `NoError`, `NXDomain` or `Refused`.
    pub code: ResponseCode,
    /// Whether it is said with authority: not for a name below a delegation.
    pub authoritative: bool,
    /// What was asked for.
    pub answers: Vec<Record>,
    /// The SOA of a negative answer, or the name servers of a delegation.
    pub authorities: Vec<Record>,
    /// The addresses of names that the sections above mention.
    pub additionals: Vec<Record>,
}

enum Found<'a> {
    Node(&'a Node),
    Wildcard(&'a Node),
    Delegated(&'a [Record]),
    Nothing,
}

impl Zone {
    /// The zone of a plan.
    ///
    /// # Errors
    /// A declared record that cannot be read, an alias beside other data, no name server.
    pub fn new(config: &plan::Dns) -> Result<Zone, Error> {
        let apex = records::absolute(config.zone.as_str())?;
        let mut zone = Zone { apex: apex.clone(), nodes: BTreeMap::new() };
        for record in records::all(config, &apex)? {
            zone.insert(record);
        }
        match zone.nodes.iter().find(|(_, node)| node.contains_key(&RecordType::CNAME) && !is_lone_alias(node)) {
            Some((name, _)) => Err(Error::Alias(name.to_string())),
            None => Ok(zone),
        }
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        self.nodes.values().flat_map(Node::values).map(Vec::len).sum()
    }

    /// The answer to a question of class IN.
    pub fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        // A zone transfer tells a stranger every server; RFC 5936 § 5 lets policy refuse it.
        if !self.apex.zone_of(name) || matches!(kind, RecordType::AXFR | RecordType::IXFR) {
            return Answer { code: ResponseCode::Refused, ..Answer::default() };
        }
        let mut answer = Answer { authoritative: true, ..Answer::default() };
        self.follow(name, kind, &mut answer);
        self.add_addresses(&mut answer);
        answer
    }

    fn follow(&self, name: &Name, kind: RecordType, answer: &mut Answer) {
        let mut name = name.clone();
        for _ in 0..ALIASES_MAX {
            let node = match self.find(&name) {
                Found::Node(node) | Found::Wildcard(node) => node,
                Found::Delegated(servers) => return refer(servers, answer),
                Found::Nothing => return self.deny(ResponseCode::NXDomain, answer),
            };
            let Some(alias) = alias(node).filter(|_| !matches!(kind, RecordType::CNAME | RecordType::ANY)) else {
                return self.take(node, &name, kind, answer);
            };
            answer.answers.push(owned_by(&name, &alias.0));
            // Out of the zone the resolver goes on by itself.
            if !self.apex.zone_of(alias.1) || answer.answers.iter().any(|record| record.name == *alias.1) {
                return;
            }
            name = alias.1.clone();
        }
    }

    fn take(&self, node: &Node, name: &Name, kind: RecordType, answer: &mut Answer) {
        let records = match kind {
            // RFC 8482 § 4.1: any one set will do, which makes ANY useless for amplification.
            RecordType::ANY => node.values().next(),
            _ => node.get(&kind),
        };
        match records {
            Some(records) => answer.answers.extend(records.iter().map(|record| owned_by(name, record))),
            None => self.deny(ResponseCode::NoError, answer),
        }
    }

    /// A negative answer carries the SOA, with the time that it may be kept (RFC 2308 § 3 and § 5).
    fn deny(&self, code: ResponseCode, answer: &mut Answer) {
        answer.code = code;
        let soa = self.nodes.get(&self.apex).and_then(|node| node.get(&RecordType::SOA)).and_then(|set| set.first());
        if let Some((mut record, minimum)) = soa.and_then(|record| Some((record.clone(), minimum(record)?))) {
            record.ttl = record.ttl.min(minimum);
            answer.authorities.push(record);
        }
    }

    fn find(&self, name: &Name) -> Found<'_> {
        if let Some(servers) = self.delegation(name) {
            return Found::Delegated(servers);
        }
        if let Some(node) = self.nodes.get(name) {
            return Found::Node(node);
        }
        match self.closest(name).prepend_label("*").ok().and_then(|wildcard| self.nodes.get(&wildcard)) {
            Some(node) => Found::Wildcard(node),
            None => Found::Nothing,
        }
    }

    /// The name servers of the uppermost delegation on the way from the apex down to `name`.
    fn delegation(&self, name: &Name) -> Option<&[Record]> {
        let below_apex = usize::from(self.apex.num_labels()) + 1;
        (below_apex..=usize::from(name.num_labels()))
            .find_map(|labels| self.nodes.get(&name.trim_to(labels))?.get(&RecordType::NS))
            .map(Vec::as_slice)
    }

    /// The closest encloser (RFC 4592 § 3.3.1): the longest existing ancestor.
    fn closest(&self, name: &Name) -> Name {
        let mut ancestor = name.base_name();
        while ancestor != self.apex && !self.nodes.contains_key(&ancestor) {
            ancestor = ancestor.base_name();
        }
        ancestor
    }

    fn add_addresses(&self, answer: &mut Answer) {
        let mentioned = answer.answers.iter().chain(&answer.authorities).filter_map(mentions);
        let nodes = mentioned.filter_map(|name| self.nodes.get(name));
        let addresses: Vec<Record> = nodes
            .flat_map(|node| [RecordType::A, RecordType::AAAA].map(|kind| node.get(&kind)))
            .flatten()
            .flatten()
            .cloned()
            .collect();
        answer.additionals = addresses;
    }

    fn insert(&mut self, record: Record) {
        let mut above = record.name.base_name();
        while self.apex.zone_of(&above) && !self.nodes.contains_key(&above) {
            self.nodes.insert(above.clone(), Node::new());
            above = above.base_name();
        }
        let records = self.nodes.entry(record.name.clone()).or_default().entry(record.record_type()).or_default();
        // A name server that is also a host is said once (RFC 2181 § 5: a set has no duplicates).
        if !records.iter().any(|known| known.data == record.data) {
            records.push(record);
        }
    }
}

fn is_lone_alias(node: &Node) -> bool {
    node.len() == 1 && node.values().all(|set| set.len() == 1)
}

fn alias(node: &Node) -> Option<(Record, &Name)> {
    let record = node.get(&RecordType::CNAME)?.first()?;
    match &record.data {
        RData::CNAME(target) => Some((record.clone(), &target.0)),
        _ => None,
    }
}

/// The answer bears the name as it was asked, letter case included: resolvers check it (0x20).
fn owned_by(name: &Name, record: &Record) -> Record {
    let mut record = record.clone();
    record.name = name.clone();
    record
}

fn refer(servers: &[Record], answer: &mut Answer) {
    // What came before by an alias is still ours; a bare referral is not (RFC 1034 § 4.3.2 step 3b).
    answer.authoritative = !answer.answers.is_empty();
    answer.authorities = servers.to_vec();
}

fn minimum(record: &Record) -> Option<u32> {
    match &record.data {
        RData::SOA(soa) => Some(soa.minimum),
        _ => None,
    }
}

/// The name whose address the asker will want next.
fn mentions(record: &Record) -> Option<&Name> {
    match &record.data {
        RData::NS(server) => Some(&server.0),
        RData::MX(mail) => Some(&mail.exchange),
        RData::SRV(service) => Some(&service.target),
        _ => None,
    }
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
