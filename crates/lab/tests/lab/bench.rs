//! What the tests share: a lab in a folder of its own, and sockets inside it.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mainstay_lab::{Boot, Lab, Mode, Options, Place, within};
use mainstay_site::declaration::{Anywhere, parse};
use mainstay_site::model::Site;
use tempfile::TempDir;

/// Process 1 of a test's server: says when it can be asked to stop, and does nothing else.
pub const IDLE: &str = "trap 'exit 0' TERM; echo on; while :; do sleep 1000 & wait; done";

/// How long anything local may take before the test says that it does not happen.
pub const SOON: Duration = Duration::from_secs(10);

/// How long to look for what must not arrive.
pub const MOMENT: Duration = Duration::from_millis(300);

pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: namespaces cannot be tried");
    }
    root
}

/// A site of a domain that no other test or run has, with a web server on each address.
pub fn site(test: &str, addresses: &[&str]) -> Site {
    let mut text = format!(
        "format = 1\n[site]\ndomain = \"{test}-{}.example\"\n[app]\npath = \".\"\nkind = \"http\"\ncommand = \"true\"\n",
        std::process::id()
    );
    for (index, address) in addresses.iter().enumerate() {
        let number = index + 1;
        text += &format!("[servers.web{number}]\naddress = \"{address}\"\nroles = [\"web\", \"app\"]\n");
    }
    parse(&text, &Anywhere).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:#?}"))
}

pub struct Bench {
    pub lab: Lab,
    pub site: Site,
    pub place: Place,
    pub folder: TempDir,
}

pub fn options(mode: Mode, place: &Place, folder: &Path) -> Options {
    Options { mode, place: place.clone(), state: folder.into(), published: Vec::new() }
}

/// A lab of `site` with every server on and idle.
pub fn start(site: Site, mode: Mode) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::below(folder.path(), &site.domain);
    let held = place.hold().unwrap().expect("a new folder is free");
    let mut lab = Lab::start(&site, options(mode, &place, folder.path()), held).unwrap();
    for server in &site.servers {
        lab.power_on(&server.name, boot(IDLE, folder.path(), server.name.as_str())).unwrap();
    }
    for server in &site.servers {
        on(folder.path(), server.name.as_str());
    }
    Bench { lab, site, place, folder }
}

/// Waits until the server's process 1 listens to signals: until then, the kernel keeps them from it
/// (pid_namespaces(7)).
pub fn on(folder: &Path, server: &str) {
    let console = console(folder, server);
    eventually("process 1 runs", || std::fs::read_to_string(&console).is_ok_and(|said| said.ends_with("on\n")));
}

pub fn boot(script: &str, folder: &Path, server: &str) -> Boot {
    Boot { argv: ["sh", "-c", script].map(Into::into).into(), console: console(folder, server) }
}

pub fn console(folder: &Path, server: &str) -> PathBuf {
    folder.join(server).join("console.log")
}

impl Bench {
    pub fn namespace(&self, server: &str) -> String {
        let wires = self.lab.record().wires.as_ref().unwrap();
        let end = wires.ends.iter().find(|end| end.server.as_ref().is_some_and(|name| name.as_str() == server));
        end.unwrap().namespace.clone()
    }

    pub fn address(&self, server: &str) -> IpAddr {
        self.site.server(&server.into()).unwrap().address
    }

    pub fn listen(&self, server: &str, port: u16) -> TcpListener {
        within(&self.namespace(server), || TcpListener::bind((self.address(server), port))).unwrap().unwrap()
    }

    pub fn datagrams(&self, server: &str, port: u16) -> UdpSocket {
        within(&self.namespace(server), || UdpSocket::bind((self.address(server), port))).unwrap().unwrap()
    }

    pub fn connect(&self, namespace: &str, to: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
        within(namespace, || TcpStream::connect_timeout(&to, patience)).unwrap()
    }
}

/// Waits until `holds`, looking again and again.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
