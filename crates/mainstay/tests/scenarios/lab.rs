//! A site that runs for the length of one scenario.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use mainstay_node::control::Client;

use crate::client;

/// What a cold start may take, the making of the Python environment included.
const START: Duration = Duration::from_secs(240);

/// A running site; ended and deleted when dropped.
pub struct Lab {
    domain: String,
    binary: PathBuf,
    http: u16,
    https: u16,
    dns: u16,
    page: u16,
    folder: tempfile::TempDir,
    state: PathBuf,
}

/// The text of `designs/NAME.toml`, to be used from anywhere.
pub fn design(name: &str) -> String {
    let text = std::fs::read_to_string(root().join("designs").join(format!("{name}.toml"))).unwrap();
    text.replace("../examples", root().join("examples").to_str().unwrap())
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

impl Lab {
    /// Starts `designs/NAME.toml` under a domain of its own, so that scenarios and the machine's own sites stay apart.
    pub fn design(name: &str, domain: &str) -> Lab {
        Lab::start(&design(name), domain)
    }

    /// Starts a declaration, whose domain must be `foobar.com`, as `domain`.
    pub fn start(declaration: &str, domain: &str) -> Lab {
        let lab = Lab::prepare(declaration, domain);
        let up = lab.up();
        assert!(up.status.success(), "{}", said(&up));
        lab
    }

    /// A declaration written down, not yet started.
    pub fn prepare(declaration: &str, domain: &str) -> Lab {
        assert!(rustix::process::geteuid().is_root(), "the scenarios make network namespaces: run them as root");
        let folder = tempfile::Builder::new().prefix("ms-").tempdir().unwrap();
        // Role users must reach their state below it.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let [http, https, dns, page] = free_ports();
        let state = folder.path().join("state");
        let binary = env!("CARGO_BIN_EXE_mainstay").into();
        let lab = Lab { domain: domain.to_owned(), binary, http, https, dns, page, folder, state };
        lab.declare(declaration);
        lab
    }

    /// Edits the declaration; the next `up` follows it.
    pub fn declare(&self, declaration: &str) {
        std::fs::write(self.file(), declaration.replace("foobar.com", &self.domain)).unwrap();
    }

    /// Has the site run by a copy of the binary, which can be replaced.
    pub fn run_by_a_copy(&mut self) -> PathBuf {
        let copy = self.folder().join("mainstay");
        std::fs::copy(&self.binary, &copy).unwrap();
        self.binary.clone_from(&copy);
        copy
    }

    /// The site's domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Talks to the supervisor of a server.
    pub fn control<T, E: std::fmt::Debug>(&self, server: &str, ask: impl AsyncFnOnce(Client) -> Result<T, E>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ask(Client::new(self.state.join(server)))).unwrap()
    }

    /// Where a server keeps its state.
    pub fn state(&self, server: &str) -> PathBuf {
        self.state.join(server)
    }

    /// Keeps the state in a folder below the site's own.
    pub fn keep_state_in(&mut self, folder: &Path) {
        self.state = self.folder().join(folder).join("state");
    }

    /// `mainstay up --detach`.
    pub fn up(&self) -> Output {
        self.up_within(&[])
    }

    /// The same, run by another command.
    pub fn up_within(&self, wrapper: &[&str]) -> Output {
        let port = |number: u16| number.to_string();
        let mut argv = wrapper.to_vec();
        argv.extend([self.binary.to_str().unwrap(), "up"]);
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).args([
            self.file().to_str().unwrap(),
            "--detach",
            "--state",
            self.state.to_str().unwrap(),
            "--http",
            &port(self.http),
            "--https",
            &port(self.https),
            "--dns",
            &port(self.dns),
            "--page",
            &port(self.page),
            "--timeout",
            &START.as_secs().to_string(),
        ]);
        command.env("NO_COLOR", "1").output().unwrap()
    }

    /// `mainstay down`, data kept.
    pub fn down(&self) -> Output {
        self.mainstay(&["down", &self.domain])
    }

    /// Deletes the data of a site that is down.
    pub fn purge(self) {}

    /// `mainstay status --json`.
    pub fn status(&self) -> serde_json::Value {
        let output = self.mainstay(&["status", &self.domain, "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
    }

    /// Runs the binary.
    pub fn mainstay(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mainstay")).args(arguments).env("NO_COLOR", "1").output().unwrap()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self) -> PathBuf {
        self.folder().join("site.toml")
    }

    pub fn www(&self) -> String {
        format!("www.{}", self.domain)
    }

    pub fn http(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.http).into()
    }

    pub fn https(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.https).into()
    }

    pub fn page(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.page).into()
    }

    pub fn get(&self, path: &str) -> client::Answer {
        client::get(self.http(), &self.www(), path).unwrap()
    }

    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> client::Answer {
        client::post(self.http(), &self.www(), path, fields).unwrap()
    }

    /// `dig` at the published name server; the arguments follow the server's.
    pub fn dig(&self, arguments: &[&str]) -> String {
        let port = self.dns.to_string();
        let output = Command::new("dig")
            .args(["@127.0.0.1", "-p", &port, "+tries=1", "+time=2"])
            .args(arguments)
            .output()
            .expect("dig is in bind9-dnsutils");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// SIGKILL to a process of the scenario, by its number on this machine.
pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

impl Drop for Lab {
    fn drop(&mut self) {
        let down = self.mainstay(&["down", &self.domain, "--purge", "--yes"]);
        if !down.status.success() && !std::thread::panicking() {
            panic!("down --purge: {}", said(&down));
        }
    }
}

/// Everything a command said.
pub fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Ports that nothing listens on now.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Waits until `condition` gives something, or says what did not happen.
#[expect(clippy::disallowed_methods, reason = "this is the one place that waits, and it has a deadline")]
pub fn eventually<T>(what: &str, within: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
