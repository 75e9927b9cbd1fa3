//! Back to what the applications' schemas were at a time.
//!
//! The past is brought back on a server of its own, and its schemas are then written to the primary like anything else is
//! written: the replicas follow by replication, no history is turned back, nothing diverges, and a restore can be undone
//! by another one to the second before it.

use std::net::SocketAddr;
use std::path::PathBuf;

use mainstay_site::plan::DatabaseRole;
use mainstay_site::wire::database::{LEADER, Leader, decode};

use super::error::Error;
use super::folder::{Folder, Full, spoken};
use super::private::Private;
use super::session::Session;
use super::{Scene, archive, now_s, tool};
use crate::database::accounts;

/// For this server to have what the primary has: a replica that is well is some milliseconds behind.
const CAUGHT_UP_S: u64 = 5;

/// Restores what was written before the second `until_s`.
///
/// # Errors
/// The time is to come, no backup is that old, the archive has a gap or does not reach so far, or a program fails. Until the schemas
/// are written nothing is changed.
pub async fn run(scene: &Scene, folder: &Folder, until_s: u64) -> Result<Vec<(String, String)>, Error> {
    let now_s = now_s();
    if until_s > now_s {
        let (until, now) = (spoken(until_s), spoken(now_s));
        return Err(Error::Impossible(format!("{until} UTC is to come: it is {now} UTC; nothing was changed")));
    }
    // The archive then reaches to this moment: the restore can be undone.
    let missing = catch_up(scene, folder).await.err();
    let full = newest_before(folder, until_s)?;
    let past = Past::of(scene, folder, &full, until_s, missing)?;
    let private = Private::start(scene, folder, &full).await?;
    let done = bring_back(scene, &past, &private, until_s).await;
    let ended = private.end().await;
    let schemas = done?;
    ended?;
    Ok(vec![
        ("restored".into(), schemas.join(", ")),
        ("as of".into(), format!("{} UTC", spoken(until_s))),
        ("from".into(), full.path.display().to_string()),
    ])
}

/// Has the archive reach to what the primary has now.
async fn catch_up(scene: &Scene, folder: &Folder) -> Result<(), Error> {
    let own = Session::own(scene.launch.server.as_str(), &scene.places.socket, scene.password()).await?;
    let (mut own, primary) = (own.patient(), primary(scene).await?);
    if let Some(schema) = scene.config.schemas.first().filter(|_| primary != scene.config.address) {
        let password = accounts::password(schema, &scene.launch.secrets).unwrap_or_default();
        let mut theirs = Session::application("the primary", primary, schema, password).await?;
        let position: Option<String> = theirs.first("SELECT @@GLOBAL.gtid_binlog_pos").await?;
        theirs.close().await;
        let wait = format!("SELECT MASTER_GTID_WAIT('{}', {CAUGHT_UP_S})", position.unwrap_or_default());
        if own.first::<Option<i64>>(&wait).await?.flatten() != Some(0) {
            let server = scene.launch.server.to_string();
            return Err(Error::Slow { server, what: "catch up with the primary", within_s: CAUGHT_UP_S });
        }
    }
    archive::add(scene, folder, &mut own).await?;
    own.close().await;
    Ok(())
}

/// What is replayed behind a full backup.
struct Past {
    logs: Vec<PathBuf>,
    /// Where in the first it begins.
    position: u64,
    /// Where in the last it ends; `None` if nothing was written since.
    stop: Option<u64>,
}

impl Past {
    /// What was written between `full` and `until_s`; `missing`: why the archive may lack some of it.
    fn of(scene: &Scene, folder: &Folder, full: &Full, until_s: u64, missing: Option<Error>) -> Result<Past, Error> {
        let (first, position) = &full.about.log;
        let mut logs = archive::from(folder, &full.about.line, first)?;
        let reach = archive::reach(&logs, *position, until_s)?;
        if let Some((last, _)) = reach.end {
            logs.truncate(last + 1);
        }
        // Only what goes on today may end before that time.
        let over = archive::line(scene)? != full.about.line;
        let why = match missing {
            _ if reach.end.is_some() => None,
            _ if over => Some("the data of the server that keeps it were copied anew then".to_owned()),
            missing => missing.map(|why| format!("what was written since is not known: {why}")),
        };
        if let Some(why) = why {
            let to = reach.last_s.map_or_else(|| full.about.taken_s, |last_s| last_s.max(full.about.taken_s));
            return Err(Error::Gap(format!(
                "the archive in {} reaches to {} UTC only ({why}); restore to a time before that, or after the next full \
                 backup; nothing was changed",
                folder.path().display(),
                spoken(to)
            )));
        }
        Ok(Past { logs, position: *position, stop: reach.end.map(|(_, stop)| stop) })
    }
}

