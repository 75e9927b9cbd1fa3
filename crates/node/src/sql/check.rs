//! Asking the servers how they are, each on a connection that stays open: a question costs a tenth of a login.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::{FromValue, Queryable};
use mysql_async::{Conn, Opts, Row};
use tokio::time::{sleep, timeout};

use super::choice::{Check, Replication, Seen};
use super::servers::{Servers, Urgency};

/// Between two checks of a server that is well.
const EVERY: Duration = Duration::from_secs(1);
/// Between two checks of one that is not: clients may be waiting for it.
const EVERY_UNWELL: Duration = Duration::from_millis(200);
/// Between two checks of a server that was just made the leader: every client waits for it. A check takes 0.2 ms.
const EVERY_AWAITED: Duration = Duration::from_millis(5);
/// The least time between two checks, whatever casts doubt on the last.
const GAP: Duration = Duration::from_millis(100);
/// A login and two questions take 2 ms; a server that needs a second serves nobody.
const DEADLINE: Duration = Duration::from_secs(1);

/// Checks one server for ever.
pub async fn check(servers: Arc<Servers>, index: usize) {
    let server = servers.server(index);
    let mut open = None;
    loop {
        let asked = timeout(DEADLINE, ask(open.take(), &server.login)).await;
        let check = match asked {
            Ok(Ok((conn, seen))) => {
                open = Some(conn);
                Check::Well(seen)
            }
            Ok(Err(why)) => Check::Failed(reason(&why)),
            Err(_) => Check::Failed(format!("it did not answer within {} s", DEADLINE.as_secs())),
        };
        servers.note(index, check);
        let pause = match servers.urgency(index) {
            Urgency::Well => EVERY,
            Urgency::Unwell => EVERY_UNWELL,
            Urgency::Awaited => EVERY_AWAITED,
        };
        let patience = async {
            sleep(GAP.min(pause)).await;
            let _ = timeout(pause.saturating_sub(GAP), server.doubt.notified()).await;
        };
        tokio::select! {
            () = patience => {}
            () = server.urgent.notified() => {}
        }
    }
}

/// On the open connection, or on a new one if the server has closed that.
async fn ask(open: Option<Conn>, login: &Opts) -> mysql_async::Result<(Conn, Seen)> {
    if let Some(mut conn) = open
        && let Ok(seen) = question(&mut conn).await
    {
        return Ok((conn, seen));
    }
    let mut conn = Conn::new(login.clone()).await?;
    let seen = question(&mut conn).await?;
    Ok((conn, seen))
}

async fn question(conn: &mut Conn) -> mysql_async::Result<Seen> {
    let read_only: Option<u8> = conn.query_first("SELECT @@global.read_only").await?;
    let status: Option<Row> = conn.query_first("SHOW SLAVE STATUS").await?;
    Ok(Seen { read_only: read_only != Some(0), replication: status.as_ref().map(replication) })
}

fn replication(row: &Row) -> Replication {
    let is_yes = |name: &str| column::<String>(row, name).is_some_and(|running| running == "Yes");
    Replication {
        source: column(row, "Master_Host").unwrap_or_default(),
        applying: is_yes("Slave_SQL_Running"),
        lag_s: column::<u64>(row, "Seconds_Behind_Master").filter(|_| is_yes("Slave_IO_Running")),
    }
}

fn column<T: FromValue>(row: &Row, name: &str) -> Option<T> {
    let at = row.columns_ref().iter().position(|column| column.name_str() == name)?;
    row.get_opt::<Option<T>, _>(at)?.ok()?
}

fn reason(why: &mysql_async::Error) -> String {
    match why {
        mysql_async::Error::Server(error) => error.message.clone(),
        mysql_async::Error::Io(mysql_async::IoError::Io(error)) => error.to_string(),
        other => other.to_string(),
    }
}
