//! Who is measured: how each is configured as its own documentation recommends, started on core 0, and what CPU time all
//! of its processes took.

mod application;
mod haproxy;
mod mainstay;
mod nginx;
mod varnish;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mainstay_bench::arena::{end, started, word};
use mainstay_bench::cpu;
use serde_json::Value;

use super::arena::{self, FEW, HAPROXY, MAINSTAY, NGINX, RELAY, VARNISH};
use super::cases::Case;
use super::load::Load;

/// How long a contender may take to serve: ours may make a Python environment first.
const START: Duration = Duration::from_secs(90);

/// A contender's kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Mainstay,
    Haproxy,
    Nginx,
    Relay,
    Responder,
    Varnish,
    /// Mainstay with two backends.
    Few,
}

impl Who {
    pub fn name(self) -> &'static str {
        match self {
            Who::Mainstay => "mainstay",
            Who::Haproxy => "haproxy",
            Who::Nginx => "nginx",
            Who::Relay => "relay",
            Who::Responder => "responder",
            Who::Varnish => "varnish",
            Who::Few => "two",
        }
    }

    fn address(self) -> &'static str {
        match self {
            Who::Mainstay => MAINSTAY,
            Who::Haproxy => HAPROXY,
            Who::Nginx => NGINX,
            Who::Relay | Who::Responder => RELAY,
            Who::Varnish => VARNISH,
            Who::Few => FEW,
        }
    }
}

/// A running contender; ended when dropped.
pub struct Contender {
    pub who: Who,
    /// In the order of their start.
    children: Vec<Child>,
    pub folder: PathBuf,
}

impl Contender {
    /// Starts it and waits until it serves.
    pub fn start(who: Who, case: &Case, folder: &Path, load: &mut Load) -> Result<Contender> {
        let own = folder.join(who.name());
        fs::create_dir(&own)?;
        let commands = match who {
            Who::Mainstay => vec![mainstay::command(case, MAINSTAY, &own)?],
            Who::Few => vec![mainstay::command(&Case { backends: 2, ..*case }, FEW, &own)?],
            Who::Haproxy => vec![haproxy::command(case, &own)?],
            Who::Varnish => vec![varnish::command(&own)?],
            Who::Nginx => nginx::commands(case, &own)?,
            Who::Relay => vec![vec![word(&std::env::current_exe()?), "relay".into(), format!("{RELAY}:80")]],
            Who::Responder => {
                let (program, body) = (word(&std::env::current_exe()?), case.body.to_string());
                vec![vec![program, "responder".into(), format!("{RELAY}:80"), body]]
            }
        };
        let output = File::create(own.join("output"))?;
        let mut contender = Contender { who, children: Vec::new(), folder: own.clone() };
        for argv in commands {
            contender.children.push(started(&argv, &output)?);
        }
        contender.wait(case, load).with_context(|| {
            let said = fs::read_to_string(own.join("output")).unwrap_or_default();
            format!("{} does not serve; it said: {said}", who.name())
        })?;
        Ok(contender)
    }

    pub fn address(&self, case: &Case) -> SocketAddr {
        let port = if case.wire.is_encrypted() { 443 } else { 80 };
        SocketAddr::new(self.who.address().parse().expect("an address of the arena"), port)
    }

    fn wait(&mut self, case: &Case, load: &mut Load) -> Result<()> {
        let start = Instant::now();
        let mut last = None;
        while start.elapsed() < START {
            for child in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!("it ended: {status}");
                }
            }
            // Health checks are answered meanwhile.
            load.serve_for(Duration::from_millis(50))?;
            if TcpStream::connect_timeout(&self.address(case), Duration::from_millis(100)).is_ok() {
                match load.once(self, case) {
                    Ok(()) => return Ok(()),
                    Err(error) => last = Some(error),
                }
            }
        }
        bail!("nothing within {START:?}: {last:?}")
    }

    /// Memory of its own that all its processes hold, in bytes (`RssAnon` and `RssShmem` in proc_pid_status(5)).
    pub fn memory_bytes(&self) -> Result<u64> {
        let mut sum = 0;
        for pid in self.processes()? {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            for line in text.lines().filter(|line| line.starts_with("RssAnon:") || line.starts_with("RssShmem:")) {
                sum +=
                    1024 * line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
            }
        }
        Ok(sum)
    }

    /// Fails if ours has saved work by leaving requests out of its log. Where the kernel grants a log's pipe 1 MiB, one in a hundred is
    /// lost if two hundred thousand a second come all of a sudden, as they do at the beginning of a turn.
    pub fn has_logged(&self) -> Result<()> {
        if !matches!(self.who, Who::Mainstay | Who::Few) {
            return Ok(());
        }
        let services = ["balancer", "web"].map(|service| self.folder.join("state/run").join(service));
        for service in services {
            let Ok(mut stream) = UnixStream::connect(service.join("report.sock")) else { continue };
            stream.write_all(b"GET /v1/report HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let report: Value = serde_json::from_str(answer.split_once("\r\n\r\n").context("no report")?.1)?;
            let counter = |name| report["counters"][name].as_u64().with_context(|| format!("no {name} in the report"));
            let (lost, requests) = (counter("access_log_drops_total")?, counter("requests_total")?);
            ensure!(lost * 20 <= requests, "{lost} of {requests} requests are missing in its log");
            return Ok(());
        }
        bail!("nothing reports what it logged")
    }

    /// CPU time of all its processes so far, in nanoseconds.
    pub fn cpu_ns(&self) -> Result<u64> {
        cpu::time_ns(&self.processes()?)
    }

    fn processes(&self) -> Result<Vec<u32>> {
        let families = self.children.iter().map(|child| cpu::family(child.id())).collect::<Result<Vec<_>>>()?;
        Ok(families.concat())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.children.iter_mut().rev().for_each(end);
    }
}

fn backends(case: &Case, line: impl Fn(usize, Ipv4Addr) -> String) -> String {
    arena::backends(case.backends).enumerate().map(|(number, address)| line(number, address)).collect()
}

/// Files with the certificate of all, and with its key.
fn certificate(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let (certificate, key, both) = (folder.join("cert.pem"), folder.join("key.pem"), folder.join("both.pem"));
    let made = rcgen::generate_simple_self_signed(["www.foobar.com".to_owned()])?;
    let (chain, private) = (made.cert.pem(), made.signing_key.serialize_pem());
    fs::write(&certificate, &chain)?;
    fs::write(&key, &private)?;
    fs::write(both, chain + &private)?;
    Ok((certificate, key))
}
