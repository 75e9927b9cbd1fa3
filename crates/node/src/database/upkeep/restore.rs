//! Back to what the applications' schemas were at a time.
//!
//! The past is brought back on a server of its own, and its schemas are then written to the primary like anything else is
//! written: the replicas follow by replication, no history is turned back, nothing diverges, and a restore can be undone
//! by another one to the second before it.

use std::net::SocketAddr;

use mainstay_site::plan::DatabaseRole;
use mainstay_site::wire::database::{LEADER, Leader, decode};

use super::error::Error;
use super::folder::{Folder, Full, spoken};
use super::private::Private;
use super::session::Session;
use super::{Scene, archive, tool};
use crate::database::accounts;

/// Restores what was written before the second `until_s`.
///
/// # Errors
/// No backup is that old, the archive has a gap, or a program fails. Until the schemas are written nothing is changed.
pub async fn run(scene: &Scene, folder: &Folder, until_s: u64) -> Result<Vec<(String, String)>, Error> {
    // The archive then reaches to this moment: the restore can be undone.
    if let Ok(mut own) = Session::own(scene.launch.server.as_str(), &scene.places.socket, scene.password()).await {
        archive::add(scene, folder, &mut own).await?;
        own.close().await;
    }
    let full = newest_before(folder, until_s)?;
    let private = Private::start(scene, folder, &full).await?;
    let done = bring_back(scene, folder, &full, &private, until_s).await;
    let ended = private.end().await;
    let schemas = done?;
    ended?;
    Ok(vec![
        ("restored".into(), schemas.join(", ")),
        ("as of".into(), format!("{} UTC", spoken(until_s))),
        ("from".into(), full.path.display().to_string()),
    ])
}

fn newest_before(folder: &Folder, until_s: u64) -> Result<Full, Error> {
    let fulls = folder.fulls()?;
    let oldest = fulls.first().ok_or_else(|| Error::Empty(folder.path().to_owned()))?.about.taken_s;
    let fit = fulls.into_iter().rfind(|full| full.about.taken_s <= until_s);
    fit.ok_or_else(|| Error::TooEarly { folder: folder.path().to_owned(), oldest: format!("{} UTC", spoken(oldest)) })
}

async fn bring_back(
    scene: &Scene,
    folder: &Folder,
    full: &Full,
    private: &Private,
    until_s: u64,
) -> Result<Vec<String>, Error> {
    scene.jobs.note(format!("replaying the binary logs up to {} UTC", spoken(until_s)));
    private.replay(folder, full, Some(until_s)).await?;
    let mut session = private.session().await?;
    let there: Vec<String> = session.rows("SHOW DATABASES").await?;
    session.close().await;
    let primary = primary(scene).await?;
    let mut restored = Vec::new();
    for schema in scene.config.schemas.iter().filter(|schema| there.contains(schema)) {
        scene
            .jobs
            .note(format!("writing the schema {schema} to the primary at {primary}; its tables are gone meanwhile"));
        write(scene, private, schema, primary).await?;
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
    dump.args(["--default-character-set=utf8mb4", "--databases", schema]);
    let mut client = tool::CLIENT.command()?;
    client.args(["--no-defaults", "--protocol=tcp", "--binary-mode", "--default-character-set=utf8mb4"]);
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
