//! The packet filter of a server: a pure function of the site. Nothing comes in but what an arrow of the drawing brings.
//!
//! Rules name who may open connections to what; answers to what the server opened itself come in by being answers.

mod arrows;

use std::fmt::Write;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::{Server, Site};
use crate::names::{Role, ServerName};
use crate::votes::votes;

pub use arrows::{Arrow, arrows};

/// The nftables table: everything of it is Mainstay's, and nothing else is touched.
pub const TABLE: &str = "mainstay_filter";

/// SSH's port (RFC 4251, IANA).
const SSH: u16 = 22;

/// A way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// What is there: `web`, `database`.
    pub what: String,
    /// By which protocol.
    pub protocol: Protocol,
    /// Where; 0 where the protocol has no ports.
    pub port: u16,
    /// For whom.
    pub from: From,
}

/// A protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// VRRP (RFC 9568 § 5.1.1.4): IP protocol 112.
    Vrrp,
}

/// Who may come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// Visitors.
    Anyone,
    /// Servers of the site.
    Servers(Vec<(ServerName, IpAddr)>),
    /// Declared networks.
    Networks(Vec<String>),
}

/// What is open on `server`; `None` where the declaration has no `[firewall]`.
pub fn openings(site: &Site, server: &Server) -> Option<Vec<Opening>> {
    let firewall = site.firewall.as_ref()?;
    let ports = &site.ports;
    let mut open = Vec::new();
    let mut add = |what: &str, protocol, port, from| open.push(Opening { what: what.into(), protocol, port, from });
    let others = |is: &dyn Fn(&Server) -> bool| others(site, server, is);
    let tcp = Protocol::Tcp;
    if server.has(site.front()) {
        add("http", tcp, ports.http, From::Anyone);
        if site.tls.is_some() {
            add("https", tcp, ports.https, From::Anyone);
        }
    }
    if server.has(Role::Dns) {
        add("dns", Protocol::Udp, ports.dns, From::Anyone);
        add("dns", tcp, ports.dns, From::Anyone);
    }
    if server.has(Role::Balancer) && site.cluster().is_some() {
        add("floating address", Protocol::Vrrp, 0, others(&|it| it.has(Role::Balancer)));
    }
    let limiters = site.limiters();
    if limiters.iter().any(|it| it.name == server.name) {
        add("limits", Protocol::Udp, ports.limits, others(&|it| limiters.iter().any(|other| other.name == it.name)));
    }
    if server.has(Role::Web) && site.front() != Role::Web {
        add("web", tcp, ports.web, others(&|it| it.has(Role::Balancer)));
    }
    if server.has(Role::App) {
        for (place, app) in site.apps.iter().enumerate() {
            add(&format!("app-{}", app.name), tcp, ports.app_at(place), others(&|it| it.has(Role::Web)));
        }
    }
    if server.has(Role::Database) {
        add("database", tcp, ports.database, others(&|it| it.has(Role::App) || it.has(Role::Database)));
        add("replication", tcp, ports.replication, others(&|it| it.has(Role::Database)));
        add("copies", tcp, ports.copies, others(&|it| it.has(Role::Database)));
    }
    if server.has(Role::Cache) {
        add("cache", tcp, ports.cache, others(&|it| it.has(Role::App) || it.has(Role::Cache)));
    }
    let members = votes(site);
    if members.iter().any(|member| member.name == server.name) {
        add("store", tcp, ports.store_client, others(&|_| true));
        // Who gets a vote or loses one takes part while that lasts.
        let moving =
            |it: &Server| [&site.coming_voters, &site.former_voters].iter().any(|some| some.contains(&it.name));
        let takes_part = |it: &Server| moving(it) || members.iter().any(|member| member.name == it.name);
        add("store", tcp, ports.store_peer, others(&takes_part));
    }
    if !firewall.ssh_from.is_empty() {
        add("ssh", tcp, SSH, From::Networks(firewall.ssh_from.clone()));
    }
    open.retain(|opening| opening.from != From::Servers(Vec::new()));
    Some(open)
}

fn others(site: &Site, server: &Server, is: &dyn Fn(&Server) -> bool) -> From {
    let them = site.servers.iter().filter(|it| it.name != server.name && is(it));
    From::Servers(them.map(|it| (it.name.clone(), it.address)).collect())
}

impl Opening {
    /// `tcp 8080  web  from lb1, lb2`.
    pub fn told(&self) -> String {
        let from = match &self.from {
            From::Anyone => "anyone".to_owned(),
            From::Servers(servers) => servers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
            From::Networks(networks) => networks.join(", "),
        };
        match self.protocol {
            Protocol::Tcp => format!("tcp {}  {}  from {from}", self.port, self.what),
            Protocol::Udp => format!("udp {}  {}  from {from}", self.port, self.what),
            Protocol::Vrrp => format!("vrrp  {}  from {from}", self.what),
        }
    }

