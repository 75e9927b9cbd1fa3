//! The rules of all servers as arrows: who may open connections to whom, and to what there. For people; what is enforced is
//! each server's own list, of which this is the sum.

use std::collections::BTreeSet;

use super::{From, Opening, Protocol, openings};
use crate::model::Site;
use crate::names::ServerName;

/// More names than these are no longer read.
const SHOWN: usize = 4;

/// Connections that are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// `anyone`, `web1, web2`, `192.0.2.0/24`.
    pub from: String,
    /// The servers that they lead to.
    pub to: String,
    /// `http 80, https 443`.
    pub what: String,
}

impl Arrow {
    /// `anyone → lb1, lb2: http 80, https 443`.
    pub fn told(&self) -> String {
        format!("{} → {}: {}", self.from, self.to, self.what)
    }
}

/// Everything that the servers' filters let in, from the visitor inwards; nothing where nothing is filtered.
pub fn arrows(site: &Site) -> Vec<Arrow> {
    let mut bundles: Vec<Bundle<'_>> = Vec::new();
    for thing in things(site) {
        match bundles.iter_mut().find(|it| it.ends() == thing.ends()) {
            Some(bundle) => bundle.what.extend(thing.what),
            None => bundles.push(thing),
        }
    }
    bundles.sort_by_key(Bundle::rank);
    bundles.iter().map(|bundle| bundle.arrow(site)).collect()
}

/// What has the same two ends.
struct Bundle<'s> {
    to: BTreeSet<&'s ServerName>,
    from: BTreeSet<Source>,
    /// What, how, where.
    what: Vec<(String, Protocol, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Anyone,
    Server(ServerName),
    Network(String),
}

/// One bundle for each port of a kind, on whichever servers that is.
fn things(site: &Site) -> Vec<Bundle<'_>> {
    let mut things: Vec<Bundle<'_>> = Vec::new();
    for server in &site.servers {
        for Opening { what, protocol, port, from } in openings(site, server).into_iter().flatten() {
            let key = (what, protocol, port);
            // Of an application that is on one server with another, the port tells them apart.
            let place = things.iter().position(|thing| thing.what[0] == key).unwrap_or(things.len());
            if place == things.len() {
                things.push(Bundle { to: BTreeSet::new(), from: BTreeSet::new(), what: vec![key] });
            }
            things[place].to.insert(&server.name);
            things[place].from.extend(sources(from));
        }
    }
    things
}

fn sources(from: From) -> Vec<Source> {
    match from {
        From::Anyone => vec![Source::Anyone],
        From::Servers(servers) => servers.into_iter().map(|(name, _)| Source::Server(name)).collect(),
        From::Networks(networks) => networks.into_iter().map(Source::Network).collect(),
    }
}

impl Bundle<'_> {
    fn ends(&self) -> (&BTreeSet<&ServerName>, &BTreeSet<Source>) {
        (&self.to, &self.from)
    }

    /// Visitors first, operators last.
    fn rank(&self) -> u8 {
        match self.from.first() {
            Some(Source::Anyone) => 0,
            Some(Source::Network(_)) => 2,
            _ => 1,
        }
    }

    fn arrow(&self, site: &Site) -> Arrow {
        let servers: BTreeSet<&ServerName> = self.from.iter().filter_map(Source::server).collect();
        let from = if self.from.contains(&Source::Anyone) {
            "anyone".to_owned()
        } else if servers.is_empty() {
            self.from.iter().map(Source::told).collect::<Vec<_>>().join(", ")
        } else {
            names(site, &servers)
        };
        let among = servers == self.to && servers.len() > 1;
        let to = if among { "each other".to_owned() } else { names(site, &self.to) };
        Arrow { from, to, what: self.things().join(", ") }
    }

    /// What is there by TCP and by UDP is said once.
    fn things(&self) -> Vec<String> {
        let told = |(what, protocol, port): &(String, Protocol, u16)| match protocol {
            Protocol::Vrrp => format!("{what} (VRRP)"),
            _ => format!("{what} {port}"),
        };
        let mut all: Vec<String> = Vec::new();
        for thing in self.what.iter().map(told) {
            if !all.contains(&thing) {
                all.push(thing);
            }
        }
        all
    }
}

impl Source {
    fn server(&self) -> Option<&ServerName> {
        if let Source::Server(name) = self { Some(name) } else { None }
    }

    fn told(&self) -> String {
        match self {
            Source::Anyone => "anyone".into(),
            Source::Server(name) => name.to_string(),
            Source::Network(network) => network.clone(),
        }
    }
}

/// In the order of the file.
fn names(site: &Site, of: &BTreeSet<&ServerName>) -> String {
    if of.len() == site.servers.len() && of.len() > 1 {
        return "every server".into();
    }
    let all: Vec<&str> = site.servers.iter().filter(|it| of.contains(&it.name)).map(|it| it.name.as_str()).collect();
    match all.len() {
        ..=SHOWN => all.join(", "),
        many => format!("{} and {} others", all[..SHOWN - 1].join(", "), many - SHOWN + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::{Anywhere, parse};

    fn told(text: &str) -> Vec<String> {
        let site = parse(text, &Anywhere).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        arrows(&site).iter().map(Arrow::told).collect()
    }

    #[test]
    fn the_design_of_growth_as_a_newcomer_reads_it() {
        let secured = told(include_str!("../../../../designs/2-secured.toml"));
        assert_eq!(
            secured,
            [
                "anyone → lb1: http 80, https 443, dns 53",
                "every server → fw1, lb1, mon1: store 2379",
                "fw1, lb1, mon1 → each other: store 2380",
                "lb1 → server1, server2: web 8080",
                "server1, server2 → each other: app-site 8000, database 3306, replication 3307, copies 3308",
                "192.0.2.0/24 → every server: ssh 22",
            ]
        );
        assert!(told(include_str!("../../../../designs/1-distributed.toml")).is_empty(), "nothing is filtered");
    }

    #[test]
    fn many_are_counted() {
        let servers: String = (1..=9)
            .map(|it| format!("[servers.w{it}]\naddress = \"10.0.0.{it}\"\nroles = [\"web\", \"app\"]\n"))
            .collect();
        let text = format!(
            "format = 1\n[site]\ndomain = \"foobar.com\"\n[firewall]\n[app]\npath = \".\"\nkind = \"wsgi\"\nentry = \"a:b\"\n\
             [servers.lb]\naddress = \"10.0.1.1\"\nroles = [\"balancer\"]\n{servers}"
        );
        let all = told(&text);
        assert!(all.contains(&"lb → w1, w2, w3 and 6 others: web 8080".to_owned()), "{all:?}");
        assert!(all.contains(&"w1, w2, w3 and 6 others → each other: app-site 8000".to_owned()), "{all:?}");
    }
}
