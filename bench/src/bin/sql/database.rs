//! One MariaDB, as the database role would configure it for as much as matters to a point select.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::contender::DATABASE;

/// The password of everybody; nobody else is in this network.
pub const PASSWORD: &str = "bench";
/// The schema and account of the clients.
pub const CLIENT: &str = "sbtest";
/// Where it listens.
pub const PORT: u16 = 3306;
/// How long it may take to start.
const START: Duration = Duration::from_secs(20);

/// A running server; ended when dropped.
pub struct Database(Child);

impl Database {
    /// Makes a data directory below `folder` and starts a server on it.
    pub fn start(folder: &Path) -> Result<Database> {
        let data = folder.join("database");
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--user=root"])
            .arg(format!("--datadir={}", data.display()))
            .output()
            .context("mariadb-install-db is in mariadb-server-core")?;
        ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let accounts = folder.join("accounts.sql");
        let account = |name: &str, grant: &str| {
            format!("CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT {grant} TO {name}@'%';\n")
        };
        let statements = [
            format!("CREATE DATABASE {CLIENT};\n"),
            account(CLIENT, &format!("ALL ON {CLIENT}.*")),
            account("mainstay_check", "SLAVE MONITOR ON *.*"),
            // Its check logs in without a password.
            "CREATE USER haproxy@'%';\n".into(),
        ];
        fs::write(&accounts, statements.concat())?;
        let output = File::create(folder.join("database.output"))?;
        let child = Command::new("mariadbd")
            .args(["--no-defaults", "--user=root", "--skip-name-resolve", "--innodb-buffer-pool-size=64M"])
            .args([format!("--bind-address={DATABASE}"), format!("--port={PORT}")])
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", folder.join("database.sock").display()))
            .arg(format!("--init-file={}", accounts.display()))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("mariadbd is in mariadb-server-core")?;
        let mut database = Database(child);
        database.wait(folder)?;
        Ok(database)
    }

    fn wait(&mut self, folder: &Path) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < START {
            if TcpStream::connect((DATABASE, PORT)).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.0.try_wait()? {
                let said = fs::read_to_string(folder.join("database.output")).unwrap_or_default();
                bail!("mariadbd ended: {status}; it said: {said}");
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        bail!("mariadbd does not listen within {START:?}")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        mainstay_bench::arena::end(&mut self.0);
    }
}
