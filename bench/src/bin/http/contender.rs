//! Who is measured: how each is configured as its own documentation recommends, started on core 0, and what CPU time all
//! of its processes took.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mainstay_bench::arena::{THEIR_CORE, end, mainstay as binary, peer, word};
use mainstay_bench::cpu;
use serde_json::Value;

use super::arena::{self, FEW, HAPROXY, MAINSTAY, NGINX, RELAY, VARNISH};
use super::cases::{Case, From};
use super::load::Load;

/// How long a contender may take to serve.
const START: Duration = Duration::from_secs(20);

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
    child: Child,
    pub folder: PathBuf,
}

impl Contender {
    /// Starts it and waits until it serves.
    pub fn start(who: Who, case: &Case, folder: &Path, load: &mut Load) -> Result<Contender> {
        let own = folder.join(who.name());
        fs::create_dir(&own)?;
        let argv = match who {
            Who::Mainstay => mainstay(case, MAINSTAY, &own)?,
            Who::Few => mainstay(&Case { backends: 2, ..*case }, FEW, &own)?,
            Who::Haproxy => haproxy(case, &own)?,
            Who::Varnish => varnish(&own)?,
            Who::Nginx => nginx(case, &own)?,
            Who::Relay => vec![word(&std::env::current_exe()?), "relay".into(), format!("{RELAY}:80")],
            Who::Responder => {
                let (own, body) = (word(&std::env::current_exe()?), case.body.to_string());
                vec![own, "responder".into(), format!("{RELAY}:80"), body]
            }
        };
        let output = File::create(own.join("output"))?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", THEIR_CORE]).args(argv).stdin(Stdio::null());
        let child = command.stdout(output.try_clone()?).stderr(output).spawn().context("taskset is in util-linux")?;
        let mut contender = Contender { who, child, folder: own.clone() };
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
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
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
        for pid in cpu::family(self.child.id())? {
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
        for service in fs::read_dir(self.folder.join("state/run"))? {
            let Ok(mut stream) = UnixStream::connect(service?.path().join("report.sock")) else { continue };
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
        cpu::time_ns(&cpu::family(self.child.id())?)
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        end(&mut self.child);
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

/// The shipped binary with a default declaration: one supervisor and the service that is measured.
fn mainstay(case: &Case, address: &str, folder: &Path) -> Result<Vec<String>> {
    let code = folder.join("code");
    fs::create_dir_all(code.join("static"))?;
    fs::write(code.join("static/file.bin"), vec![b'x'; case.body])?;
    let front = |role: &str| format!("[servers.front]\naddress = \"{address}\"\nroles = [\"{role}\"]\n");
    let servers = |roles: &str| {
        backends(case, |number, address| format!("[servers.web{number}]\naddress = \"{address}\"\nroles = [{roles}]\n"))
    };
    let mut text = "format = 1\n[site]\ndomain = \"foobar.com\"\n[app]\npath = \"code\"\nkind = \"http\"\n\
                    command = \"true\"\nhealth = \"/health\"\n"
        .to_owned();
    if case.wire.is_encrypted() {
        certificate(folder)?;
        text += "[tls]\ncertificate = { certificate = \"cert.pem\", key = \"key.pem\" }\n";
    }
    if case.wire.is_idle() {
        // All clients have one address.
        text += "[limits]\nconnections-per-address = 20000\n";
    }
    text += &match case.from {
        From::Backends => front("balancer") + &servers("\"web\", \"app\""),
        From::Cache => front("web") + &servers("\"app\""),
        From::Files => {
            "[web]\nstatic = { \"/static/\" = \"static\" }\n".to_owned() + &front("web") + &servers("\"app\"")
        }
    };
    let declaration = folder.join("site.toml");
    fs::write(&declaration, text)?;
    // Another server of the site would have made them.
    let secrets = "{\"format\":1,\"app_keys\":{},\"database\":{},\"database_admin\":\"\",\"replication\":\"\"}";
    fs::create_dir(folder.join("state"))?;
    fs::write(folder.join("state/secrets.json"), secrets)?;
    let words = [word(&binary()?), "serve".into(), "--server".into(), "front".into()];
    let state = ["--state".into(), word(&folder.join("state")), "--declaration".into(), word(&declaration)];
    Ok(words.into_iter().chain(state).collect())
}

/// HAProxy can log to a syslog server alone; ours takes the lines and forgets them.
fn haproxy(case: &Case, folder: &Path) -> Result<Vec<String>> {
    let config = folder.join("haproxy.cfg");
    let port = if case.from == From::Cache { 8000 } else { 8080 };
    let servers = backends(case, |number, address| format!("  server web{number} {address}:{port} check inter 1s\n"));
    let tls = match case.wire.is_encrypted() {
        true => {
            certificate(folder)?;
            format!("  bind {HAPROXY}:443 ssl crt {}/both.pem alpn h2,http/1.1\n", word(folder))
        }
        false => String::new(),
    };
    let (store, hit) = match case.from {
        From::Cache => (
            "cache kept\n  total-max-size 64\n  max-object-size 100000\n  max-age 3600\n",
            "  http-request cache-use kept\n  http-response cache-store kept\n",
        ),
        _ => ("", ""),
    };
    let text = format!(
        "global\n  nbthread 1\n  maxconn 9400\n  log {HAPROXY}:5140 local0\n\
         defaults\n  mode http\n  log global\n  option httplog\n  option forwardfor\n  option http-keep-alive\n  http-reuse always\n\
         \x20 timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n  timeout http-request 10s\n  timeout http-keep-alive 60s\n\
         {store}\
         frontend front\n  bind {HAPROXY}:80\n{tls}  unique-id-format %[uuid()]\n  unique-id-header X-Request-Id\n\
         \x20 http-request set-header X-Forwarded-Proto http\n  default_backend web\n\
         backend web\n  balance roundrobin\n  option httpchk GET /health\n{hit}{servers}"
    );
    fs::write(&config, text)?;
    Ok(vec![word(&peer("sbin/haproxy")?), "-db".into(), "-f".into(), word(&config)])
}

fn nginx(case: &Case, folder: &Path) -> Result<Vec<String>> {
    let config = folder.join("nginx.conf");
    fs::create_dir_all(folder.join("files/static"))?;
    fs::write(folder.join("files/static/file.bin"), vec![b'x'; case.body])?;
    let own = word(folder);
    let upstream = backends(case, |_, address| format!("    server {address}:8080;\n"));
    let mut listen = format!("listen {NGINX}:80;");
    if case.wire.is_encrypted() {
        certificate(folder)?;
        listen += &format!(
            " listen {NGINX}:443 ssl http2; ssl_certificate {own}/cert.pem; ssl_certificate_key {own}/key.pem;\
             ssl_session_cache shared:SSL:10m; ssl_protocols TLSv1.2 TLSv1.3;"
        );
    }
    let proxy = "proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;\n\
         proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id;";
    let location = match case.from {
        From::Files => format!("root {own}/files;"),
        From::Backends => proxy.into(),
        From::Cache => format!("{proxy} proxy_cache kept;"),
    };
    let cache = format!("proxy_cache_path {own}/cache keys_zone=kept:10m;");
    let text = format!(
        "daemon off; worker_processes 1; worker_rlimit_nofile 20000; user root; pid {own}/pid; error_log {own}/error.log;\n\
         events {{ worker_connections 19000; }}\n\
         http {{\n  access_log {own}/access.log combined buffer=64k flush=1s;\n  sendfile on; tcp_nopush on; tcp_nodelay on;\n\
         \x20 keepalive_timeout 75s; keepalive_requests 1000000000; server_tokens off; etag on; {cache}\n\
         \x20 open_file_cache max=1000 inactive=60s; open_file_cache_valid 30s;\n\
         \x20 client_body_temp_path {own}/b; proxy_temp_path {own}/p; fastcgi_temp_path {own}/f; uwsgi_temp_path {own}/u; scgi_temp_path {own}/s;\n\
         \x20 upstream web {{\n{upstream}    keepalive 256; keepalive_requests 1000000000;\n  }}\n\
         \x20 server {{ {listen} location / {{ {location} }} }}\n}}\n"
    );
    fs::write(&config, text)?;
    Ok(vec![
        word(&peer("sbin/nginx")?),
        "-p".into(),
        own,
        "-e".into(),
        word(&folder.join("error.log")),
        "-c".into(),
        word(&config),
    ])
}

/// Logs into its own shared memory, which nobody reads here.
fn varnish(folder: &Path) -> Result<Vec<String>> {
    let backend = arena::backends(1).next().map(|address| format!("{address}:8080")).context("a backend")?;
    let words = ["-F", "-j", "none", "-a", &format!("{VARNISH}:80"), "-b", &backend, "-s", "malloc,64m"];
    let words = words.into_iter().map(String::from);
    let libraries = format!("LD_LIBRARY_PATH={}", word(&peer("lib/x86_64-linux-gnu")?));
    let program = ["env".into(), libraries, word(&peer("sbin/varnishd")?), "-n".into(), word(&folder.join("work"))];
    Ok(program.into_iter().chain(words).collect())
}