    /// nftables' words (nft(8)), one line for each family of addresses.
    fn rules(&self) -> Vec<String> {
        let to = match self.protocol {
            Protocol::Tcp => format!("tcp dport {}", self.port),
            Protocol::Udp => format!("udp dport {}", self.port),
            Protocol::Vrrp => "meta l4proto 112".to_owned(),
        };
        let (v4, v6): (Vec<String>, Vec<String>) = match &self.from {
            From::Anyone => return vec![format!("{to} accept")],
            From::Servers(servers) => {
                servers.iter().map(|(_, address)| address.to_string()).partition(|address| !address.contains(':'))
            }
            From::Networks(networks) => networks.iter().cloned().partition(|network| !network.contains(':')),
        };
        let rule = |family: &str, from: Vec<String>| {
            (!from.is_empty()).then(|| format!("{family} saddr {{ {} }} {to} accept", from.join(", ")))
        };
        [rule("ip", v4), rule("ip6", v6)].into_iter().flatten().collect()
    }
}

/// The whole table as one transaction of nftables, whatever was there of it before.
///
/// What is not let in is dropped without a word. Not dropped is what belongs to no known connection and comes to an open
/// port: a server that has just taken an address over answers it with a reset, so that the client does not wait in vain.
pub fn rules(open: &[Opening]) -> String {
    let mut text = format!("table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n  chain input {{\n");
    for line in [
        "type filter hook input priority filter; policy drop;",
        "ct state established,related accept",
        "iif lo accept",
        // Without these an address is neither found nor kept: RFC 4861, RFC 4890 § 4.4.1.
        "icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, mld-listener-report, \
         mld2-listener-report, packet-too-big, parameter-problem } accept",
        "icmp type echo-request limit rate 50/second accept",
        "icmpv6 type echo-request limit rate 50/second accept",
        // A leased address is renewed: RFC 2131, RFC 8415.
        "udp sport 67 udp dport 68 accept",
        "ip6 saddr fe80::/10 udp dport 546 accept",
    ] {
        let _ = writeln!(text, "    {line}");
    }
    for rule in open.iter().flat_map(Opening::rules) {
        let _ = writeln!(text, "    {rule}");
    }
    text + "  }\n}\n"
}

/// Takes the table away.
pub fn none() -> String {
    format!("table inet {TABLE}\ndelete table inet {TABLE}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::{Anywhere, parse};
    use crate::names::Generation;
    use crate::plan::derive;

    fn secured(more: &str) -> Site {
        let text = include_str!("../../../designs/2-secured.toml");
        parse(&format!("{text}{more}"), &Anywhere).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    fn is_open(open: &[Opening], protocol: Protocol, port: u16, from: &ServerName) -> bool {
        open.iter().any(|it| {
            let may = match &it.from {
                From::Anyone => true,
                From::Servers(servers) => servers.iter().any(|(name, _)| name == from),
                From::Networks(_) => false,
            };
            (it.protocol, it.port) == (protocol, port) && may
        })
    }

    #[test]
    fn every_arrow_between_servers_is_open_where_it_ends() {
        let caches = "[servers.c1]\naddress = \"10.80.1.1\"\nroles = [\"cache\"]\n[servers.c2]\naddress = \"10.80.1.2\"\nroles = [\"cache\"]\n";
        for text in [include_str!("../../../designs/2-secured.toml"), include_str!("../../../designs/3-scale-up.toml")]
        {
            let site = parse(&format!("{text}\n{caches}"), &Anywhere).unwrap();
            for plan in derive(&site, &[], Generation(1)) {
                for flow in plan.services.iter().flat_map(|service| &service.talks) {
                    let end = site.server(&flow.server).unwrap();
                    if end.name == plan.server || flow.address.ip().is_loopback() {
                        continue;
                    }
                    let open = openings(&site, end).unwrap();
                    assert!(
                        is_open(&open, Protocol::Tcp, flow.address.port(), &plan.server),
                        "{} → {flow:?}",
                        plan.server
                    );
                }
            }
        }
    }

    #[test]
    fn what_has_no_arrow_is_closed() {
        let site = secured("");
        let open = |name: &str| openings(&site, site.server(&name.into()).unwrap()).unwrap();
        let lb = ServerName::from("lb1");
        assert!(!is_open(&open("server1"), Protocol::Tcp, site.ports.database, &lb), "a balancer needs no database");
        assert!(!is_open(&open("server1"), Protocol::Tcp, site.ports.app_at(0), &lb), "nor an application");
        assert!(is_open(&open("server1"), Protocol::Tcp, site.ports.web, &lb));
        assert!(open("server1").iter().all(|it| it.from != From::Anyone), "visitors come through the balancer");
        assert_eq!(openings(&Site { firewall: None, ..site.clone() }, &site.servers[0]), None);
    }

    #[test]
    fn the_rules_of_a_server() {
        let site = secured("");
        let text = rules(&openings(&site, site.server(&"server1".into()).unwrap()).unwrap());
        assert!(text.contains("policy drop;") && text.contains("delete table inet mainstay_filter\n"), "{text}");
        assert!(text.contains("    ip saddr { 10.80.0.10 } tcp dport 8080 accept\n"), "{text}");
        assert!(text.contains("    ip saddr { 192.0.2.0/24 } tcp dport 22 accept\n"), "{text}");
        assert!(!text.contains("invalid"), "strays at an open port get a reset");
    }
}
