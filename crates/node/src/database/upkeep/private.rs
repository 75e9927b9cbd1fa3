//! A MariaDB that nobody but us can reach, on a copy of a backup.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::error::{At, Error};
use super::folder::{self, Folder, Full};
use super::session::Session;
use super::{Scene, tool};
use crate::database::admin::ADMIN;

/// A prepared backup starts in a tenth of a second; a disk that needs longer than this is broken.
const START: Duration = Duration::from_secs(60);
/// Between two attempts to log in.
const LOOK: Duration = Duration::from_millis(50);
/// For a clean end; what is left is deleted anyway.
const STOP: Duration = Duration::from_secs(30);

/// The server and its data, which are deleted at the end.
pub struct Private {
    child: Child,
    socket: PathBuf,
    scratch: PathBuf,
    password: String,
}

impl Private {
    /// Starts one on a copy of `full`.
    ///
    /// # Errors
    /// There is no room for the copy, or the server does not start.
    pub async fn start(scene: &Scene, folder: &Folder, full: &Full) -> Result<Private, Error> {
        let scratch = folder.fresh(".scratch")?;
        let data = scratch.join("data");
        scene.jobs.note(format!("copying {}", full.path.display()));
        tool::copy(&full.data(), &data).await?;
        if let Some(user) = scene.places.user {
            tool::give(&scratch, user).await?;
        }
        let socket = scene.launch.run_folder().join("restore.sock");
        let errors = scratch.join("mariadbd.err");
        let output = File::create(&errors).at(&errors)?;
        let mut command = tool::SERVER.command()?;
        command
            // As the real one writes them: what a log does not say of a new table must come out the same.
            .args(["--no-defaults", "--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci"])
            .args(["--skip-networking", "--skip-slave-start", "--performance-schema=OFF", "--innodb-log-file-size=48M"])
            // It is thrown away: nothing need reach the disk.
            .args(["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", "--innodb-buffer-pool-size=64M"])
            .arg(tool::ANY_ROW)
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", scratch.display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--pid-file={}", scratch.join("pid").display()))
            .stdout(output.try_clone().at(&errors)?)
            .stderr(output)
            .stdin(Stdio::null());
        if let Some(user) = scene.places.user {
            command.uid(user).gid(user);
        }
        let child = command.spawn().at("mariadbd")?;
        let mut private = Private { child, socket, scratch, password: scene.password().to_owned() };
        private.wait(&errors).await?;
        Ok(private)
    }

    async fn wait(&mut self, errors: &Path) -> Result<(), Error> {
        let start = Instant::now();
        while start.elapsed() < START {
            if let Ok(session) = self.session().await {
                session.close().await;
                return Ok(());
            }
            if self.child.try_wait().at("mariadbd")?.is_some() {
                break;
            }
            sleep(LOOK).await;
        }
        let said = std::fs::read_to_string(errors).unwrap_or_default();
        let why = crate::database::errors::cause(said.lines());
        Err(Error::Program { what: "starting a server on the backup", why })
    }

    /// A connection to it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn session(&self) -> Result<Session, Error> {
        Session::own("the restored server", &self.socket, &self.password).await
    }

    /// Has `client`, one of MariaDB's programs, speak to it.
    pub fn reach(&self, client: &mut Command) {
        client.arg("--no-defaults").arg(format!("--socket={}", self.socket.display()));
        client.arg(format!("--user={ADMIN}")).env("MYSQL_PWD", &self.password);
    }

    /// Carries out what `logs` have from `position` in the first on, to the end or to a position in the last.
    ///
    /// # Errors
    /// A statement fails.
    pub async fn replay(&self, logs: &[PathBuf], position: u64, stop: Option<u64>) -> Result<(), Error> {
        let mut read = tool::BINLOG.command()?;
        read.arg("--no-defaults").arg(format!("--start-position={position}"));
        read.args(stop.map(|stop| format!("--stop-position={stop}"))).args(logs);
        let mut apply = tool::CLIENT.command()?;
        self.reach(&mut apply);
        apply.args(["--binary-mode", tool::ANY_ROW]);
        tool::pipe(read, apply, "replaying the binary logs").await
    }

    /// Ends it and deletes its data.
    ///
    /// # Errors
    /// The data cannot be deleted.
    pub async fn end(mut self) -> Result<(), Error> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(STOP, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        folder::remove(&self.scratch)
    }
}
