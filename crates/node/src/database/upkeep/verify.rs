//! Whether primary and replicas hold the same: every table's checksum at one and the same position.
//!
//! Commits are held for the milliseconds in which every server reaches one position and a snapshot is opened on each. The
//! checksums are then taken from the snapshots, however long that takes, while everybody writes on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use mainstay_machines::gtid::Position;
use tokio::time::timeout;

use super::Scene;
use super::error::Error;
use super::session::{Session, quoted};
use crate::database::accounts;

/// How long commits may be held: replicas that keep up need a hundredth of it.
const HELD: Duration = Duration::from_secs(2);

/// Snapshots of all servers for one schema, the primary's first.
type Snapshots = (String, Vec<Session>);

/// Compares.
///
/// # Errors
/// This is not the primary, there is no replica, a server does not answer, or the data differ.
pub async fn run(scene: &Scene) -> Result<Vec<(String, String)>, Error> {
    let name = scene.launch.server.as_str();
    let mut own = Session::own(name, &scene.places.socket, scene.password()).await?.patient();
    if own.first::<u8>("SELECT @@global.read_only").await? != Some(0) {
        return Err(Error::Impossible(format!("{name} is not the primary: ask that one")));
    }
    let replicas = replicas(scene);
    if replicas.is_empty() {
        return Err(Error::Impossible("there is no replica to compare with".into()));
    }
    scene.jobs.note("connecting to every server");
    let mut snapshots = Vec::new();
    for schema in &scene.config.schemas {
        snapshots.push((schema.clone(), connect(scene, schema, &replicas).await?));
    }
    scene.jobs.note("bringing every server to one position");
    let position = align(&mut own, &mut snapshots).await?;
    own.close().await;
    let (mut tables, mut differences) = (0, Vec::new());
    for (schema, sessions) in &mut snapshots {
        scene.jobs.note(format!("comparing {schema}"));
        let (compared, different) = compare(schema, sessions).await?;
        tables += compared;
        differences.extend(different);
    }
    if !differences.is_empty() {
        return Err(Error::Impossible(format!("at {position} the data differ: {}", differences.join("; "))));
    }
    let names: Vec<&str> = replicas.iter().map(|(name, _)| name.as_str()).collect();
    Ok(vec![
        ("equal".into(), format!("{tables} tables of {name} and {}", names.join(", "))),
        ("position".into(), position),
    ])
}

fn replicas(scene: &Scene) -> Vec<(String, SocketAddr)> {
    let others = scene.config.members.iter().filter(|member| member.server != scene.launch.server);
    others.map(|member| (member.server.to_string(), member.address)).collect()
}

/// One connection to each server, the primary first.
async fn connect(scene: &Scene, schema: &str, replicas: &[(String, SocketAddr)]) -> Result<Vec<Session>, Error> {
    let password = accounts::password(schema, &scene.launch.secrets);
    let password =
        password.ok_or_else(|| Error::Impossible(format!("there is no password for the schema {schema}")))?;
    let own = (scene.launch.server.to_string(), scene.config.address);
    let mut sessions = Vec::new();
    for (name, address) in [&own].into_iter().chain(replicas) {
        sessions.push(Session::application(name, *address, schema, password).await?.patient());
    }
    Ok(sessions)
}

/// Opens the snapshots while nobody commits; the position at which they all are.
async fn align(own: &mut Session, snapshots: &mut [Snapshots]) -> Result<String, Error> {
    let slow =
        || Error::Slow { server: "a replica".into(), what: "reach the primary's position", within_s: HELD.as_secs() };
    own.run(&format!("SET SESSION lock_wait_timeout = {}", HELD.as_secs())).await?;
    own.run("BACKUP STAGE START").await?;
    let held = async {
        own.run("BACKUP STAGE BLOCK_COMMIT").await?;
        let position: String = own.first("SELECT @@global.gtid_binlog_pos").await?.unwrap_or_default();
        open(snapshots, &position).await?;
        Ok(position)
    };
    let opened = timeout(HELD, held).await.unwrap_or_else(|_| Err(slow()));
    // Also given up when the connection ends.
    own.run("BACKUP STAGE END").await?;
    opened
}

async fn open(snapshots: &mut [Snapshots], position: &str) -> Result<(), Error> {
    for (_, sessions) in snapshots {
        for (place, session) in sessions.iter_mut().enumerate() {
            if place > 0 {
                wait(session, position).await?;
            }
            session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        }
    }
    Ok(())
}

async fn wait(replica: &mut Session, position: &str) -> Result<(), Error> {
    let reach = format!("SELECT MASTER_GTID_WAIT('{position}', {})", HELD.as_secs());
    replica.first::<i64>(&reach).await?;
    let is: String = replica.first("SELECT @@global.gtid_slave_pos").await?.unwrap_or_default();
    let parsed = |text: &str| Position::parse(text).ok();
    if parsed(&is) == parsed(position) {
        return Ok(());
    }
    let server = replica.server();
    Err(Error::Impossible(format!(
        "{server} is at {is} and the primary at {position}: it does not keep up, or has diverged"
    )))
}

/// How many tables, and which differ.
async fn compare(schema: &str, sessions: &mut [Session]) -> Result<(usize, Vec<String>), Error> {
    let mut of_each = Vec::new();
    for session in &mut *sessions {
        of_each.push((session.server().to_owned(), checksums(schema, session).await?));
    }
    let Some(((primary, expected), others)) = of_each.split_first() else { return Ok((0, Vec::new())) };
    let mut differences = Vec::new();
    for (server, found) in others {
        let all = expected.keys().chain(found.keys().filter(|table| !expected.contains_key(*table)));
        let differing = all.filter(|table| expected.get(*table) != found.get(*table));
        differences.extend(differing.map(|table| match (expected.get(table), found.get(table)) {
            (Some(_), Some(_)) => format!("{schema}.{table} on {server} is not what it is on {primary}"),
            (Some(_), None) => format!("{schema}.{table} is missing on {server}"),
            _ => format!("{schema}.{table} is on {server} and not on {primary}"),
        }));
    }
    Ok((expected.len(), differences))
}

async fn checksums(schema: &str, session: &mut Session) -> Result<BTreeMap<String, Option<u64>>, Error> {
    let query = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'";
    let mut sums = BTreeMap::new();
    for table in session.rows::<String>(query).await? {
        let checksum = format!("CHECKSUM TABLE {}.{} EXTENDED", quoted(schema), quoted(&table));
        let sum: Option<(String, Option<u64>)> = session.first(&checksum).await?;
        sums.insert(table, sum.and_then(|(_, sum)| sum));
    }
    Ok(sums)
}
