//! A data directory from another server: made beside its place, renamed when it is whole. The one before is kept aside, with
//! what only it had as text that a person can read.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mainstay_machines::gtid::{Gtid, Position};
use mainstay_site::names::ServerName;
use mainstay_site::plan;
use mainstay_site::secrets::Secrets;
use tokio::process::Command;
use tokio::time::timeout;

use super::admin::Admin;
use super::engine::Engine;
use super::places::Places;
use super::{Error, copies, find_program};
use crate::clock::unix_ms;
use crate::platform::program;

/// What a copy in the making is called.
const COPYING: &str = "mariadb.copying";
/// What the data before are called.
const ASIDE: &str = "mariadb.aside";
/// And what those are called, with a time behind it, whose logs cannot be read.
const UNREAD: &str = "mariadb.unread-";
/// In a copied data directory: where the copy stands, until MariaDB was told.
const POSITION: &str = "mainstay.position";
/// Applying the log of a copy: in proportion to what was written while it was made.
const PREPARE: Duration = Duration::from_secs(1_800);
/// Writing what only the old data have as text.
const WRITE_OUT: Duration = Duration::from_secs(600);

/// Replaces the data directory by a copy of `from`'s. MariaDB must not run.
///
/// # Errors
/// Nothing was changed, except that a half-made copy lies beside the data, which the next attempt removes.
pub async fn fetch(
    config: &plan::Database,
    places: &Places,
    secrets: &Secrets,
    from: &ServerName,
) -> Result<(), Error> {
    let unknown = || Error::NoMember(from.to_string());
    let member = config.members.iter().find(|member| member.server == *from).ok_or_else(unknown)?;
    let own = config.members.iter().find(|member| member.server_id == config.server_id).ok_or_else(unknown)?;
    places.prepare()?;
    let copying = places.data_parent().join(COPYING);
    if copying.exists() {
        fs::remove_dir_all(&copying)?;
    }
    let copy = copies::ask(secrets, &own.server, from, member.copies).await?;
    let theirs = copy.stands.clone();
    fs::create_dir(&copying)?;
    places.give(&copying)?;
    let bytes = unpack(copy, places, &copying).await?;
    prepare(places, &copying).await?;
    let position = position_of(&copying)?;
    fs::write(copying.join(POSITION), position.to_string())?;
    places.give(&copying.join(POSITION))?;
    rustix::fs::syncfs(File::open(&copying)?).map_err(io::Error::from)?;
    set_aside(places, &theirs).await?;
    fs::rename(&copying, &places.data)?;
    File::open(places.data_parent())?.sync_all()?;
    tracing::info!(%from, %position, megabytes = bytes >> 20, "the data are a copy now");
    Ok(())
}

/// A program that works on the files as the user who owns them.
fn program(places: &Places, name: &'static str) -> Result<Command, Error> {
    let mut command = Command::new(find_program(name)?);
    command.current_dir("/").env_clear().env("PATH", program::PATH).stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    if let Some(user) = places.user {
        command.uid(user).gid(user);
    }
    Ok(command)
}

async fn unpack(copy: copies::Copy, places: &Places, to: &Path) -> Result<u64, Error> {
    let mut child = program(places, "mbstream")?.args(["-x", "-C"]).arg(to).stdin(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
    let bytes = copy.receive(&mut input).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    if output.status.success() { Ok(bytes) } else { Err(Error::Copy(last_line(&output.stderr))) }
}

async fn prepare(places: &Places, copy: &Path) -> Result<(), Error> {
    let mut command = program(places, "mariadb-backup")?;
    command.args(["--no-defaults", "--prepare"]).arg(format!("--target-dir={}", copy.display()));
    let late = |_| Error::Copy(format!("preparing it did not end within {} s", PREPARE.as_secs()));
    let output = timeout(PREPARE, command.output()).await.map_err(late)??;
    if output.status.success() { Ok(()) } else { Err(Error::Copy(last_line(&output.stderr))) }
}

/// The third column, which is empty before the first transaction.
fn position_of(copy: &Path) -> Result<Position, Error> {
    let text = fs::read_to_string(copy.join("xtrabackup_binlog_info"))?;
    let position = text.split_whitespace().nth(2).unwrap_or_default();
    Position::parse(position).map_err(|malformed| Error::Copy(malformed.to_string()))
}

/// Tells MariaDB where a copy stands: it does not know by itself whom it was copied from.
///
/// # Errors
/// A statement that failed.
pub async fn take_position(places: &Places, admin: &mut Admin) -> Result<(), Error> {
    let file = places.data.join(POSITION);
    let text = match fs::read_to_string(&file) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text?,
    };
    let position = Position::parse(&text).map_err(|malformed| Error::Copy(malformed.to_string()))?;
    admin.stand_at(&position).await?;
    fs::remove_file(&file)?;
    Ok(())
}

