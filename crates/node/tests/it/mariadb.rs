//! A database server under its role, and MariaDB's own client to look at it from outside.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use mainstay_node::database;
use mainstay_node::service::{Launch, Sockets};
use mainstay_site::model::{Durability, Failover, SemiSync};
use mainstay_site::names::{Role, ServerName};
use mainstay_site::plan::{self, Config, DatabaseRole};
use mainstay_site::wire::State;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::support::{self, Running, eventually, free, secrets};

/// A state directory with a plan for one database server.
pub struct Server {
    pub config: plan::Database,
    folder: TempDir,
}

impl Server {
    pub fn primary(replicas: usize) -> Server {
        Server::new(1, DatabaseRole::Primary, replicas)
    }

    pub fn replica_of(primary: &Server) -> Server {
        let role = DatabaseRole::Replica { of: ServerName::from("db1"), address: primary.config.address };
        Server::new(2, role, 1)
    }

    fn new(server_id: u32, role: DatabaseRole, replicas: usize) -> Server {
        let folder = tempfile::Builder::new().prefix("mst-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let config = plan::Database {
            address: free(),
            server_id,
            role,
            durability: Durability::SemiSync,
            replicas,
            schemas: vec!["site".into()],
            data: "data/database/mariadb".into(),
            store: Vec::new(),
            members: Vec::new(),
            failover: Failover::Manual,
            semi_sync: SemiSync::Available,
            lease_ms: 3_000,
            applications: Vec::new(),
            backup: None,
            binlog_keep: Default::default(),
        };
        Server { config, folder }
    }

    pub fn state(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.state().join(&self.config.data)
    }

    pub fn launch(&self) -> Launch {
        support::launch("database", Role::Database, Config::Database(self.config.clone()), self.state())
    }

    /// Runs its role in this process.
    pub fn run(&self) -> Running {
        let config = self.config.clone();
        Running::start(self.launch(), Sockets::default(), move |context| database::run(context, &config).unwrap())
    }

    /// Runs its role and waits until it serves.
    pub fn serve(&self) -> Running {
        let running = self.run();
        running.until("the database serves", |report| report.state <= State::Degraded);
        running
    }

    /// Runs its role in a process of its own, which can be killed.
    pub fn role_process(&self) -> Child {
        fs::write(self.state().join("launch.json"), serde_json::to_vec(&self.launch()).unwrap()).unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["database::a_role_in_a_process_of_its_own", "--exact", "--ignored"])
            .env("MAINSTAY_TEST_STATE", self.state())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// What Mainstay's own account is answered.
    pub fn admin(&self, sql: &str) -> String {
        let socket = format!("--socket={}", self.state().join("run/database/mariadb.sock").display());
        text(client(&[&socket, "--user=mainstay_admin"], &secrets().database_admin, sql))
    }

    /// What the application's account is answered on the network.
    pub fn site(&self, sql: &str) -> Result<String, String> {
        as_site(self.config.address, sql)
    }

    /// The process of `mariadbd`.
    pub fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.state().join("run/database/mariadb.pid")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    pub fn kill(&self) {
        rustix::process::kill_process(self.pid().unwrap(), Signal::KILL).unwrap();
    }

    /// The number that the last process had is no longer in use.
    pub fn until_gone(&self, pid: Pid) {
        eventually("mariadbd is gone", || rustix::process::test_kill_process(pid).is_err());
    }
}

impl Drop for Server {
    /// A test that failed must not leave a database running.
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        let ours = self.state().as_os_str().as_encoded_bytes();
        if line.windows(ours.len()).any(|part| part == ours) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// What the application's account is answered at `address`.
pub fn as_site(address: SocketAddr, sql: &str) -> Result<String, String> {
    let password = secrets().database[&"site".into()].clone();
    login(address, "site", &password, sql)
}

/// What an account is answered at `address`: the rows, or what went wrong.
pub fn login(address: SocketAddr, user: &str, password: &str, sql: &str) -> Result<String, String> {
    let (host, port) = (format!("--host={}", address.ip()), format!("--port={}", address.port()));
    let output = client(&[&host, &port, "--protocol=tcp", &format!("--user={user}")], password, sql);
    if output.status.success() {
        Ok(text(output))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

fn client(arguments: &[&str], password: &str, sql: &str) -> Output {
    Command::new("mariadb")
        .args(["--no-defaults", "--batch", "--skip-column-names", "--connect-timeout=15"])
        .args(arguments)
        .args(["--execute", sql])
        .env("MYSQL_PWD", password)
        .output()
        .expect("the tests need the Debian package mariadb-client-core")
}

fn text(output: Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
