//! The relay log of a replica that was started anew.
//!
//! With GTID, MariaDB throws an unapplied relay log away when the threads start, to fetch it again from the source. If the
//! source is what died, that log may be the only place of transactions that were acknowledged. So it is applied by hand first.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use mainstay_machines::gtid::Position;
use tokio::process::Command;

use super::admin::{ADMIN, Admin};
use super::engine::Engine;
use super::places::Places;
use super::{Error, programs};

/// What `mariadb-binlog` says of a log in which the transaction that it shall go on behind is not.
const NOT_REACHED: &str = "never reached expected GTID state";

/// Applies what the relay log holds behind what is applied. A last transaction that was not received whole is left out: nobody
/// acknowledged it.
///
/// # Errors
/// A program is missing; the log cannot be read or applied.
pub async fn relay_log(places: &Places, password: &str, admin: &mut Admin) -> Result<(), Error> {
    let files = places.logs("relay.index")?;
    let before = admin.observe().await?.variables.position;
    if !files.is_empty() {
        let read = apply(places, password, &files, &before).await?;
        if !read.status.success() {
            nothing_behind(&read, &files, &before).await?;
        }
    }
    admin.skip_to_applied().await?;
    let after = admin.observe().await?.variables.position;
    tracing::info!(%before, %after, "the relay log of before the start is applied");
    Ok(())
}

fn reader(files: &[PathBuf]) -> Result<Command, Error> {
    let mut reader = Command::new(programs::find("mariadb-binlog")?);
    reader.arg("--no-defaults").args(files).env_clear().env("PATH", programs::PATH).stdin(Stdio::null());
    reader.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Ok(reader)
}

/// Reads the logs and has the server carry out what they hold; what the reader said is returned.
async fn apply(places: &Places, password: &str, files: &[PathBuf], behind: &Position) -> Result<Output, Error> {
    let mut reader = reader(files)?;
    if !behind.is_start() {
        reader.arg(format!("--start-position={behind}"));
    }
    let mut reader = reader.spawn()?;
    let text: Stdio = match reader.stdout.take() {
        Some(text) => text.try_into()?,
        None => Stdio::null(),
    };
    let writer = Command::new(programs::find("mariadb")?)
        .args(["--no-defaults", "--binary-mode"])
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
    let written = written?;
    if written.status.success() { Ok(read?) } else { Err(Error::Rescue(words(&written))) }
}

/// Tells a log that holds nothing new from one that cannot be used.
async fn nothing_behind(read: &Output, files: &[PathBuf], applied: &Position) -> Result<(), Error> {
    if !words(read).contains(NOT_REACHED) {
        return Err(Error::Rescue(words(read)));
    }
    let all = reader(files)?.output().await?;
    let text = String::from_utf8_lossy(&all.stdout);
    let mut last = Position::START;
    let names =
        text.lines().filter_map(|line| line.split_once("\tGTID ")).filter_map(|(_, rest)| rest.split(' ').next());
    for position in names.filter_map(|name| Position::parse(name).ok()) {
        position.iter().for_each(|gtid| last.reach(*gtid));
    }
    if applied.covers(&last) {
        return Ok(());
    }
    Err(Error::Rescue(format!("the relay log goes up to {last} and does not begin where {applied} ends")))
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().take(3).collect::<Vec<_>>().join(" | ")
}
