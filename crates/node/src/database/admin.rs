//! Mainstay's own connection: over the Unix socket, with a deadline on every statement.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_machines::database::Thread;
use mysql_async::prelude::{FromValue, Queryable, StatementLike};
use mysql_async::{Conn, OptsBuilder, Params, Row};
use tokio::time::timeout;

use super::places::Places;

/// Mainstay's own account.
pub const ADMIN: &str = "mainstay_admin";
/// A statement of ours takes milliseconds; one that takes this long waits for something that waiting does not mend.
const STATEMENT: Duration = Duration::from_secs(5);
/// Seconds that a statement waits for a lock. `SET GLOBAL read_only` waits for commits, by default for a day.
const LOCK_WAIT_S: u32 = 3;

/// Why a statement was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// MariaDB said no.
    #[error("MariaDB refused \"{statement}\": {source}")]
    Statement {
        /// What was asked, without values.
        statement: String,
        /// What it said.
        source: mysql_async::Error,
    },
    /// No answer.
    #[error("MariaDB did not answer \"{statement}\" within {} s", STATEMENT.as_secs())]
    Silent {
        /// What was asked, without values.
        statement: String,
    },
}

impl Fault {
    /// MariaDB's number for it, if it is MariaDB's.
    pub fn code(&self) -> Option<u16> {
        match self {
            Fault::Statement { source: mysql_async::Error::Server(error), .. } => Some(error.code),
            _ => None,
        }
    }
}

/// An open connection.
pub struct Admin(Conn);

impl Admin {
    /// Logs in.
    ///
    /// # Errors
    /// It does not listen yet, or the password is another.
    pub async fn connect(places: &Places, password: &str) -> Result<Admin, Fault> {
        let options = OptsBuilder::default()
            .socket(places.socket.to_str())
            .user(Some(ADMIN))
            .pass(Some(password))
            // Given, so that the client does not ask for them at every login.
            .max_allowed_packet(Some(16 << 20))
            .wait_timeout(Some(28_800));
        let conn = within("login", Conn::new(options)).await?;
        let mut admin = Admin(conn);
        admin.run(&format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_S}")).await?;
        Ok(admin)
    }

    /// Says good-bye; MariaDB logs a warning of those who do not.
    pub async fn close(self) {
        let _ = within("quit", self.0.disconnect()).await;
    }

    /// Carries a statement out.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn run(&mut self, statement: &str) -> Result<(), Fault> {
        within(statement, self.0.query_drop(statement)).await
    }

    /// Every row of a query.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn rows(&mut self, query: &str) -> Result<Vec<Row>, Fault> {
        within(query, self.0.query(query)).await
    }

    /// The first column of the first row of a prepared statement.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn value<T: FromValue + Send + 'static>(
        &mut self,
        statement: &str,
        values: impl Into<Params> + Send,
    ) -> Result<Option<T>, Fault> {
        let statement_text: &str = statement;
        within(statement, first(&mut self.0, statement_text, values.into())).await
    }

    /// What the server is.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn observe(&mut self) -> Result<Seen, Fault> {
        let variables = self.rows(VARIABLES).await?;
        let replication = self.rows("SHOW SLAVE STATUS").await?;
        let status = self.rows(STATUS).await?;
        Ok(Seen {
            variables: variables.first().map(Variables::read).unwrap_or_default(),
            replication: replication.first().map(Replication::read),
            status: status.iter().filter_map(|row| Some((text(row, 0)?, text(row, 1)?))).collect(),
        })
    }
}

async fn first<T: FromValue + Send + 'static>(
    conn: &mut Conn,
    statement: impl StatementLike + Send,
    values: Params,
) -> mysql_async::Result<Option<T>> {
    conn.exec_first(statement, values).await
}

