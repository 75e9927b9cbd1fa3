//! How the database servers are: each is logged in to and asked, again and again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_site::plan;
use mysql_async::prelude::{FromValue, Queryable};
use mysql_async::{Conn, Opts, OptsBuilder, Row};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::choice::{Check, Replication, Seen};

/// The account that the database role makes for this purpose; it may see how replication is, and no data.
const ACCOUNT: &str = "mainstay_check";
/// Between two checks of a server that is well.
const EVERY: Duration = Duration::from_secs(1);
/// Between two checks of one that is not: clients may be waiting for it.
const EVERY_UNWELL: Duration = Duration::from_millis(200);
/// The least time between two checks, whatever casts doubt on the last.
const GAP: Duration = Duration::from_millis(100);
/// A login and two questions take 2 ms; a server that needs a second serves nobody.
const DEADLINE: Duration = Duration::from_secs(1);

/// A database server.
pub struct Server {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Connections through the endpoints now.
    pub connections: AtomicUsize,
    /// Checks that failed.
    pub failures: AtomicU64,
    doubt: Notify,
    login: Opts,
}

/// What is known of all servers; the primary is the first.
pub struct Servers {
    servers: Vec<Server>,
    known: watch::Sender<Vec<Known>>,
}

/// A check and when its answer became what it is.
#[derive(Clone, Debug)]
pub struct Known {
    /// The answer.
    pub check: Check,
    /// Unix time in milliseconds.
    pub since_ms: u64,
    /// It was well before, or is: a server that was not is only not up yet.
    pub met: bool,
}

impl Servers {
    /// The servers of a plan.
    pub fn new(config: &plan::Sql, password: &str) -> Servers {
        let server = |(name, address): &(mainstay_site::names::ServerName, SocketAddr)| Server {
            name: name.to_string(),
            address: *address,
            connections: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
            doubt: Notify::new(),
            login: login(*address, password),
        };
        let servers: Vec<Server> = [&config.primary].into_iter().chain(&config.replicas).map(server).collect();
        let known = servers.iter().map(|_| Known { check: Check::Pending, since_ms: now_ms(), met: false }).collect();
        Servers { servers, known: watch::Sender::new(known) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.servers.len()
    }

    /// One of them.
    pub fn server(&self, index: usize) -> &Server {
        &self.servers[index]
    }

    /// What is known now.
    pub fn known(&self) -> Vec<Known> {
        self.known.borrow().clone()
    }

    /// Tells of changes.
    pub fn changes(&self) -> watch::Receiver<Vec<Known>> {
        self.known.subscribe()
    }

    /// The checks alone.
    pub fn checks(&self) -> Vec<Check> {
        self.known.borrow().iter().map(|known| known.check.clone()).collect()
    }

    /// The connections of each.
    pub fn connections(&self) -> Vec<usize> {
        self.servers.iter().map(|server| server.connections.load(Ordering::Relaxed)).collect()
    }

    /// A connection could not be made: whatever the last check said, nothing goes there before the next one. A server
    /// that is just back is not open for writes yet.
    pub fn failed(&self, index: usize, why: &io::Error) {
        self.note(index, Check::Failed(why.to_string()));
        self.doubt(index);
    }

    /// A connection ended from the server's side: the last check may be out of date.
    pub fn doubt(&self, index: usize) {
        self.servers[index].doubt.notify_one();
    }

    /// Checks one server for ever.
    pub async fn check(self: Arc<Self>, index: usize) {
        let server = &self.servers[index];
        loop {
            let check = match timeout(DEADLINE, ask(&server.login)).await {
                Ok(Ok(seen)) => Check::Well(seen),
                Ok(Err(why)) => Check::Failed(reason(&why)),
                Err(_) => Check::Failed(format!("it did not answer within {} s", DEADLINE.as_secs())),
            };
            let pause = self.note(index, check);
            sleep(GAP).await;
            let _ = timeout(pause, server.doubt.notified()).await;
        }
    }

    fn note(&self, index: usize, check: Check) -> Duration {
        let well = matches!(&check, Check::Well(seen) if index > 0 || !seen.read_only);
        if matches!(check, Check::Failed(_)) {
            self.servers[index].failures.fetch_add(1, Ordering::Relaxed);
        }
        self.known.send_if_modified(|known| {
            let changed = known[index].check != check;
            if changed {
                tracing::info!(server = self.servers[index].name, now = ?check, "database server");
                let met = known[index].met || matches!(check, Check::Well(_));
                known[index] = Known { check, since_ms: now_ms(), met };
            }
            changed
        });
        if well { EVERY } else { EVERY_UNWELL }
    }
}

fn login(address: SocketAddr, password: &str) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .user(Some(ACCOUNT))
        .pass(Some(password))
        .prefer_socket(false)
        // Given, so that the client does not ask for them at every login.
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(60))
        .into()
}

async fn ask(login: &Opts) -> mysql_async::Result<Seen> {
    let mut conn = Conn::new(login.clone()).await?;
    let read_only: Option<u8> = conn.query_first("SELECT @@global.read_only").await?;
    let status: Option<Row> = conn.query_first("SHOW SLAVE STATUS").await?;
    conn.disconnect().await?;
    Ok(Seen { read_only: read_only != Some(0), replication: status.as_ref().map(replication) })
}

fn replication(row: &Row) -> Replication {
    let applying = column::<String>(row, "Slave_SQL_Running").is_some_and(|running| running == "Yes");
    let connected = column::<String>(row, "Slave_IO_Running").is_some_and(|running| running == "Yes");
    let lag_s = column::<u64>(row, "Seconds_Behind_Master").filter(|_| connected);
    Replication { applying, lag_s }
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

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
