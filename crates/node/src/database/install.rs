//! The first start: a data directory with Mainstay's own account in it and nothing else.
//!
//! It is made beside its place and renamed when it is whole, so a half-made one is never used. One that failed is kept
//! and named, for whoever looks for the cause.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::MemfdFlags;
use tokio::process::Command;
use tokio::time::timeout;

use super::{ADMIN, Error, errors, find_program, places::Places};
use crate::platform::program;

/// Making a data directory takes a second; a disk that needs this long for 70 MB serves no site.
const INSTALL: Duration = Duration::from_secs(60);
/// What a data directory in the making is called.
const MAKING: &str = "mariadb.making";

/// Makes the data directory if there is none. Whether it did.
///
/// # Errors
/// The installer is missing, failed, or took too long.
pub async fn ensure(places: &Places, password: &str) -> Result<bool, Error> {
    if places.data.exists() {
        return Ok(false);
    }
    let installer = find_program("mariadb-install-db")?;
    // The installer runs it and would say less clearly what is missing.
    find_program("mariadbd")?;
    let making = places.data_parent().join(MAKING);
    // What a role that was killed left.
    set_aside(&making)?;
    fs::create_dir(&making)?;
    places.give(&making)?;
    if let Err(why) = make(&installer, places, &making, password).await {
        return Err(Error::Install { why, kept: set_aside(&making)? });
    }
    rustix::fs::syncfs(fs::File::open(&making)?).map_err(io::Error::from)?;
    fs::rename(&making, &places.data)?;
    fs::File::open(places.data_parent())?.sync_all()?;
    Ok(true)
}

/// Keeps what became of a failed attempt, and only the last: they have 70 MB each and hold no data of anybody.
fn set_aside(making: &Path) -> io::Result<PathBuf> {
    let aside = making.with_extension("failed");
    if making.exists() {
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        fs::rename(making, &aside)?;
        tracing::warn!(folder = %aside.display(), "kept a half-made data directory; it holds no data and may be deleted");
    }
    Ok(aside)
}

/// Why it failed, if it did.
async fn make(installer: &Path, places: &Places, making: &Path, password: &str) -> Result<(), String> {
    let accounts = accounts_file(password).map_err(|why| why.to_string())?;
    let mut command = Command::new(installer);
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", making.display()))
        .arg(format!("--extra-file=/proc/self/fd/{}", accounts.as_raw_fd()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
        // `--force`: a server whose own name cannot be looked up is no reason to wait for a resolver.
        .args(["--innodb-log-file-size=48M", "--force"])
        // Synchronised once, when it is whole: half of the time went into doing it for every file.
        .arg("--loose-sync-sys=0")
        .current_dir("/")
        .env_clear()
        .env("PATH", program::PATH)
        .env("TMPDIR", places.temporary())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(user) = places.user {
        command.uid(user).gid(user);
    }
    let output = timeout(INSTALL, command.output())
        .await
        .map_err(|_| format!("it did not end within {} s", INSTALL.as_secs()))?
        .map_err(|why| why.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(last_words(&[output.stdout, output.stderr].concat(), output.status))
    }
}

fn last_words(output: &[u8], status: ExitStatus) -> String {
    let text = String::from_utf8_lossy(output);
    let cause = errors::cause(text.lines());
    format!("{status}: {cause}; {}", errors::remedy(&cause))
}

/// The statements that leave Mainstay's account as the only one, in a memory file that the installer inherits: the
/// password touches no disk.
fn accounts_file(password: &str) -> io::Result<fs::File> {
    let mut file = fs::File::from(rustix::fs::memfd_create("accounts", MemfdFlags::empty())?);
    write!(
        file,
        "FLUSH PRIVILEGES;\n\
         CREATE USER `{ADMIN}`@localhost IDENTIFIED BY '{password}';\n\
         GRANT ALL PRIVILEGES ON *.* TO `{ADMIN}`@localhost WITH GRANT OPTION;\n\
         DELETE FROM mysql.global_priv WHERE User NOT IN ('{ADMIN}', 'mariadb.sys');\n\
         DELETE FROM mysql.proxies_priv;\n\
         FLUSH PRIVILEGES;\n"
    )?;
    Ok(file)
}