async fn within<T>(statement: &str, answer: impl Future<Output = mysql_async::Result<T>>) -> Result<T, Fault> {
    // The first words tell which one it was; the rest may hold a password's hash.
    let statement: String = statement.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    match timeout(STATEMENT, answer).await {
        Ok(answer) => answer.map_err(|source| Fault::Statement { statement, source }),
        Err(_) => Err(Fault::Silent { statement }),
    }
}

const VARIABLES: &str = "SELECT @@global.read_only, @@global.rpl_semi_sync_master_enabled, @@global.gtid_binlog_state, \
                         @@global.gtid_current_pos, @@version";

const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Queries', 'Connections', \
                      'Aborted_connects', 'Slow_queries', 'Binlog_commits', 'Innodb_row_lock_waits', \
                      'Rpl_semi_sync_master_status', 'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_master_yes_tx', \
                      'Rpl_semi_sync_master_no_tx')";

/// One look at the server.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its settings.
    pub variables: Variables,
    /// `SHOW SLAVE STATUS`.
    pub replication: Option<Replication>,
    status: BTreeMap<String, String>,
}

impl Seen {
    /// A number of `SHOW GLOBAL STATUS`.
    pub fn number(&self, name: &str) -> u64 {
        self.status.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Whether a switch of `SHOW GLOBAL STATUS` is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.status.get(name).is_some_and(|value| value == "ON")
    }
}

/// Settings that tell what the server is.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// `@@read_only`.
    pub read_only: bool,
    /// `@@rpl_semi_sync_master_enabled`.
    pub semi_sync: bool,
    /// `@@gtid_binlog_state`: empty if nothing was ever written.
    pub binlog_state: String,
    /// `@@gtid_current_pos`.
    pub position: String,
    /// `10.11.19-MariaDB-…`.
    pub version: String,
}

impl Variables {
    fn read(row: &Row) -> Variables {
        let is_on = |at| text(row, at).is_some_and(|value| value == "1" || value == "ON");
        let string = |at| text(row, at).unwrap_or_default();
        Variables {
            read_only: is_on(0),
            semi_sync: is_on(1),
            binlog_state: string(2),
            position: string(3),
            version: string(4),
        }
    }
}

/// `SHOW SLAVE STATUS`.
#[derive(Clone, Debug)]
pub struct Replication {
    /// `10.80.0.11:3306`, an IPv6 address in brackets.
    pub source: String,
    /// The thread that receives.
    pub io: Thread,
    /// The thread that applies.
    pub sql: Thread,
    /// Seconds behind; `None` while it cannot know.
    pub lag_s: Option<u64>,
    /// Whether all that was received is applied.
    pub drained: bool,
    /// The last error of the thread that receives.
    pub io_error: String,
    /// The last error of the thread that applies.
    pub sql_error: String,
}

impl Replication {
    fn read(row: &Row) -> Replication {
        let column = |name: &str| {
            row.columns_ref().iter().position(|column| column.name_str() == name).and_then(|at| text(row, at))
        };
        let string = |name: &str| column(name).unwrap_or_default();
        let position = |file: &str, offset: &str| (string(file), string(offset));
        Replication {
            source: address(&string("Master_Host"), &string("Master_Port")),
            io: thread(&string("Slave_IO_Running")),
            sql: thread(&string("Slave_SQL_Running")),
            lag_s: column("Seconds_Behind_Master").and_then(|seconds| seconds.parse().ok()),
            drained: position("Master_Log_File", "Read_Master_Log_Pos")
                == position("Relay_Master_Log_File", "Exec_Master_Log_Pos"),
            io_error: string("Last_IO_Error"),
            sql_error: string("Last_SQL_Error"),
        }
    }
}

fn thread(word: &str) -> Thread {
    match word {
        "Yes" => Thread::Running,
        "Connecting" | "Preparing" => Thread::Connecting,
        _ => Thread::Stopped,
    }
}

fn address(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn text(row: &Row, at: usize) -> Option<String> {
    row.get_opt::<Option<String>, _>(at)?.ok()?
}
