//! A small site in a folder of its own, whose application is Python's file server.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// An application that serves its folder.
pub const FILES: &str = "exec /usr/bin/python3 -m http.server $PORT --bind $HOST";

const OPTIONS: [&str; 4] = ["--http", "--https", "--dns", "--page"];

/// How long an answer may take on a busy machine.
const ANSWER: Duration = Duration::from_secs(20);

pub struct Site {
    pub domain: String,
    pub folder: TempDir,
    ports: [u16; 4],
}

pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: namespaces cannot be tried");
    }
    root
}

impl Site {
    /// One server with name server, web server and the applications, `(name, command)`; the first takes every path that
    /// no other has (`/NAME/`).
    pub fn new(applications: &[(&str, &str)]) -> Site {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let domain = format!("t{}-{}.example", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let mut text = format!(
            "format = 1\n[site]\ndomain = \"{domain}\"\n\
             [servers.server1]\naddress = \"10.80.0.11\"\nroles = [\"dns\", \"web\", \"app\"]\n"
        );
        for (index, (name, command)) in applications.iter().enumerate() {
            let path = if index == 0 { "/".to_owned() } else { format!("/{name}/") };
            text += &format!(
                "[apps.{name}]\npath = \"code-{name}\"\nkind = \"http\"\ncommand = \"{command}\"\nworkers = 1\n\
                 shared = [\"kept\"]\nroute = \"{path}\"\n"
            );
            fs::create_dir_all(folder.path().join(format!("code-{name}"))).unwrap();
            fs::write(folder.path().join(format!("code-{name}/index.html")), format!("this is {name}")).unwrap();
        }
        fs::write(folder.path().join("site.toml"), text).unwrap();
        let ports = std::array::from_fn(|_| free());
        Site { domain, folder, ports }
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// `mainstay up --detach`, with more arguments.
    pub fn up(&self, more: &[&str]) -> Output {
        self.start(self.ports, &self.state(), more)
    }

    /// The same with its data in another folder.
    pub fn up_in(&self, state: &Path) -> Output {
        self.start(self.ports, state, &[])
    }

    /// The same on another port.
    pub fn up_on(&self, option: &str, port: u16) -> Output {
        let mut ports = self.ports;
        ports[OPTIONS.iter().position(|known| *known == option).unwrap()] = port;
        self.start(ports, &self.state(), &[])
    }

    fn start(&self, ports: [u16; 4], state: &Path, more: &[&str]) -> Output {
        let mut command = self.command("up");
        for (option, port) in OPTIONS.iter().zip(ports) {
            command.arg(option).arg(port.to_string());
        }
        command.args(["--detach", "--state"]).arg(state).args(more).output().unwrap()
    }

    /// Any other verb about this site.
    pub fn run(&self, verb: &str, more: &[&str]) -> Output {
        self.command(verb).args(more).output().unwrap()
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        command.current_dir(self.folder.path()).arg(verb).env_remove("RUST_BACKTRACE");
        command
    }

    pub fn http_port(&self) -> u16 {
        self.ports[0]
    }

    pub fn https_port(&self) -> u16 {
        self.ports[1]
    }

    pub fn dns_port(&self) -> u16 {
        self.ports[2]
    }

    pub fn page_port(&self) -> u16 {
        self.ports[3]
    }

    /// The name under which a browser finds it.
    pub fn host(&self) -> String {
        format!("www.{}.localhost", self.domain.trim_end_matches(".example"))
    }

    /// What the site answers: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        ask(self.http_port(), &self.host(), path)
    }

    pub fn status(&self) -> Value {
        let said = self.run("status", &[&self.domain, "--json"]);
        serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{}", err(&said)))
    }

    /// Every service of the first server and its process, at least two.
    pub fn pids(&self) -> Vec<(String, u64)> {
        let status = self.status();
        let services = status["servers"][0]["status"]["services"].as_array().unwrap().iter();
        let named =
            services.map(|service| (service["name"].as_str().unwrap().into(), service["pid"].as_u64().unwrap()));
        let all: Vec<_> = named.collect();
        assert!(all.len() >= 2, "{all:?}");
        all
    }

    /// The process number of the `up` that stays.
    pub fn up_process(&self) -> i32 {
        let place = mainstay_lab::Place::usual(&self.domain.as_str().into());
        place.read().unwrap().expect("it is on record").up.pid
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let gone = self.run("down", &[&self.domain]);
        if !gone.status.success() {
            eprintln!("{}", err(&gone));
        }
        let place = mainstay_lab::Place::usual(&self.domain.as_str().into());
        let _ = fs::remove_dir_all(place.folder());
    }
}

/// A port that is free, that no other test of this process has, and that no outgoing connection takes: below the kernel's own
/// choices, which begin at 32768.
fn free() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let first = std::process::id() as usize * 64;
    let mut ports =
        std::iter::repeat_with(|| (10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000) as u16);
    let is_free =
        |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok() && UdpSocket::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).unwrap()
}

pub fn ask(port: u16, host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0), body.to_owned())
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
