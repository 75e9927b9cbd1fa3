//! A full backup: the files of the running server, copied while it serves and made ready to be started.

use std::fs::{self, File};
use std::path::Path;

use mainstay_site::model::FORMAT;

use super::error::{At, Error};
use super::folder::{About, Folder, Full};
use super::session::Session;
use super::{Scene, archive, now_s, tool};
use crate::database::admin::ADMIN;

/// Makes one, and has the archive reach beyond it.
///
/// # Errors
/// A program is missing or failed, or a disk is full; what was made is deleted by the next.
pub async fn make(scene: &Scene, folder: &Folder) -> Result<Full, Error> {
    let making = folder.fresh(".making")?;
    let data = making.join("data");
    scene.jobs.note(format!("copying {} to {}", scene.places.data.display(), data.display()));
    let mut copy = tool::BACKUP.command()?;
    copy.args(["--no-defaults", "--backup"]).arg(format!("--target-dir={}", data.display()));
    copy.arg(format!("--socket={}", scene.places.socket.display()));
    copy.arg(format!("--user={ADMIN}")).env("MYSQL_PWD", scene.password());
    tool::run(copy, "mariadb-backup --backup").await?;
    let taken_s = now_s();
    scene.jobs.note("applying what was written meanwhile");
    let mut prepare = tool::BACKUP.command()?;
    prepare.args(["--no-defaults", "--prepare"]).arg(format!("--target-dir={}", data.display()));
    tool::run(prepare, "mariadb-backup --prepare").await?;
    let (log, gtid) = position(&data)?;
    let server = scene.launch.server.to_string();
    let (line, bytes) = (archive::line(scene)?, size(&data)?);
    let about = About { format: FORMAT, taken_s, server, gtid, line, log, bytes, tested: None };
    Full { path: making.clone(), about: about.clone() }.write()?;
    File::open(&making).and_then(|open| Ok(rustix::fs::syncfs(open)?)).at(&making)?;
    let path = folder.place(taken_s);
    fs::rename(&making, &path).at(&path)?;
    scene.jobs.note("archiving the binary logs");
    let mut session = Session::own(scene.launch.server.as_str(), &scene.places.socket, scene.password()).await?;
    archive::add(scene, folder, &mut session).await?;
    session.close().await;
    Ok(Full { path, about })
}

/// Where the server's own log went on: name, offset and GTID, by tabs (MariaDB's documentation, "Files Created by
/// mariadb-backup").
fn position(data: &Path) -> Result<((String, u64), String), Error> {
    let path = data.join("xtrabackup_binlog_info");
    let text = fs::read_to_string(&path).at(&path)?;
    let mut words = text.split_whitespace();
    let log = words.next().zip(words.next().and_then(|word| word.parse().ok()));
    let (name, offset) = log.ok_or_else(|| Error::Impossible(format!("{} cannot be read: {text}", path.display())))?;
    Ok(((name.to_owned(), offset), words.next().unwrap_or_default().to_owned()))
}

fn size(folder: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for (_, path) in super::folder::entries(folder)? {
        let about = fs::symlink_metadata(&path).at(&path)?;
        bytes += if about.is_dir() { size(&path)? } else { about.len() };
    }
    Ok(bytes)
}