fn newest_before(folder: &Folder, until_s: u64) -> Result<Full, Error> {
    let fulls = folder.fulls()?;
    let oldest = fulls.first().ok_or_else(|| Error::Empty(folder.path().to_owned()))?.about.taken_s;
    let fit = fulls.into_iter().rfind(|full| full.about.taken_s <= until_s);
    fit.ok_or_else(|| Error::TooEarly { folder: folder.path().to_owned(), oldest: format!("{} UTC", spoken(oldest)) })
}

async fn bring_back(scene: &Scene, past: &Past, private: &Private, until_s: u64) -> Result<Vec<String>, Error> {
    scene.jobs.note(format!("replaying the binary logs up to {} UTC", spoken(until_s)));
    private.replay(&past.logs, past.position, past.stop).await?;
    let mut session = private.session().await?;
    let there: Vec<String> = session.rows("SHOW DATABASES").await?;
    session.close().await;
    let primary = primary(scene).await?;
    let (mut restored, begun_s) = (Vec::new(), now_s());
    for schema in scene.config.schemas.iter().filter(|schema| there.contains(schema)) {
        scene
            .jobs
            .note(format!("writing the schema {schema} to the primary at {primary}; its tables are gone meanwhile"));
        write(scene, private, schema, primary).await.map_err(|why| {
            Error::Impossible(format!(
                "{why}; the schema {schema} is incomplete on the primary now: restore again, to the same time or to {} UTC, \
                 when it was whole",
                spoken(begun_s)
            ))
        })?;
        restored.push(schema.clone());
    }
    match restored.is_empty() {
        false => Ok(restored),
        true => Err(Error::Impossible("none of the applications had a schema then; nothing was changed".into())),
    }
}

/// With the application's own account, which may do everything in its schema and nothing else.
async fn write(scene: &Scene, private: &Private, schema: &str, primary: SocketAddr) -> Result<(), Error> {
    let password = accounts::password(schema, &scene.launch.secrets);
    let password =
        password.ok_or_else(|| Error::Impossible(format!("there is no password for the schema {schema}")))?;
    let mut dump = tool::DUMP.command()?;
    private.reach(&mut dump);
    dump.args(["--single-transaction", "--routines", "--triggers", "--events", "--hex-blob", "--add-drop-database"]);
    dump.args(["--default-character-set=utf8mb4", tool::ANY_ROW, "--databases", schema]);
    let mut client = tool::CLIENT.command()?;
    client.args(["--no-defaults", "--protocol=tcp", "--binary-mode", "--default-character-set=utf8mb4", tool::ANY_ROW]);
    client.args([format!("--host={}", primary.ip()), format!("--port={}", primary.port()), format!("--user={schema}")]);
    client.env("MYSQL_PWD", password);
    tool::pipe(dump, client, "writing a schema to the primary").await
}

/// Who takes writes: the store's word, or else the plan's.
async fn primary(scene: &Scene) -> Result<SocketAddr, Error> {
    let Some(store) = &scene.store else {
        return Ok(match scene.config.role {
            DatabaseRole::Primary => scene.config.address,
            DatabaseRole::Replica { address, .. } => address,
        });
    };
    let entry = store.get(LEADER).await?;
    let leader = entry.and_then(|entry| decode::<Leader>(LEADER, &entry.value).ok());
    let leader = leader.ok_or_else(|| Error::Impossible("nobody is the primary now; nothing was changed".into()))?;
    Ok(leader.address)
}
