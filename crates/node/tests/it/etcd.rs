//! Debian's etcd as a foreign peer: members on ports of their own, in a folder of their own, with TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mainstay_node::authority;
use mainstay_node::store::{Error, Store};
use mainstay_site::declaration::{Anywhere, parse};
use mainstay_site::model::Site;
use mainstay_site::names::{Domain, ServerName};
use mainstay_site::secrets::Secrets;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{DEADLINE, free, secrets};

/// The site whose store it is.
pub const SITE: &str = "foobar.com";

/// Members that end with this value.
pub struct Cluster {
    pub folder: tempfile::TempDir,
    pub secrets: Secrets,
    members: Vec<Member>,
    /// Ports stay taken between the choice and the start.
    arguments: Vec<Vec<String>>,
}

struct Member {
    name: ServerName,
    client: SocketAddr,
    child: Child,
}

pub fn site(servers: usize) -> Site {
    let mut text =
        format!("format = 1\n[site]\ndomain = \"{SITE}\"\n[app]\npath = \".\"\nkind = \"wsgi\"\nentry = \"a:b\"\n");
    for number in 1..=servers {
        let roles = if number == 1 { "\"dns\", \"web\", \"app\"" } else { "\"web\"" };
        text += &format!("[servers.s{number}]\naddress = \"10.0.0.{number}\"\nroles = [{roles}]\n");
    }
    parse(&text, &Anywhere).unwrap()
}

impl Cluster {
    /// Starts `count` members and waits until they have a leader.
    pub async fn start(count: usize) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let site = site(count);
        let mut secrets = secrets();
        authority::complete(&site, &mut secrets).unwrap();
        write_certificates(folder.path(), &secrets);
        let places: Vec<(ServerName, SocketAddr, SocketAddr)> =
            site.servers.iter().map(|server| (server.name.clone(), free(), free())).collect();
        let initial: Vec<String> = places.iter().map(|(name, _, peer)| format!("{name}=https://{peer}")).collect();
        let arguments: Vec<Vec<String>> =
            places.iter().map(|place| arguments(folder.path(), place, &initial.join(","))).collect();
        let members = places.iter().zip(&arguments).map(|((name, client, _), arguments)| Member {
            name: name.clone(),
            client: *client,
            child: spawn(arguments),
        });
        let members = members.collect();
        let cluster = Cluster { folder, secrets, members, arguments };
        cluster.ready().await;
        cluster
    }

    /// Waits until the store answers.
    pub async fn ready(&self) {
        let store = self.store();
        let answered = async { while store.get("ready").await.is_err() {} };
        tokio::time::timeout(DEADLINE, answered).await.expect("etcd does not become ready");
    }

    pub fn endpoints(&self) -> Vec<(ServerName, SocketAddr)> {
        self.members.iter().map(|member| (member.name.clone(), member.client)).collect()
    }

    /// A store of its own for every caller, as every service has.
    pub fn store(&self) -> Store {
        self.store_at(&self.endpoints())
    }

    /// A store that knows these members only.
    pub fn store_at(&self, endpoints: &[(ServerName, SocketAddr)]) -> Store {
        self.open(endpoints, &self.secrets).unwrap()
    }

    /// As a service opens it.
    pub fn open(&self, endpoints: &[(ServerName, SocketAddr)], secrets: &Secrets) -> Result<Store, Error> {
        Ok(Store::of(&Domain::from(SITE), &"s1".into(), endpoints, &secrets.of(&"s1".into()))?.unwrap())
    }

    pub fn signal(&self, member: usize, signal: Signal) {
        kill_process(Pid::from_child(&self.members[member].child), signal).unwrap();
    }

    /// Kills a member and waits for its end.
    pub fn kill(&mut self, member: usize) {
        let child = &mut self.members[member].child;
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts a killed member again.
    pub fn restart(&mut self, member: usize) {
        self.members[member].child = spawn(&self.arguments[member]);
    }

    /// Who leads.
    pub fn leader(&self) -> usize {
        let status = self.etcdctl(&["endpoint", "status"]);
        // Endpoint, id, version, size, whether it leads …
        let leads = |line: &&str| line.split(", ").nth(4) == Some("true");
        let line = status.lines().find(leads).unwrap_or_else(|| panic!("nobody leads: {status}"));
        self.members.iter().position(|member| line.contains(&member.client.to_string())).unwrap()
    }

    /// Debian's own client.
    pub fn etcdctl(&self, arguments: &[&str]) -> String {
        let endpoints: Vec<String> = self.members.iter().map(|member| format!("https://{}", member.client)).collect();
        let folder = self.folder.path();
        let out = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &endpoints.join(","), "--command-timeout", "5s"])
            .args(["--cacert", folder.join("ca.pem").to_str().unwrap()])
            .args(["--cert", folder.join("s1.pem").to_str().unwrap()])
            .args(["--key", folder.join("s1.key").to_str().unwrap()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

fn write_certificates(folder: &Path, secrets: &Secrets) {
    std::fs::write(folder.join("ca.pem"), &secrets.authority.as_ref().unwrap().certificate).unwrap();
    for (name, identity) in &secrets.identities {
        std::fs::write(folder.join(format!("{name}.pem")), &identity.certificate).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), &identity.key).unwrap();
    }
}

fn arguments(folder: &Path, (name, client, peer): &(ServerName, SocketAddr, SocketAddr), initial: &str) -> Vec<String> {
    let at = |file: &str| folder.join(file).display().to_string();
    let (certificate, key, authority) = (at(&format!("{name}.pem")), at(&format!("{name}.key")), at("ca.pem"));
    let pairs = [
        ("name", name.to_string()),
        ("data-dir", at(&format!("{name}.etcd"))),
        ("listen-client-urls", format!("https://{client}")),
        ("advertise-client-urls", format!("https://{client}")),
        ("listen-peer-urls", format!("https://{peer}")),
        ("initial-advertise-peer-urls", format!("https://{peer}")),
        ("initial-cluster", initial.to_owned()),
        ("heartbeat-interval", "100".into()),
        ("election-timeout", "1000".into()),
        ("grpc-keepalive-min-time", "500ms".into()),
        ("cert-file", certificate.clone()),
        ("key-file", key.clone()),
        ("trusted-ca-file", authority.clone()),
        ("peer-cert-file", certificate),
        ("peer-key-file", key),
        ("peer-trusted-ca-file", authority),
    ];
    let pairs = pairs.into_iter().map(|(option, value)| format!("--{option}={value}"));
    pairs.chain(["--client-cert-auth".into(), "--peer-client-cert-auth".into()]).collect()
}

fn spawn(arguments: &[String]) -> Child {
    let mut command = Command::new("etcd");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("etcd is missing; bin/packages test installs it")
}
