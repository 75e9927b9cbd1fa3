//! Connections to servers, as Mainstay's own account through a Unix socket or as an application's over the network.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder};
use tokio::time::timeout;

use super::error::Error;
use super::tool;
use crate::database::admin::ADMIN;

/// A login at a server that lives takes milliseconds.
const LOGIN: Duration = Duration::from_secs(5);

/// What a server says of itself takes milliseconds.
const ANSWER: Duration = Duration::from_secs(10);

/// Silence after which a server elsewhere is asked whether it is still there.
const ASKED_AFTER: Duration = Duration::from_secs(10);

/// A connection.
pub struct Session {
    server: String,
    conn: Conn,
    patience: Duration,
}

impl Session {
    /// As Mainstay's own account.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn own(server: &str, socket: &Path, password: &str) -> Result<Session, Error> {
        Session::open(server, OptsBuilder::default().socket(socket.to_str()).user(Some(ADMIN)).pass(Some(password)))
            .await
    }

    /// As the application whose schema has this name.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn application(server: &str, at: SocketAddr, schema: &str, password: &str) -> Result<Session, Error> {
        let options = OptsBuilder::default().ip_or_hostname(at.ip().to_string()).tcp_port(at.port());
        let options = options.user(Some(schema)).pass(Some(password)).db_name(Some(schema)).prefer_socket(false);
        // Who is off says nothing.
        let options = options.tcp_keepalive(Some(ASKED_AFTER));
        Session::open(server, options).await
    }

    async fn open(server: &str, options: OptsBuilder) -> Result<Session, Error> {
        let server = server.to_owned();
        // Given, so that the client does not ask for them at every login.
        let options = options.max_allowed_packet(Some(16 << 20)).wait_timeout(Some(28_800));
        match timeout(LOGIN, Conn::new(options)).await {
            Ok(Ok(conn)) => Ok(Session { server, conn, patience: ANSWER }),
            Ok(Err(source)) => Err(Error::Statement { server, source }),
            Err(_) => Err(Error::Slow { server, what: "take a login", within_s: LOGIN.as_secs() }),
        }
    }

    /// The same for statements that read whole tables, or wait.
    pub fn patient(self) -> Session {
        Session { patience: tool::LONGEST, ..self }
    }

    /// Carries a statement out.
    ///
    /// # Errors
    /// [`Error::Statement`], [`Error::Slow`].
    pub async fn run(&mut self, statement: &str) -> Result<(), Error> {
        self.rows::<mysql_async::Row>(statement).await.map(|_| ())
    }

    /// Every row of a query.
    ///
    /// # Errors
    /// [`Error::Statement`], [`Error::Slow`].
    pub async fn rows<T: FromRow + Send + 'static>(&mut self, query: &str) -> Result<Vec<T>, Error> {
        let server = self.server.clone();
        match timeout(self.patience, self.conn.query(query)).await {
            Ok(answer) => answer.map_err(|source| Error::Statement { server, source }),
            Err(_) => Err(Error::Slow { server, what: "answer", within_s: self.patience.as_secs() }),
        }
    }

    /// The first row of a query.
    ///
    /// # Errors
    /// [`Error::Statement`], [`Error::Slow`].
    pub async fn first<T: FromRow + Send + 'static>(&mut self, query: &str) -> Result<Option<T>, Error> {
        Ok(self.rows(query).await?.into_iter().next())
    }

    /// Whose connection it is.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Says good-bye; MariaDB logs a warning of those who do not.
    pub async fn close(self) {
        let _ = timeout(LOGIN, self.conn.disconnect()).await;
    }
}

/// A name in a statement.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
