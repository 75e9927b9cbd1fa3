//! Following a primary, from wherever this server stands, without throwing away what it received and did not apply.

use std::time::Duration;

use mainstay_machines::database::Thread;
use mainstay_machines::election::Server;
use mainstay_site::plan;
use mainstay_site::secrets::Secrets;

use super::admin::{Admin, Fault};
use super::engine::{Engine, Following, Replication, replication_account};
use super::{Error, mariadb};

/// What was received is applied before another source is followed. What takes longer is tried again: it goes on meanwhile.
pub const DRAIN: Duration = Duration::from_secs(1);

/// Whether neither thread runs: a start would throw away what was received and not applied.
pub fn stands_still(replication: &Replication) -> bool {
    replication.io == Thread::Stopped && replication.sql == Thread::Stopped
}

/// Replays `source`, both threads running.
///
/// # Errors
/// A statement that failed; what was received and is not applied yet.
pub async fn follow(
    config: &plan::Database,
    secrets: &Secrets,
    source: &Server,
    acknowledges: bool,
    admin: &mut Admin,
) -> Result<(), Error> {
    let unknown = || Error::NoMember(source.to_string());
    let member = config.members.iter().find(|member| Server::from(&member.server) == *source).ok_or_else(unknown)?;
    let own = config.members.iter().find(|member| member.server_id == config.server_id).ok_or_else(unknown)?;
    let following = Following {
        source: member.replication,
        account: replication_account(&own.server),
        server_id: mariadb::follows_as(own.server_id),
        acknowledges,
    };
    admin.close().await?;
    let seen = admin.observe().await?;
    match seen.replication.clone() {
        Some(now) if now.source == member.replication.to_string() && now.account == following.account => {
            go_on(&now, seen.acknowledges() != acknowledges, acknowledges, admin).await?;
        }
        Some(now) => {
            if !stands_still(&now) {
                let received = admin.freeze().await?;
                admin.drain(&received, DRAIN).await?;
            }
            admin.follow(&following, &secrets.replication).await?;
        }
        None => admin.follow(&following, &secrets.replication).await?,
    }
    Ok(())
}

/// The same source as before. A thread that is started alone, with the other running, throws nothing away.
async fn go_on(now: &Replication, other: bool, acknowledges: bool, admin: &mut Admin) -> Result<(), Fault> {
    match (now.io, now.sql) {
        (Thread::Stopped, sql) => {
            admin.acknowledge(acknowledges).await?;
            admin.receive(sql == Thread::Stopped).await
        }
        (_, Thread::Stopped) if !other => admin.apply().await,
        _ if other => admin.acknowledge(acknowledges).await,
        _ => Ok(()),
    }
}
