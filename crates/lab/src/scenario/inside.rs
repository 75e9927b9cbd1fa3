//! A database server asked from inside, by its Unix socket, as its keeper does: whatever fences and cables do.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::time::timeout;

use super::history::Found;

/// A server that does not answer by its own socket within this time is taken for one that does not run.
const ANSWER: Duration = Duration::from_secs(5);

/// The tables that the clients write.
const TABLES: &str = "ms_row, ms_list, ms_register, ms_probe";

/// One server.
#[derive(Clone, Debug)]
pub struct Inside {
    /// The Unix socket of its MariaDB.
    pub socket: PathBuf,
    /// The account of the administration.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The schema that the clients write.
    pub schema: String,
}

/// What a server holds, to be compared with another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// `@@gtid_current_pos`.
    pub position: String,
    /// Transactions that it wrote while it followed: of nobody's history.
    pub errant: Vec<String>,
    /// `CHECKSUM TABLE`, by table.
    pub checksums: Vec<(String, Option<u64>)>,
}

impl Inside {
    fn opts(&self) -> OptsBuilder {
        OptsBuilder::default().socket(self.socket.to_str()).user(Some(&self.user)).pass(Some(&self.password))
    }

    async fn ask<T>(&self, ask: impl AsyncFnOnce(&mut Conn) -> mysql_async::Result<T>) -> anyhow::Result<T> {
        let answered = timeout(ANSWER, async {
            let mut conn = Conn::new(self.opts()).await?;
            let answer = ask(&mut conn).await;
            conn.disconnect().await?;
            answer
        });
        let who = || format!("MariaDB at {}", self.socket.display());
        answered.await.with_context(who)?.with_context(who)
    }

    /// Whether it takes writes.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn is_open(&self) -> anyhow::Result<bool> {
        let read_only = self.ask(async |conn| conn.query_first::<u8, _>("SELECT @@global.read_only").await).await?;
        Ok(read_only == Some(0))
    }

    /// What its clock shows: Unix time in seconds.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn clock(&self) -> anyhow::Result<u64> {
        let shows = self.ask(async |conn| conn.query_first::<u64, _>("SELECT UNIX_TIMESTAMP()").await).await?;
        shows.context("it says no time")
    }

    /// Where it stands and what its tables add up to.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn contents(&self) -> anyhow::Result<Contents> {
        let tables: Vec<String> = TABLES.split(", ").map(|table| format!("`{}`.{table}", self.schema)).collect();
        let checksum = format!("CHECKSUM TABLE {}", tables.join(", "));
        self.ask(async |conn| {
            let position = conn.query_first::<String, _>("SELECT @@global.gtid_current_pos").await?;
            let checksums = conn.query::<(String, Option<u64>), _>(checksum).await?;
            let state = conn.query_first::<String, _>("SELECT @@global.gtid_binlog_state").await?;
            let errant = errant(&state.unwrap_or_default());
            Ok(Contents { position: position.unwrap_or_default(), errant, checksums })
        })
        .await
    }

    /// What the clients' tables hold.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn found(&self) -> anyhow::Result<Found> {
        let select = |what: &str| format!("SELECT {what} FROM `{}`.", self.schema);
        let (rows, lists, registers) =
            (select("id") + "ms_row", select("id, elements") + "ms_list", select("id, value") + "ms_register");
        let (inserted, lists, registers) = self
            .ask(async |conn| {
                let inserted = conn.query::<u64, _>(rows).await?;
                let lists = conn.query::<(u64, String), _>(lists).await?;
                Ok((inserted, lists, conn.query::<(u64, u64), _>(registers).await?))
            })
            .await?;
        let numbers = |text: &str| text.split(',').filter_map(|number| number.parse().ok()).collect();
        Ok(Found {
            inserted: inserted.into_iter().collect(),
            lists: lists.iter().map(|(id, elements)| (*id, numbers(elements))).collect(),
            registers: registers.into_iter().collect(),
        })
    }

    /// One column of a query.
    ///
    /// # Errors
    /// If it does not answer, or refuses.
    pub async fn texts(&self, query: &str) -> anyhow::Result<Vec<String>> {
        self.ask(async |conn| conn.query::<String, _>(query).await).await
    }

    /// Has it apply nothing of what it receives until what is returned is dropped.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn hold_applying(&self) -> anyhow::Result<Held> {
        let mut conn = timeout(ANSWER, Conn::new(self.opts())).await??;
        timeout(ANSWER, conn.query_drop("FLUSH TABLES WITH READ LOCK")).await??;
        Ok(Held { _conn: conn })
    }

    /// Stops the thread that applies what a replica receives, until something starts it again.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn stop_applying(&self) -> anyhow::Result<()> {
        self.ask(async |conn| conn.query_drop("STOP SLAVE SQL_THREAD").await).await
    }
}

/// A lock on every table, as long as this lives.
#[derive(Debug)]
pub struct Held {
    _conn: Conn,
}

/// Of `DOMAIN-SERVER-SEQUENCE,…` those of a server that followed: there bit 30 of the identity is set.
fn errant(state: &str) -> Vec<String> {
    let follows =
        |gtid: &&str| gtid.split('-').nth(1).and_then(|id| id.parse::<u32>().ok()).is_some_and(|id| id >> 30 & 1 == 1);
    state.split(',').filter(follows).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::errant;

    #[test]
    fn what_a_follower_wrote_itself_is_errant() {
        assert_eq!(errant("0-3-10,0-1073741826-11,0-2-9"), ["0-1073741826-11"]);
        assert_eq!(errant(""), Vec::<String>::new());
    }
}
