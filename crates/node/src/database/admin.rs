//! Mainstay's own connection: over the Unix socket, with a deadline on every statement.

use std::time::Duration;

use mysql_async::prelude::{FromValue, Queryable, StatementLike};
use mysql_async::{Conn, OptsBuilder, Params, Row};
use tokio::time::timeout;

use super::places::Places;

/// Mainstay's own account.
pub const ADMIN: &str = "mainstay_admin";
/// A statement of ours takes milliseconds; one that takes this long waits for something that waiting does not mend.
const STATEMENT: Duration = Duration::from_secs(5);
/// Seconds that a statement waits for a lock: by default a day. Whole seconds are the least that MariaDB takes here.
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
    #[error("MariaDB did not answer \"{statement}\" within {} ms", patience.as_millis())]
    Silent {
        /// What was asked, without values.
        statement: String,
        /// For how long it was waited.
        patience: Duration,
    },
    /// The thread that applies stopped before everything was applied.
    #[error("what was received cannot be applied: {0}")]
    NotApplied(String),
    /// A replica that was cut off is still connected.
    #[error("the connection of the replica {0} does not end")]
    NotCutOff(String),
}

impl Fault {
    /// MariaDB's number for it, if it is MariaDB's.
    pub fn code(&self) -> Option<u16> {
        match self {
            Fault::Statement { source: mysql_async::Error::Server(error), .. } => Some(error.code),
            _ => None,
        }
    }

    /// Whether the connection can be used for another statement.
    pub fn leaves_connection(&self) -> bool {
        match self {
            Fault::Statement { .. } => self.code().is_some(),
            Fault::Silent { .. } => false,
            Fault::NotApplied(_) | Fault::NotCutOff(_) => true,
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
        let conn = within(STATEMENT, "login", Conn::new(options)).await?;
        let mut admin = Admin(conn);
        admin.run(&format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_S}")).await?;
        Ok(admin)
    }

    /// Says good-bye; MariaDB logs a warning of those who do not.
    pub async fn quit(self) {
        let _ = within(STATEMENT, "quit", self.0.disconnect()).await;
    }

    /// Carries a statement out.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn run(&mut self, statement: &str) -> Result<(), Fault> {
        self.run_within(STATEMENT, statement).await
    }

    /// Carries a statement out, with a patience of its own.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn run_within(&mut self, patience: Duration, statement: &str) -> Result<(), Fault> {
        within(patience, statement, self.0.query_drop(statement)).await
    }

    /// Every row of a query.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn rows(&mut self, query: &str) -> Result<Vec<Row>, Fault> {
        within(STATEMENT, query, self.0.query(query)).await
    }

    /// Every row of each of several queries, asked at once: to wait for an answer costs more than the answer.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn sets<const N: usize>(&mut self, queries: [&str; N]) -> Result<[Vec<Row>; N], Fault> {
        let text = queries.join("; ");
        let asked = async {
            let mut result = self.0.query_iter(text.as_str()).await?;
            let mut sets = [const { Vec::new() }; N];
            for set in &mut sets {
                *set = result.collect().await?;
            }
            result.drop_result().await?;
            Ok(sets)
        };
        within(STATEMENT, queries[0], asked).await
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
        within(STATEMENT, statement, first(&mut self.0, statement_text, values.into())).await
    }
}

async fn first<T: FromValue + Send + 'static>(
    conn: &mut Conn,
    statement: impl StatementLike + Send,
    values: Params,
) -> mysql_async::Result<Option<T>> {
    conn.exec_first(statement, values).await
}

async fn within<T>(
    patience: Duration,
    statement: &str,
    answer: impl Future<Output = mysql_async::Result<T>>,
) -> Result<T, Fault> {
    // The first words tell which one it was; the rest may hold a password's hash.
    let statement: String = statement.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    match timeout(patience, answer).await {
        Ok(answer) => answer.map_err(|source| Fault::Statement { statement, source }),
        Err(_) => Err(Fault::Silent { statement, patience }),
    }
}
