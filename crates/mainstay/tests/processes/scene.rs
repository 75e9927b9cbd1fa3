//! A server with a name server on it: the one service that needs nothing else.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mainstay_node::control::{Client, Error};
use mainstay_site::names::{Generation, Role, ServiceName};
use mainstay_site::plan::{Config, Dns, Listen, Plan, Service, Transport};
use mainstay_site::wire::{ServerStatus, ServiceStatus, State};

/// The deadline of every wait: far above what anything here takes, so that a slow machine fails no test.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// The binary as it ships.
pub const MAINSTAY: &str = env!("CARGO_BIN_EXE_mainstay");

/// Waits until `look` finds something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        thread::park_timeout(PAUSE);
    }
}

/// An address that nobody listens on, on a loopback address that no other test and no outgoing connection uses.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let ip = Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::SeqCst));
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// A name server's part of a plan.
pub fn dns(name: &str, address: SocketAddr) -> Service {
    let listen = |transport| Listen {
        name: "dns".into(),
        transport,
        address,
        per_core: transport == Transport::Tcp,
        floating: false,
    };
    Service {
        name: ServiceName::from(name),
        role: Role::Dns,
        user: Role::Dns.user(),
        listens: vec![listen(Transport::Udp), listen(Transport::Tcp)],
        writes: vec![format!("data/{name}")],
        talks: Vec::new(),
        config: Config::Dns(Dns {
            zone: "foobar.com".into(),
            www: Default::default(),
            serial: 1,
            addresses: vec![[10, 80, 0, 11].into()],
            name_servers: vec![("ns1.foobar.com".into(), [10, 80, 0, 11].into())],
            hosts: Vec::new(),
            records: Vec::new(),
            ttl: 300,
            watched: Vec::new(),
        }),
    }
}

/// A plan with these services.
pub fn plan(generation: u64, services: Vec<Service>) -> Plan {
    Plan {
        format: 1,
        generation: Generation(generation),
        site: "foobar.com".into(),
        server: "server1".into(),
        address: [127, 0, 0, 1].into(),
        store: Vec::new(),
        firewall: None,
        services,
        notices: Vec::new(),
    }
}

