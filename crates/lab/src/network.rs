//! The wires: namespaces, a bridge between them, and what may happen to a cable.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use mainstay_site::model::Site;
use mainstay_site::names::{Domain, ServerName};
use serde::{Deserialize, Serialize};

use crate::{names, namespace};

/// What a client on the internet may be called: TEST-NET-3, -1 and -2 (RFC 5737) and the documentation prefix
/// (RFC 3849). The first of each family that no server has is taken.
const OUTSIDE: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 254)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 254)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0xffff, 0, 0, 0, 0xfffe)),
];

/// The nftables table in the bridge's namespace that holds the partitions.
const TABLE: &str = "mainstay_lab";

/// Every wire of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wires {
    /// The namespace of the bridge.
    pub bridge: String,
    /// The namespace of the clients.
    pub internet: String,
    /// The servers' ends, in the order of the declaration, then the internet's.
    pub ends: Vec<End>,
}

/// One end of a cable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The server; `None` for the internet.
    pub server: Option<ServerName>,
    /// Its network namespace; the interface there is `eth0`.
    pub namespace: String,
    /// The other end of the cable: a port of the bridge.
    pub port: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Packets that are lost in the bridge. What is not given holds for all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss<'a> {
    /// Whose packets.
    pub from: Option<&'a ServerName>,
    /// For whom.
    pub to: Option<&'a ServerName>,
    /// Of connections to these ports, in either direction; empty for every packet.
    pub ports: &'a [u16],
}

/// How a cable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// In place.
    Plugged,
    /// Pulled: the server's interface loses its carrier.
    Pulled,
}

impl Wires {
    /// What `site` needs; nothing is made yet.
    pub fn of(site: &Site) -> Wires {
        let internet = names::internet(&site.domain);
        let servers = site.servers.iter().enumerate().map(|(index, server)| End {
            server: Some(server.name.clone()),
            namespace: names::server(&site.domain, &server.name),
            port: names::port(index),
            addresses: vec![server.address],
        });
        let outside = End {
            server: None,
            namespace: internet.clone(),
            port: names::port(site.servers.len()),
            addresses: outside(site),
        };
        Wires { bridge: names::bridge(&site.domain), internet, ends: servers.chain([outside]).collect() }
    }

