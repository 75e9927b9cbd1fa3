//! Who is measured: how each is configured as its own documentation recommends, and started on core 0.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mainstay_bench::arena::{self, end, started, word};
use mainstay_bench::cpu;

use super::database::{Database, PASSWORD, PORT};
use super::sysbench;

/// The application server, whose endpoint is on its loopback.
pub const APP: &str = "10.80.0.10";
/// The peer.
pub const HAPROXY: &str = "10.80.0.20";
/// The database server.
pub const DATABASE: &str = "10.80.0.60";
/// How long a contender may take to serve.
const START: Duration = Duration::from_secs(20);

/// A contender's kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Mainstay,
    Haproxy,
    /// The database itself.
    Nobody,
}

impl Who {
    pub fn name(self) -> &'static str {
        match self {
            Who::Mainstay => "mainstay",
            Who::Haproxy => "haproxy",
            Who::Nobody => "nobody",
        }
    }

    /// Where its clients connect.
    pub fn address(self) -> SocketAddr {
        let at = |text: &str| text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        match self {
            Who::Mainstay => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 6446),
            Who::Haproxy => SocketAddr::new(at(HAPROXY), PORT),
            Who::Nobody => SocketAddr::new(at(DATABASE), PORT),
        }
    }
}

/// A running contender; ended when dropped.
pub struct Contender {
    pub who: Who,
    child: Option<Child>,
}

impl Contender {
    /// Starts it before the database, and waits until it serves.
    pub fn start(who: Who, _database: &Database, folder: &Path) -> Result<Contender> {
        let own = folder.join(who.name());
        fs::create_dir(&own)?;
        let argv = match who {
            Who::Mainstay => mainstay(&own)?,
            Who::Haproxy => haproxy(&own)?,
            Who::Nobody => return Ok(Contender { who, child: None }),
        };
        let output = File::create(own.join("output"))?;
        let mut contender = Contender { who, child: Some(started(&argv, &output)?) };
        contender.wait().with_context(|| {
            let said = fs::read_to_string(own.join("output")).unwrap_or_default();
            format!("{} does not serve; it said: {said}", who.name())
        })?;
        Ok(contender)
    }

    fn wait(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < START {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()).transpose()? {
                bail!("it ended: {status}");
            }
            if TcpStream::connect(self.who.address()).is_ok() && sysbench::answers(self.who) {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        bail!("nothing within {START:?}")
    }

    /// CPU time so far, in nanoseconds. Of Mainstay that of the supervisor and of the endpoints: what keeps the application
    /// on the same server is not on the way of a query.
    pub fn cpu_ns(&self) -> Result<u64> {
        let Some(child) = &self.child else { return Ok(0) };
        let mut processes = cpu::family(child.id())?;
        if self.who == Who::Mainstay {
            processes.retain(|pid| is_on_the_way(*pid));
        }
        cpu::time_ns(&processes)
    }
}

fn is_on_the_way(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.contains(&b"serve".as_slice()) || words.windows(2).any(|pair| pair == [b"service".as_slice(), b"sql"])
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.child.iter_mut().for_each(end);
    }
}

/// The shipped binary with a default declaration: the application server of a site whose database is elsewhere.
fn mainstay(folder: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(folder.join("code"))?;
    // An application that is well: what is not is asked ten times a second how it is.
    fs::write(folder.join("code/index.html"), "a site\n")?;
    let text = format!(
        "format = 1\n[site]\ndomain = \"sql-bench.com\"\n[app]\npath = \"code\"\nkind = \"http\"\nworkers = 1\n\
         command = \"exec python3 -m http.server --bind $HOST $PORT\"\n\
         [servers.web1]\naddress = \"{HAPROXY}\"\nroles = [\"web\"]\n\
         [servers.app1]\naddress = \"{APP}\"\nroles = [\"app\"]\n\
         [servers.db1]\naddress = \"{DATABASE}\"\nroles = [\"database\"]\n"
    );
    let declaration = folder.join("site.toml");
    fs::write(&declaration, text)?;
    // Another server of the site would have made them.
    let secrets = format!(
        "{{\"format\":1,\"app_keys\":{{\"site\":\"key\"}},\"database\":{{\"site\":\"{PASSWORD}\"}},\"database_admin\":\"\",\
         \"replication\":\"\",\"database_check\":\"{PASSWORD}\"}}"
    );
    fs::create_dir(folder.join("state"))?;
    fs::write(folder.join("state/secrets.json"), secrets)?;
    let words = [word(&arena::mainstay()?), "serve".into(), "--server".into(), "app1".into()];
    let state = ["--state".into(), word(&folder.join("state")), "--declaration".into(), word(&declaration)];
    Ok(words.into_iter().chain(state).collect())
}

/// HAProxy's own way for MySQL: TCP mode, one server, checked.
fn haproxy(folder: &Path) -> Result<Vec<String>> {
    let config = folder.join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread 1\n  maxconn 1000\n\
         defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n\
         frontend front\n  bind {HAPROXY}:{PORT}\n  default_backend database\n\
         backend database\n  option mysql-check user haproxy\n  server db1 {DATABASE}:{PORT} check inter 1s\n"
    );
    fs::write(&config, text)?;
    Ok(vec![word(&arena::peer("sbin/haproxy")?), "-db".into(), "-f".into(), word(&config)])
}