/// A server that is stopped when the test ends, however it ends.
pub struct Scene {
    folder: tempfile::TempDir,
    child: Option<Child>,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    /// An empty state directory, which the services' users can reach.
    pub fn new() -> Scene {
        // Unix sockets have short paths.
        let folder = tempfile::Builder::new().prefix("ms").tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Scene { folder, child: None, runtime }
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// `mainstay serve` with `plan`, and what it says in `serve.log`.
    fn serve(&self, before: &[&str], plan: Option<&Plan>) -> Command {
        let mut words: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
        words.extend([MAINSTAY, "serve", "--server", "server1", "--state"].map(str::to_owned));
        words.push(self.state().display().to_string());
        if let Some(plan) = plan {
            let path = self.folder.path().join("plan.json");
            fs::write(&path, serde_json::to_vec(plan).unwrap()).unwrap();
            words.extend(["--plan".to_owned(), path.display().to_string()]);
        }
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("serve.log")).unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        for variable in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"] {
            command.env_remove(variable);
        }
        command
    }

    /// Starts the server under init.
    pub fn up(&mut self, plan: &Plan) {
        self.child = Some(self.serve(&[MAINSTAY, "init", "--"], Some(plan)).spawn().unwrap());
    }

    /// Starts the supervisor alone, with nobody who keeps anything.
    pub fn up_alone(&mut self, plan: Option<&Plan>) {
        self.child = Some(self.serve(&[], plan).spawn().unwrap());
    }

    /// Starts the supervisor as process 1 of a PID namespace that its session's leader is not in, as in a container that
    /// somebody entered. It ends with what was started.
    pub fn up_entered(&mut self, plan: &Plan) {
        let before = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
        self.child = Some(self.serve(&before, Some(plan)).spawn().unwrap());
    }

    /// Runs another supervisor to its end.
    pub fn serve_to_the_end(&self, plan: Option<&Plan>) -> (i32, String) {
        let output = self.serve(&[], plan).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Waits for the end of what was started; returns the exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        until("the end of the server", || child.try_wait().unwrap()).code()
    }

    /// The number of what was started.
    pub fn child(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Asks the supervisor something.
    pub fn ask<T>(&self, question: impl AsyncFnOnce(Client) -> Result<T, Error>) -> Result<T, Error> {
        self.runtime.block_on(question(Client::new(self.state().join("control.sock"))))
    }

    /// Waits for a status that satisfies `condition`.
    pub fn status(&self, what: &str, mut condition: impl FnMut(&ServerStatus) -> bool) -> ServerStatus {
        let mut last = None;
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            match self.ask(async |client| client.status().await) {
                Ok(status) if condition(&status) => return status,
                answer => last = Some(answer),
            }
            thread::park_timeout(PAUSE);
        }
        let log = fs::read_to_string(self.folder.path().join("serve.log")).unwrap_or_default();
        panic!("not within {DEADLINE:?}: {what}; the last answer is {last:#?}; the log:\n{log}");
    }

    /// Waits until the service is in `state`.
    pub fn service(&self, name: &str, state: State) -> ServiceStatus {
        let is = |service: &&ServiceStatus| service.name.as_str() == name && service.state == state;
        let what = format!("{name} is {}", state.as_str());
        let status = self.status(&what, |status| status.services.iter().any(|service| is(&service)));
        status.services.into_iter().find(|service| is(&service)).unwrap()
    }

    /// The process of a service that serves.
    pub fn pid(&self, name: &str) -> u32 {
        self.service(name, State::Serving).pid.unwrap()
    }

    /// The file below the state directory, as text.
    pub fn file(&self, path: &str) -> String {
        fs::read_to_string(self.state().join(path)).unwrap_or_default()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let status = self.ask(async |client| client.status().await);
        if let Some(mut child) = self.child.take() {
            signal(child.id(), "TERM");
            let start = Instant::now();
            while child.try_wait().unwrap().is_none() && start.elapsed() < DEADLINE {
                thread::park_timeout(PAUSE);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        // What the end should have ended, if a test showed that it does not.
        for service in status.into_iter().flat_map(|status| status.services) {
            let pid = service.pid.unwrap_or(0);
            let path = PathBuf::from(format!("/proc/{pid}/cmdline"));
            let arguments = fs::read(path).unwrap_or_default();
            if arguments.starts_with(format!("mainstay\0service\0{}\0", service.name).as_bytes()) {
                signal(pid, "KILL");
            }
        }
    }
}

/// Sends a signal to a process that this test started.
pub fn signal(pid: u32, signal: &str) {
    let _ = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Whether there is such a process, other than as a zombie.
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Asks the name server for the address of `foobar.com` over TCP (RFC 1035 § 4.2.2).
pub fn resolve(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut query = b"\0\x1c\x12\x34\0\0\0\x01\0\0\0\0\0\0\x06foobar\x03com\0\0\x01\0\x01".to_vec();
    query[1] = (query.len() - 2) as u8;
    stream.write_all(&query)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    // The same number, no error, one answer.
    assert!(answer[..2] == [0x12, 0x34] && answer[3] & 0xf == 0 && answer[7] == 1, "{answer:?}");
    Ok(())
}

/// A client that connects again and again.
pub struct Visitor {
    end: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<std::io::Error>)>,
}

impl Visitor {
    /// Begins.
    pub fn of(address: SocketAddr) -> Visitor {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = thread::spawn(move || {
            let (mut count, mut errors) = (0, Vec::new());
            while !ended.load(Ordering::SeqCst) {
                count += 1;
                errors.extend(resolve(address).err());
                thread::park_timeout(Duration::from_millis(1));
            }
            (count, errors)
        });
        Visitor { end, thread }
    }

    /// How many questions were asked, and which failed.
    pub fn end(self) -> (usize, Vec<std::io::Error>) {
        self.end.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}
