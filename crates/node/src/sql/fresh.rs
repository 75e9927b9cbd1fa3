//! Read-your-writes: a connection to a replica is handed over once the replica has everything that the leader had when the
//! client knocked.
//!
//! What counts is the moment of the connection: who wrote before it sees what he wrote on it, through whichever server and
//! application he wrote. A connection that is kept does not catch up again.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts};
use tokio::time::timeout;

/// How long a replica is waited for before the leader is read: a healthy one is milliseconds behind, and a visitor notices a
/// quarter of a second.
const PATIENCE: Duration = Duration::from_millis(250);
/// Questions to one server at once; more wait for their turn, within the same patience.
const ASKED_MAX: usize = 8;
/// A connection for questions is kept for as long as visitors of a quiet site need for a page.
const IDLE: Duration = Duration::from_secs(60);

/// Connections to ask one server on.
pub struct Questions(Pool);

impl Questions {
    /// Asks with this login.
    pub fn new(login: &Opts) -> Questions {
        let bounds = PoolConstraints::new(0, ASKED_MAX).unwrap_or_default();
        let pool = PoolOpts::default()
            .with_constraints(bounds)
            .with_inactive_connection_ttl(IDLE)
            // Nothing is ever set on it.
            .with_reset_connection(false);
        Questions(Pool::new(OptsBuilder::from_opts(login.clone()).pool_opts(pool)))
    }
}

/// Whether the replica has, now or soon, everything that the leader has now.
pub async fn caught_up(leader: &Questions, replica: &Questions) -> bool {
    let caught_up = async {
        match position(&mut leader.0.get_conn().await?).await? {
            Some(position) => wait(&mut replica.0.get_conn().await?, &position).await,
            None => Ok(true),
        }
    };
    matches!(timeout(PATIENCE, caught_up).await, Ok(Ok(true)))
}

/// Where the leader's binary log ends; `None` if nothing was ever written. It may hold a transaction that is not acknowledged
/// yet: that is waited for too, which does no harm.
async fn position(leader: &mut Conn) -> mysql_async::Result<Option<String>> {
    let position: Option<String> = leader.query_first("SELECT @@global.gtid_binlog_pos").await?;
    Ok(position.filter(|position| !position.is_empty()))
}

/// 0 once it is there, −1 after the time given (MariaDB's documentation, "MASTER_GTID_WAIT").
async fn wait(replica: &mut Conn, position: &str) -> mysql_async::Result<bool> {
    let waited: Option<i64> =
        replica.exec_first("SELECT MASTER_GTID_WAIT(?, ?)", (position, PATIENCE.as_secs_f64())).await?;
    Ok(waited == Some(0))
}
