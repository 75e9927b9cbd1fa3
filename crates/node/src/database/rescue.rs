//! The relay log of a replica that was started anew.
//!
//! With GTID, MariaDB throws an unapplied relay log away when the threads start, to fetch it again from the source. If the
//! source is what died, that log may be the only place of transactions that were acknowledged. So it is applied by hand first.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::Command;
use tokio::task::spawn_blocking;

use super::admin::{ADMIN, Admin};
use super::engine::Engine;
use super::places::Places;
use super::{Error, find_program, relay_log};
use crate::platform::program;

/// Beside the data: what is still to be applied.
const REST: &str = "mariadb.rest";

/// Applies what the relay log holds behind what is applied. A last transaction that was not received whole is left out: nobody
/// acknowledged it.
///
/// # Errors
/// A program is missing; the log cannot be read or applied.
pub async fn relay_log(places: &Places, password: &str, admin: &mut Admin) -> Result<(), Error> {
    let logs = places.logs("relay.index")?;
    let before = admin.observe().await?.variables.position;
    let rest = places.data_parent().join(REST);
    let found = {
        let (rest, before) = (rest.clone(), before.clone());
        let sifted = spawn_blocking(move || relay_log::sift(&logs, &before, &rest)).await;
        sifted.map_err(|ended| Error::Rescue(ended.to_string()))?.map_err(|broken| Error::Rescue(broken.to_string()))?
    };
    if found.transactions > 0 {
        apply(places, password, &rest).await?;
    }
    fs::remove_file(&rest)?;
    let after = admin.observe().await?.variables.position;
    if !after.covers(&found.last) {
        return Err(Error::Rescue(format!("it goes up to {} and was applied up to {after}", found.last)));
    }
    admin.skip_to_applied().await?;
    tracing::info!(%before, %after, transactions = found.transactions, "the relay log of before the start is applied");
    Ok(())
}

/// Has the server carry out what the log holds.
async fn apply(places: &Places, password: &str, log: &Path) -> Result<(), Error> {
    let mut reader = Command::new(find_program("mariadb-binlog")?)
        .args(["--no-defaults", "--verify-binlog-checksum"])
        .arg(log)
        .env_clear()
        .env("PATH", program::PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let text: Stdio = match reader.stdout.take() {
        Some(text) => text.try_into()?,
        None => Stdio::null(),
    };
    let writer = Command::new(find_program("mariadb")?)
        .args(["--no-defaults", "--binary-mode", "--max-allowed-packet=1G"])
        .arg(format!("--socket={}", places.socket.display()))
        .arg(format!("--user={ADMIN}"))
        .env_clear()
        .env("MYSQL_PWD", password)
        .stdin(text)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let (read, written) = tokio::join!(reader.wait_with_output(), writer);
    let failed = [written?, read?].into_iter().find(|output| !output.status.success());
    failed.map_or(Ok(()), |output| Err(Error::Rescue(words(&output))))
}

/// An error is in its last lines; before it stands the statement.
fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}