    /// Every namespace that these wires need.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.bridge.as_str()).chain(self.ends.iter().map(|end| end.namespace.as_str()))
    }

    /// Makes the namespaces and everything in them.
    pub fn lay(&self, site: &Domain) -> anyhow::Result<()> {
        let what = || format!("the network of {site} could not be laid");
        ip(None, &self.cables()).with_context(what)?;
        ip(Some(&self.bridge), &self.switch()).with_context(what)?;
        self.ends.iter().try_for_each(|end| ip(Some(&end.namespace), &end.interface())).with_context(what)
    }

    /// Adds what servers need that have no end yet, in a network that was laid.
    pub(crate) fn extend(&mut self, site: &Site) -> anyhow::Result<()> {
        let mut added = Vec::new();
        for server in &site.servers {
            if self.end(&server.name).is_ok() {
                continue;
            }
            let is_free = |port: &String| self.ends.iter().chain(&added).all(|end: &End| end.port != *port);
            let port = (0..=self.ends.len() + added.len()).map(names::port).find(is_free);
            let port = port.context("the bridge has no free port")?;
            let namespace = names::server(&site.domain, &server.name);
            added.push(End { server: Some(server.name.clone()), namespace, port, addresses: vec![server.address] });
        }
        let new = Wires { bridge: self.bridge.clone(), internet: self.internet.clone(), ends: added };
        // Of a try that failed.
        new.ends
            .iter()
            .filter(|end| namespace::exists(&end.namespace))
            .try_for_each(|end| ip(None, &format!("netns del {}\n", end.namespace)))?;
        for end in &new.ends {
            ip(None, &format!("netns add {}\n{}", end.namespace, new.cable_of(end)))?;
            ip(Some(&self.bridge), &plugged(end))?;
            ip(Some(&end.namespace), &end.interface())?;
        }
        self.ends.extend(new.ends);
        Ok(())
    }

    /// Takes a server's end away.
    pub(crate) fn retire(&mut self, server: &ServerName) -> anyhow::Result<()> {
        let namespace = self.end(server)?.namespace.clone();
        if namespace::exists(&namespace) {
            ip(None, &format!("netns del {namespace}\n"))?;
        }
        self.ends.retain(|end| end.server.as_ref() != Some(server));
        Ok(())
    }

    /// Removes every namespace that there is; cables and bridge go with them.
    pub fn remove(&self) -> anyhow::Result<()> {
        let doomed: String = self
            .namespaces()
            .filter(|name| namespace::exists(name))
            .map(|name| format!("netns del {name}\n"))
            .collect();
        if doomed.is_empty() { Ok(()) } else { ip(None, &doomed) }
    }

    /// Pulls a server's cable or puts it back.
    pub fn cable(&self, server: &ServerName, cable: Cable) -> anyhow::Result<()> {
        let state = if cable == Cable::Pulled { "down" } else { "up" };
        ip(Some(&self.bridge), &format!("link set {} {state}\n", self.end(server)?.port))
    }

    /// Loses every packet from `from` to `to`, and none the other way.
    pub fn drop_one_way(&self, from: &ServerName, to: &ServerName) -> anyhow::Result<()> {
        self.lose(Loss { from: Some(from), to: Some(to), ports: &[] })
    }

    /// Loses packets until [`Wires::heal`].
    pub fn lose(&self, loss: Loss<'_>) -> anyhow::Result<()> {
        let port = |word: &str, server: Option<&ServerName>| {
            server.map_or(Ok(String::new()), |server| Ok(format!("{word} {} ", self.end(server)?.port)))
        };
        let ends =
            [port("iifname", loss.from), port("oifname", loss.to)].into_iter().collect::<anyhow::Result<String>>()?;
        let ports: Vec<String> = loss.ports.iter().map(ToString::to_string).collect();
        let matches = match ports.as_slice() {
            [] => vec![String::new()],
            ports => ["dport", "sport"].map(|end| format!("tcp {end} {{ {} }} ", ports.join(", "))).to_vec(),
        };
        let rules = matches.iter().map(|ports| format!("add rule bridge {TABLE} forward {ends}{ports}drop\n"));
        let chain = format!("table bridge {TABLE} {{ chain forward {{ type filter hook forward priority 0; }}\n}}\n");
        self.nft(&(chain + &rules.collect::<String>()))
    }

    /// Loses every packet between the two sides, both ways.
    pub fn part(&self, one: &[ServerName], other: &[ServerName]) -> anyhow::Result<()> {
        one.iter().flat_map(|a| other.iter().map(move |b| (a, b))).try_for_each(|(a, b)| {
            self.drop_one_way(a, b)?;
            self.drop_one_way(b, a)
        })
    }

    /// Ends every partition. Pulled cables stay pulled.
    pub fn heal(&self) -> anyhow::Result<()> {
        // The first line makes sure that there is something to delete.
        self.nft(&format!("add table bridge {TABLE}\ndelete table bridge {TABLE}\n"))
    }

    pub(crate) fn end(&self, server: &ServerName) -> anyhow::Result<&End> {
        let found = self.ends.iter().find(|end| end.server.as_ref() == Some(server));
        found.with_context(|| format!("the lab has no server called {server}"))
    }

    fn nft(&self, rules: &str) -> anyhow::Result<()> {
        namespace::within(&self.bridge, || feed("nft", &["-f", "-"], rules))?
    }

    /// One command for all namespaces and cables: ten servers take 0.06 s.
    fn cables(&self) -> String {
        let namespaces = self.namespaces().map(|name| format!("netns add {name}\n"));
        namespaces.chain(self.ends.iter().map(|end| self.cable_of(end))).collect()
    }

    fn cable_of(&self, end: &End) -> String {
        let (inside, port, bridge) = (&end.namespace, &end.port, &self.bridge);
        format!("link add name eth0 netns {inside} type veth peer name {port} netns {bridge}\n")
    }

    fn switch(&self) -> String {
        let ports = self.ends.iter().map(plugged);
        std::iter::once("link set lo up\nlink add br0 type bridge\nlink set br0 up\n".to_owned()).chain(ports).collect()
    }
}

fn plugged(end: &End) -> String {
    let alias = end.server.as_ref().map_or("internet", |server| server.as_str());
    format!("link set {} master br0 alias {alias} up\n", end.port)
}

impl End {
    /// Each address by itself with a default route over the cable: whatever addresses a declaration gives its servers,
    /// they all seem to be on one wire.
    fn interface(&self) -> String {
        let mut batch = String::from("link set lo up\nlink set eth0 up\n");
        for address in &self.addresses {
            // Without duplicate address detection (RFC 4862 § 5.4) an address is usable at once; in the lab the
            // declaration has seen to it that there is no duplicate.
            let (length, everywhere, detection) = match address {
                IpAddr::V4(_) => (32, "0.0.0.0/0", ""),
                IpAddr::V6(_) => (128, "::/0", "nodad"),
            };
            batch += &format!("addr add {address}/{length} dev eth0 {detection}\nroute add {everywhere} dev eth0\n");
        }
        batch
    }
}

/// The client's addresses: one of each family that the servers use.
fn outside(site: &Site) -> Vec<IpAddr> {
    let taken: Vec<IpAddr> = site.servers.iter().map(|server| server.address).chain(site.public_addresses()).collect();
    let first = |v4: bool| OUTSIDE.into_iter().find(|free| free.is_ipv4() == v4 && !taken.contains(free));
    let wanted = |v4: bool| taken.iter().any(|address| address.is_ipv4() == v4);
    [true, false].into_iter().filter(|v4| wanted(*v4)).filter_map(first).collect()
}

/// Runs a batch of `ip` commands, in the network namespace `inside` if given.
fn ip(inside: Option<&str>, batch: &str) -> anyhow::Result<()> {
    let arguments: Vec<&str> = inside.into_iter().flat_map(|name| ["-n", name]).chain(["-batch", "-"]).collect();
    feed("ip", &arguments, batch)
}

/// Runs `program` with `input` and makes its complaint the error.
fn feed(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    let package = if program == "ip" { "iproute2" } else { "nftables" };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{program}` could not be run; the Debian package {package} has it"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says why on standard error; a broken pipe adds nothing.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("`{program} {}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
