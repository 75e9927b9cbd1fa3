//! What each step of `machines::database` is in SQL.

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_machines::database::Step;
use mainstay_site::plan::{self, DatabaseRole};
use mainstay_site::secrets::Secrets;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::admin::Admin;
use super::engine::Engine;
use super::{Error, REPLICATION, accounts};

/// A neighbour answers a connection in a millisecond; this is asked at every turn.
const REACH: Duration = Duration::from_millis(500);

/// Carries a step out; resting, waiting and refusing are nothing to carry out.
///
/// # Errors
/// A statement that failed.
pub async fn carry_out(
    step: &Step,
    admin: &mut Admin,
    config: &plan::Database,
    secrets: &Secrets,
) -> Result<(), Error> {
    match step {
        Step::Rest | Step::Wait(_) | Step::Refuse(_) => {}
        Step::Prepare => accounts::prepare(admin, config, secrets).await?,
        Step::Close => admin.close().await?,
        Step::Open => admin.open().await?,
        Step::SemiSync(on) => admin.commits_wait(*on).await?,
        Step::Follow => point(admin, config, secrets).await?,
        Step::Repoint => {
            admin.run("STOP SLAVE").await?;
            point(admin, config, secrets).await?;
        }
        Step::Start => admin.run("START SLAVE").await?,
        Step::StartIo => admin.run("START SLAVE IO_THREAD").await?,
        Step::StartSql => admin.run("START SLAVE SQL_THREAD").await?,
        Step::StopIo => admin.run("STOP SLAVE IO_THREAD").await?,
    }
    Ok(())
}

/// The source asks for a sign of life each second and is connected to again after one.
async fn point(admin: &mut Admin, config: &plan::Database, secrets: &Secrets) -> Result<(), Error> {
    let Some(source) = source(config) else { return Ok(()) };
    let statement = format!(
        "CHANGE MASTER TO MASTER_HOST = '{}', MASTER_PORT = {}, MASTER_USER = '{REPLICATION}', MASTER_PASSWORD = '{}', \
         MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1",
        source.ip(),
        source.port(),
        secrets.replication,
    );
    Ok(admin.run(&statement).await?)
}

/// The planned source of a replica.
pub fn source(config: &plan::Database) -> Option<SocketAddr> {
    match config.role {
        DatabaseRole::Primary => None,
        DatabaseRole::Replica { address, .. } => Some(address),
    }
}

/// Whether the planned source takes a connection now; `true` where there is none.
pub async fn source_reachable(config: &plan::Database) -> bool {
    match source(config) {
        None => true,
        Some(address) => matches!(timeout(REACH, TcpStream::connect(address)).await, Ok(Ok(_))),
    }
}