/// Keeps the data that were there, and only the last of such. What only they have is written out before; data of which that
/// cannot be told are never deleted.
async fn set_aside(places: &Places, theirs: &str) -> Result<(), Error> {
    if !places.data.exists() {
        return Ok(());
    }
    let beside = |name: &str| places.data_parent().join(name);
    let aside = match write_out(places, theirs).await {
        Ok(()) => beside(ASIDE),
        Err(why) => {
            let unread = beside(&format!("{UNREAD}{}", unix_ms()));
            tracing::error!(folder = %unread.display(), "whether the data of before have transactions that belong to no \
                history cannot be told, so they are kept until somebody deletes them: {why}");
            unread
        }
    };
    if aside == beside(ASIDE) && aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    // Refused where unread data are already: a name of the same millisecond.
    fs::rename(&places.data, &aside)?;
    tracing::warn!(folder = %aside.display(), "the data of before are kept aside");
    Ok(())
}

/// Data of before that nobody could read, and that nobody but a person deletes.
pub fn unread(places: &Places) -> Vec<PathBuf> {
    let Ok(folder) = fs::read_dir(places.data_parent()) else { return Vec::new() };
    let is_unread = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(UNREAD));
    let mut found: Vec<PathBuf> =
        folder.flatten().filter(|entry| is_unread(&entry.file_name())).map(|entry| entry.path()).collect();
    found.sort();
    found
}

async fn write_out(places: &Places, theirs: &str) -> Result<(), Error> {
    let logs = places.logs("binlog.index")?;
    let ours = last_of_each(&logs).await?;
    let Some(from) = first_unknown(&ours, theirs) else { return Ok(()) };
    let file = places.data_parent().join(format!("diverged-{}.sql", unix_ms() / 1_000));
    let mut reader = Command::new(find_program("mariadb-binlog")?);
    reader.args(["--no-defaults", "--verbose", "--base64-output=decode-rows"]);
    reader.args(from.map(|gtid| format!("--start-position={gtid}")));
    reader.args(&logs).stdin(Stdio::null()).stdout(File::create(&file)?).stderr(Stdio::piped()).kill_on_drop(true);
    let late = |_| Error::Copy(format!("writing {} did not end within {} s", file.display(), WRITE_OUT.as_secs()));
    // Not `output`, which would put a pipe in the file's place.
    let output = timeout(WRITE_OUT, reader.spawn()?.wait_with_output()).await.map_err(late)??;
    if !output.status.success() {
        return Err(Error::Copy(format!("{}: {}", file.display(), last_line(&output.stderr))));
    }
    File::open(&file)?.sync_all()?;
    tracing::error!(file = %file.display(), "these data have transactions that belong to no history; they are written out here");
    Ok(())
}

/// The last transaction of every server in the logs; the last log begins with the list of those before it.
async fn last_of_each(logs: &[PathBuf]) -> Result<BTreeMap<(u32, u32), Gtid>, Error> {
    let mut last = BTreeMap::new();
    let Some(log) = logs.last() else { return Ok(last) };
    let output = Command::new(find_program("mariadb-binlog")?)
        // A statement's own text may have what looks like a GTID: a date.
        .args(["--no-defaults", "--base64-output=decode-rows", "--skip-annotate-row-events"])
        .arg(log)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let late = |_| Error::Copy(format!("reading {} did not end within {} s", log.display(), WRITE_OUT.as_secs()));
    let output = timeout(WRITE_OUT, output).await.map_err(late)??;
    // What it had read until then would pass for all that there is.
    if !output.status.success() {
        return Err(Error::Copy(format!("{} cannot be read: {}", log.display(), last_line(&output.stderr))));
    }
    for gtid in gtids(&String::from_utf8_lossy(&output.stdout)) {
        let known = last.entry((gtid.domain, gtid.server)).or_insert(gtid);
        *known = (*known).max(gtid);
    }
    Ok(last)
}

