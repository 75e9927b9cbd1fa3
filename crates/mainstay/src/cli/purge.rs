//! `mainstay purge`: what is stale out of the web servers' caches.

use std::process::ExitCode;

use anyhow::{bail, ensure};
use mainstay_node::control::Client;
use mainstay_site::model::FORMAT;
use mainstay_site::names::{Domain, Role, ServerName};
use mainstay_site::wire::{Address, Purge};
use serde::Serialize;

use super::exit::UNWELL;
use super::running::{Running, Which};
use super::up::runtime;
use crate::render;

/// Take answers out of the caches of all web servers
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::PURGE)]
pub struct Args {
    /// The site's domain; may be left out when only one is up
    #[arg(value_name = "SITE")]
    site: Option<String>,
    /// Addresses as visitors write them, or paths, which are meant under every host; with the query
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// What has this tag in its Cache-Tag or Surrogate-Key; may be said several times
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Everything
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How it went on all servers.
#[derive(Serialize)]
struct Told {
    format: u32,
    site: Domain,
    servers: Vec<Server>,
}

/// How it went on one.
#[derive(Serialize)]
struct Server {
    server: ServerName,
    /// How many addresses were taken out; by HTTP and by HTTPS are two.
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<u64>,
    /// Why it may still have what is stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Args {
    /// `mainstay purge https://foobar.com/` names an address: no domain has a slash.
    fn sorted(mut self) -> Args {
        if let Some(url) = self.site.take_if(|word| word.contains('/')) {
            self.urls.insert(0, url);
        }
        self
    }

    fn purge(&self) -> anyhow::Result<Purge> {
        match (self.urls.is_empty(), self.tag.is_empty(), self.all) {
            (false, true, false) => {
                Ok(Purge::Addresses(self.urls.iter().map(|url| address(url)).collect::<anyhow::Result<_>>()?))
            }
            (true, false, false) => {
                if let Some(odd) = self.tag.iter().find(|tag| tag.is_empty() || tag.contains([',', ' ', '\t'])) {
                    bail!("`{odd}` is no tag: commas and spaces separate tags; say --tag for each");
                }
                Ok(Purge::Tags(self.tag.clone()))
            }
            (true, true, true) => Ok(Purge::Everything),
            (true, true, false) => bail!("say what: addresses, paths, --tag TAG, or --all"),
            _ => bail!("addresses, --tag and --all do not go together; purge one after the other"),
        }
    }
}

/// Asks every web server and says what each took out. The exit code is 0 if all of them did, else 5.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let args = args.sorted();
    let purge = args.purge()?;
    let running = Which::named(args.site.clone()).running()?;
    let domain = running.site.domain.clone();
    ensure!(running.site.web.cache.is_some(), "{domain} caches nothing: its declaration says [web] cache = false");
    let servers = runtime()?.block_on(everywhere(&running, &purge));
    let whole = servers.iter().all(|server| server.error.is_none());
    let told = Told { format: FORMAT, site: domain, servers };
    if args.json {
        render::print_json(&told)?;
    } else {
        render::print(&told.servers.iter().map(line).collect::<String>());
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(UNWELL) })
}

/// One after the other: each takes milliseconds, and one that hangs, seconds.
async fn everywhere(running: &Running, purge: &Purge) -> Vec<Server> {
    let mut servers = Vec::new();
    // Web servers first: what a balancer asks for anew must not be what a web server still has.
    let balancers = running.site.with_role(Role::Balancer).filter(|server| !server.has(Role::Web));
    let keeps = running.site.balancer.as_ref().is_some_and(|balancer| balancer.cache.is_some());
    for server in running.site.with_role(Role::Web).chain(balancers.filter(|_| keeps)) {
        let client = Client::new(running.folder.server(&server.name).join("control.sock"));
        let (addresses, error) = match client.purge(purge).await {
            Ok(purged) => (Some(purged.iter().map(|purged| purged.addresses).sum()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        servers.push(Server { server: server.name.clone(), addresses, error });
    }
    servers
}

fn line(server: &Server) -> String {
    let name = &server.server;
    match (server.addresses, &server.error) {
        (Some(0), _) => format!("{name}: nothing of it was there\n"),
        (Some(1), _) => format!("{name}: 1 address taken out\n"),
        (Some(count), _) => format!("{name}: {count} addresses taken out\n"),
        (None, error) => format!("{name}: it may still be there: {}\n", error.as_deref().unwrap_or_default()),
    }
}

/// Where what is meant by `url` is stored.
fn address(url: &str) -> anyhow::Result<Address> {
    let graphic = url.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(graphic, "`{url}` is no address as browsers send it: encode spaces and letters like ü as %20 and %C3%BC");
    let whole = url.split('#').next().unwrap_or_default();
    if whole.starts_with('/') {
        return Ok(Address { host: None, target: whole.to_owned() });
    }
    let schemes = [("http://", ":80"), ("https://", ":443")];
    let known = schemes.iter().find_map(|(scheme, port)| Some((whole.strip_prefix(scheme)?, port)));
    let Some((rest, port)) = known else {
        bail!("`{url}` is neither an address (https://www.foobar.com/news) nor a path (/news)");
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    // Browsers do not write a scheme's own port.
    let host = authority.strip_suffix(port).unwrap_or(authority);
    ensure!(!host.is_empty() && !host.contains('@'), "`{url}` has no host that visitors could ask for");
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok(Address { host: Some(host.to_owned()), target: format!("{slash}{target}") })
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_as_visitors_write_them() {
        for (url, host, target) in [
            ("https://www.foobar.com", Some("www.foobar.com"), "/"),
            ("https://foobar.com:443/a?b=c#d", Some("foobar.com"), "/a?b=c"),
            ("http://foobar.com:443/", Some("foobar.com:443"), "/"),
            ("http://foobar.localhost:8080?x", Some("foobar.localhost:8080"), "/?x"),
            ("/news?page=2", None, "/news?page=2"),
        ] {
            let read = address(url).unwrap();
            assert_eq!((read.host.as_deref(), read.target.as_str()), (host, target), "{url}");
        }
        for wrong in ["", "news", "ftp://a/", "https://", "https:///x", "http://me@foobar.com/", "/a b", "/ü"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
