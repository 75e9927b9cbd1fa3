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
    /// `CHECKSUM TABLE`, by table.
    pub checksums: Vec<(String, Option<u64>)>,
}

impl Inside {
    async fn ask<T>(&self, ask: impl AsyncFnOnce(&mut Conn) -> mysql_async::Result<T>) -> anyhow::Result<T> {
        let opts =
            OptsBuilder::default().socket(self.socket.to_str()).user(Some(&self.user)).pass(Some(&self.password));
        let answered = timeout(ANSWER, async {
            let mut conn = Conn::new(opts).await?;
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
            Ok(Contents { position: position.unwrap_or_default(), checksums })
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

    /// Stops the thread that applies what a replica receives, until something starts it again.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn stop_applying(&self) -> anyhow::Result<()> {
        self.ask(async |conn| conn.query_drop("STOP SLAVE SQL_THREAD").await).await
    }
}