/// Of the text that mariadb-binlog makes: `GTID 0-1-5 trans`, and `Gtid list [0-1-4,\n# 0-2-3]`.
fn gtids(text: &str) -> impl Iterator<Item = Gtid> {
    let word = |word: &str| {
        let plain = word.trim_matches(|sign: char| !sign.is_ascii_digit());
        Position::parse(plain).ok().and_then(|position| position.iter().next().copied())
    };
    let notes = text.lines().filter(|line| line.starts_with('#'));
    notes
        .flat_map(str::split_whitespace)
        .flat_map(|part| part.split(','))
        .filter_map(word)
        .collect::<Vec<_>>()
        .into_iter()
}

/// Whether `ours` has what `theirs` has not, and behind which transaction that begins; the inner `None`: with the first.
fn first_unknown(ours: &BTreeMap<(u32, u32), Gtid>, theirs: &str) -> Option<Option<Gtid>> {
    let mut known: BTreeMap<(u32, u32), Gtid> = BTreeMap::new();
    for gtid in theirs.split(',').filter_map(|text| Position::parse(text).ok()?.iter().next().copied()) {
        let last = known.entry((gtid.domain, gtid.server)).or_insert(gtid);
        *last = (*last).max(gtid);
    }
    let errant =
        ours.iter().filter(|(whose, gtid)| known.get(whose).is_none_or(|theirs| theirs.sequence < gtid.sequence));
    let begins: Vec<Option<Gtid>> = errant.map(|(whose, _)| known.get(whose).copied()).collect();
    if begins.is_empty() {
        return None;
    }
    // The earliest of several; from the first if one has nothing in common.
    Some(
        begins
            .into_iter()
            .collect::<Option<Vec<Gtid>>>()
            .and_then(|all| all.into_iter().min_by_key(|gtid| gtid.sequence)),
    )
}

fn last_line(output: &[u8]) -> String {
    String::from_utf8_lossy(output).lines().last().unwrap_or("it failed without a word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn data_whose_logs_cannot_be_read_are_never_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::in_folder(folder.path());
        for life in 1..=2 {
            fs::create_dir(&places.data).unwrap();
            fs::write(places.data.join("binlog.index"), "binlog.000001\n").unwrap();
            fs::write(places.data.join("binlog.000001"), "no log of MariaDB").unwrap();
            set_aside(&places, "0-1-5").await.unwrap();
            assert!(!places.data.exists() && !folder.path().join(ASIDE).exists());
            assert_eq!(unread(&places).len(), life);
        }
    }

    fn of_each(text: &str) -> BTreeMap<(u32, u32), Gtid> {
        text.split(',')
            .filter_map(|text| Position::parse(text).unwrap().iter().next().copied())
            .map(|gtid| ((gtid.domain, gtid.server), gtid))
            .collect()
    }

    #[test]
    fn what_only_the_old_data_have_begins_behind_the_last_common_one() {
        let rows = [
            ("0-1-100", "0-1-100,0-2-150", None),
            ("0-1-105", "0-1-100,0-2-150", Some(Some("0-1-100"))),
            ("0-1-100,0-2-150", "0-1-100,0-2-150,", None),
            ("0-1-105,0-2-3", "0-1-100", Some(None)),
            ("", "0-1-100", None),
            ("0-1-5", ",", Some(None)),
        ];
        for (ours, theirs, begins) in rows {
            let found = first_unknown(&of_each(ours), theirs).map(|begin| begin.map(|gtid| gtid.to_string()));
            assert_eq!(found, begins.map(|begin| begin.map(str::to_owned)), "{ours} against {theirs}");
        }
    }

    #[test]
    fn transactions_are_found_in_what_the_reader_prints() {
        let text = "#261121 11:51:11 server id 1  end_log_pos 285 CRC32 0x1 \tGtid list [0-1-4,\n# 0-2-3]\n\
                    #261121 server id 1 \tGTID 0-1-5 trans\nINSERT 0-9-9\n";
        assert_eq!(gtids(text).map(|gtid| gtid.to_string()).collect::<Vec<_>>(), ["0-1-4", "0-2-3", "0-1-5"]);
    }
}
