//! The restore test: a backup that was never restored is a hope.

use std::time::Instant;

use super::error::Error;
use super::folder::{Folder, Full};
use super::private::Private;
use super::session::{Session, quoted};
use super::{Scene, archive};

/// Restores a backup with all that is logged since, checks every table, throws it away, and notes what came of it.
///
/// # Errors
/// It cannot be restored, or a table is broken.
pub async fn run(scene: &Scene, folder: &Folder, full: &Full) -> Result<String, Error> {
    let begun = Instant::now();
    let mut own = Session::own(scene.launch.server.as_str(), &scene.places.socket, scene.password()).await?;
    archive::add(scene, folder, &mut own).await?;
    own.close().await;
    let private = Private::start(scene, folder, full).await?;
    let tried = attempt(scene, folder, full, &private).await;
    let ended = private.end().await;
    let tables = tried?;
    ended?;
    let tested = format!("{tables} tables are whole; it took {} s", begun.elapsed().as_secs());
    let mut full = full.clone();
    full.about.tested = Some(tested.clone());
    full.write()?;
    Ok(tested)
}

async fn attempt(scene: &Scene, folder: &Folder, full: &Full, private: &Private) -> Result<usize, Error> {
    scene.jobs.note("replaying the binary logs on the copy");
    let (first, position) = &full.about.log;
    private.replay(&archive::from(folder, &full.about.line, first)?, *position, None).await?;
    scene.jobs.note("checking its tables");
    let mut session = private.session().await?.patient();
    let tables = tables(&mut session).await?;
    for (schema, table) in &tables {
        let check = format!("CHECK TABLE {}.{}", quoted(schema), quoted(table));
        let said: Vec<(String, String, String, String)> = session.rows(&check).await?;
        if let Some((table, _, _, why)) =
            said.into_iter().find(|(_, _, kind, text)| kind == "error" || text == "Corrupt")
        {
            return Err(Error::Impossible(format!("the restored table {table} is broken: {why}")));
        }
    }
    session.close().await;
    Ok(tables.len())
}

/// The applications' tables.
async fn tables(session: &mut Session) -> Result<Vec<(String, String)>, Error> {
    let own = "('mysql', 'sys', 'information_schema', 'performance_schema', 'mainstay')";
    let query = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN {own}"
    );
    session.rows(&query).await
}
