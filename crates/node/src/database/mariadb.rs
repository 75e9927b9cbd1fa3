//! MariaDB: its statements and variables. Tried with 10.11; every order that matters was found by losing data in another.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstay_machines::database::Thread;
use mainstay_machines::gtid::Position;
use mainstay_site::names::ServerName;
use mainstay_site::plan;
use mysql_async::Row;
use tokio::time::Instant;

use super::admin::{ADMIN, Admin, Fault};
use super::engine::{Attached, Engine, Following, Replication, Seen, Variables, replication_account};

/// Closing waits for commits; those that wait for a replica never end. What takes longer is closed by killing the server,
/// which acknowledges nothing.
const CLOSE: Duration = Duration::from_millis(300);
/// A replica's receiving thread ends in 12 ms; one that is connecting to a vanished server within its connect time-out.
const STOP_IO: Duration = Duration::from_secs(3);
/// A connection that was killed is gone in milliseconds.
const CUT_OFF: Duration = Duration::from_secs(1);
/// Between two looks at something that is about to happen.
const LOOK: Duration = Duration::from_millis(10);
/// Applying is waited for in pieces, so that a thread that stopped is noticed.
const DRAIN_LOOK_S: f32 = 0.1;
/// A connection that was killed this many seconds ago and is still there does not end by itself.
const STUCK_S: u64 = 2;

/// Added to a server's identity while it follows.
///
/// MariaDB drops what it receives under its own `server_id`: it takes it for its own transactions that come round. A former
/// primary that started without its unacknowledged end must receive just those again, from who has them; without another
/// identity its data missed them for ever, and its position did not tell. (MariaDB makes an exception while
/// `rpl_semi_sync_slave_enabled` is on, but who has still to catch up may not acknowledge. `replicate_same_server_id` it
/// refuses together with `log_slave_updates`.) So a server writes under one identity and follows under another.
const FOLLOWS: u32 = 1 << 30;

/// The `server_id` in the file: every server starts closed.
pub fn starts_as(config: &plan::Database) -> u32 {
    if config.store.is_empty() { config.server_id } else { follows_as(config.server_id) }
}

/// The `server_id` of a follower whose transactions bear `own`.
pub fn follows_as(own: u32) -> u32 {
    own | FOLLOWS
}

/// Has a start cut off what the binary log holds and no replica acknowledged, if the replica's side of semi-sync is on in the
/// file (MariaDB, "Semisynchronous Replication", `init_rpl_role`).
pub const TRUNCATE: &str = "--init-rpl-role=SLAVE";

/// What is written without meaning.
pub const NUDGES: &str = "mainstay.nudges";

const VARIABLES: &str = "SELECT @@global.read_only, @@global.rpl_semi_sync_master_enabled, \
                         @@global.rpl_semi_sync_slave_enabled, @@global.gtid_binlog_state, @@global.gtid_binlog_pos, \
                         @@global.gtid_slave_pos, @@version, @@global.server_id";

const REPLICATION: &str = "SHOW SLAVE STATUS";

/// Not of information_schema, which for this needs a temporary table on a disk that may be full.
const CONNECTIONS: &str = "SHOW PROCESSLIST";

const OWN: &str = "SELECT CONNECTION_ID()";

const BLOCKED: &str = "SELECT User FROM mysql.global_priv WHERE User LIKE 'mainstay\\_replication\\_%' \
                       AND JSON_VALUE(Priv, '$.account_locked') IN ('1', 'true')";

const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Queries', 'Connections', \
                      'Aborted_connects', 'Slow_queries', 'Binlog_commits', 'Innodb_row_lock_waits', \
                      'Rpl_semi_sync_master_status', 'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_master_yes_tx', \
                      'Rpl_semi_sync_master_no_tx', 'Rpl_semi_sync_master_wait_sessions', 'Rpl_semi_sync_slave_status')";

impl Engine for Admin {
    async fn observe(&mut self) -> Result<Seen, Fault> {
        let asked = [VARIABLES, REPLICATION, STATUS, CONNECTIONS, BLOCKED];
        let [variables, replication, status, connections, blocked] = self.sets(asked).await?;
        Ok(Seen {
            variables: variables.first().map(Variables::read).unwrap_or_default(),
            replication: replication.first().map(Replication::read),
            replicas: connections.iter().filter_map(Connection::read).filter_map(Connection::replica).collect(),
            blocked: blocked.iter().filter_map(|row| text(row, 0)).collect(),
            status: status.iter().filter_map(|row| Some((text(row, 0)?, text(row, 1)?))).collect(),
        })
    }

    async fn close(&mut self) -> Result<(), Fault> {
        let seconds = CLOSE.as_secs_f32();
        let statement = format!("SET STATEMENT max_statement_time = {seconds} FOR SET GLOBAL read_only = 1");
        self.run_within(CLOSE * 2, &statement).await
    }

    async fn cut_clients(&mut self) -> Result<(), Fault> {
        let rows = self.rows(CONNECTIONS).await?;
        let clients = rows.iter().filter_map(Connection::read).filter(Connection::is_client);
        for whose in clients.map(|client| client.whose()).collect::<BTreeSet<_>>() {
            // Refused if it has gone by itself meanwhile.
            let _ = self.run(&format!("KILL HARD {whose}")).await;
        }
        Ok(())
    }

    async fn write_as(&mut self, server_id: u32) -> Result<(), Fault> {
        if self.variables().await?.server_id == server_id {
            return self.run(&format!("SET SESSION server_id = {server_id}")).await;
        }
        self.bear(server_id).await?;
        self.cut_clients().await
    }

    async fn open(&mut self) -> Result<(), Fault> {
        self.run("SET GLOBAL read_only = 0").await
    }

    async fn commits_wait(&mut self, on: bool) -> Result<(), Fault> {
        self.run(&format!("SET GLOBAL rpl_semi_sync_master_enabled = {}", u8::from(on))).await
    }

    // A former primary goes on behind its own last transaction, which `gtid_slave_pos` does not know (as with
    // `MASTER_DEMOTE_TO_SLAVE`, which leaves out what was written under another identity). The source sends a sign of life each second and is connected to again after one.
    async fn follow(&mut self, following: &Following, password: &str) -> Result<(), Fault> {
        if self.replication().await?.is_some() {
            self.run_within(STOP_IO * 2, "STOP SLAVE").await?;
        }
        self.commits_wait(false).await?;
        self.may_acknowledge(following.acknowledges).await?;
        self.skip_to_applied().await?;
        self.bear(following.server_id).await?;
        let Following { source, account, .. } = following;
        self.run(&format!(
            "CHANGE MASTER TO MASTER_HOST = '{}', MASTER_PORT = {}, MASTER_USER = '{account}', MASTER_PASSWORD = '{password}', \
             MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1",
            source.ip(),
            source.port(),
        ))
        .await?;
        self.run("START SLAVE").await
    }

    // The variable is read when the receiving thread starts, and only then: switched off alone, acknowledgements went on.
    // The thread that applies must run meanwhile, or the start throws away what was received and not applied.
    async fn acknowledge(&mut self, on: bool) -> Result<(), Fault> {
        self.may_acknowledge(on).await?;
        let Some(replication) = self.replication().await? else { return Ok(()) };
        if replication.io == Thread::Stopped {
            return Ok(());
        }
        if replication.sql == Thread::Stopped {
            self.run("START SLAVE SQL_THREAD").await?;
        }
        self.run_within(STOP_IO, "STOP SLAVE IO_THREAD").await?;
        self.run("START SLAVE IO_THREAD").await
    }

    // First the thread that applies, then the end of the one that receives: the other way round, starting the former throws
    // away what was received. Of 30 acknowledged rows 30 were kept in this order and none in the other.
    async fn freeze(&mut self) -> Result<Position, Fault> {
        let Some(replication) = self.replication().await? else { return self.received().await };
        if replication.io != Thread::Stopped {
            if replication.sql == Thread::Stopped {
                self.run("START SLAVE SQL_THREAD").await?;
            }
            // Else the end would be announced to the source, and waits for a second if that has vanished.
            self.may_acknowledge(false).await?;
            self.run_within(STOP_IO, "STOP SLAVE IO_THREAD").await?;
        }
        self.received().await
    }

    async fn drain(&mut self, position: &Position, patience: Duration) -> Result<(), Fault> {
        let deadline = Instant::now() + patience;
        let wait = format!("DO MASTER_GTID_WAIT('{position}', {DRAIN_LOOK_S})");
        loop {
            if self.variables().await?.position.covers(position) {
                return Ok(());
            }
            match self.replication().await? {
                Some(replication) if replication.sql != Thread::Stopped => {}
                Some(replication) => return Err(Fault::NotApplied(replication.sql_error)),
                None => return Err(Fault::NotApplied("it is no replica".into())),
            }
            if Instant::now() >= deadline {
                return Err(Fault::Silent { statement: format!("apply up to {position}"), patience });
            }
            self.run(&wait).await?;
        }
    }

    async fn leave_source(&mut self) -> Result<(), Fault> {
        if self.replication().await?.is_some() {
            self.run_within(STOP_IO * 2, "STOP SLAVE").await?;
            self.run("RESET SLAVE ALL").await?;
        }
        Ok(())
    }

    // The account is locked on this server alone, outside of the log: it is no fact about the data.
    async fn expel(&mut self, replica: &ServerName) -> Result<(), Fault> {
        self.lock_account(replica, "LOCK").await?;
        let account = replication_account(replica);
        let deadline = Instant::now() + CUT_OFF;
        loop {
            let seen = self.observe().await?;
            let connected: Vec<_> = seen.replicas.iter().filter(|it| it.account == account).collect();
            if connected.is_empty() {
                return Ok(());
            }
            for attached in connected {
                // Refused if it has gone by itself meanwhile.
                let _ = self.run(&format!("KILL HARD CONNECTION {}", attached.connection)).await;
            }
            if Instant::now() >= deadline {
                return Err(Fault::NotCutOff(replica.to_string()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn admit(&mut self, replica: &ServerName) -> Result<(), Fault> {
        self.lock_account(replica, "UNLOCK").await
    }

    async fn skip_to_applied(&mut self) -> Result<(), Fault> {
        let variables = self.variables().await?;
        if variables.position == variables.slave_position {
            return Ok(());
        }
        self.stand_at(&variables.position).await
    }

    async fn stand_at(&mut self, position: &Position) -> Result<(), Fault> {
        self.run(&format!("SET GLOBAL gtid_slave_pos = '{position}'")).await
    }

    async fn receive(&mut self, both: bool) -> Result<(), Fault> {
        self.run(if both { "START SLAVE" } else { "START SLAVE IO_THREAD" }).await
    }

    async fn apply(&mut self) -> Result<(), Fault> {
        self.run("START SLAVE SQL_THREAD").await
    }

    async fn end_others(&mut self) -> Result<(), Fault> {
        loop {
            let [own, rows] = self.sets([OWN, CONNECTIONS]).await?;
            let own = own.first().and_then(|row| text(row, 0));
            let ours = rows.iter().filter_map(Connection::read).filter(|it| it.user == ADMIN);
            let others: Vec<u64> = ours.map(|it| it.number).filter(|it| Some(it.to_string()) != own).collect();
            if others.is_empty() {
                return Ok(());
            }
            for connection in others {
                let _ = self.run(&format!("KILL HARD CONNECTION {connection}")).await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    // An acknowledgement covers all transactions before its own; a replica that connects again does not acknowledge what it
    // has already, so a commit that waited meanwhile would wait until the next one. It must be a transaction: MariaDB refuses to
    // cut the unacknowledged end off a log that has anything else in it (`FLUSH STATUS`, a `CREATE TABLE`).
    async fn nudge(&mut self) -> Result<(), Fault> {
        self.run(&format!("INSERT INTO {NUDGES} VALUES (1, 1) ON DUPLICATE KEY UPDATE times = times + 1")).await
    }
}

impl Admin {
    /// Sessions keep the identity that they began with.
    async fn bear(&mut self, server_id: u32) -> Result<(), Fault> {
        self.run(&format!("SET GLOBAL server_id = {server_id}")).await?;
        self.run(&format!("SET SESSION server_id = {server_id}")).await
    }

    async fn variables(&mut self) -> Result<Variables, Fault> {
        Ok(self.rows(VARIABLES).await?.first().map(Variables::read).unwrap_or_default())
    }

    /// What it has received, or applied if that is more.
    async fn received(&mut self) -> Result<Position, Fault> {
        let [variables, replication] = self.sets([VARIABLES, REPLICATION]).await?;
        let variables = variables.first().map(Variables::read).unwrap_or_default();
        let replication = replication.first().map(Replication::read);
        Ok(Seen { variables, replication, ..Seen::default() }.received())
    }

    async fn replication(&mut self) -> Result<Option<Replication>, Fault> {
        Ok(self.rows(REPLICATION).await?.first().map(Replication::read))
    }

    async fn may_acknowledge(&mut self, on: bool) -> Result<(), Fault> {
        self.run(&format!("SET GLOBAL rpl_semi_sync_slave_enabled = {}", u8::from(on))).await
    }

    async fn lock_account(&mut self, replica: &ServerName, how: &str) -> Result<(), Fault> {
        let account = replication_account(replica);
        self.run("SET SESSION sql_log_bin = 0").await?;
        let locked = self.run(&format!("ALTER USER IF EXISTS `{account}`@`%` ACCOUNT {how}")).await;
        self.run("SET SESSION sql_log_bin = 1").await?;
        locked
    }
}

impl Variables {
    fn read(row: &Row) -> Variables {
        let is_on = |at| text(row, at).is_some_and(|value| value == "1" || value == "ON");
        let string = |at| text(row, at).unwrap_or_default();
        // `gtid_current_pos` leaves out what this server has of others and did not get as their replica: a rescued relay log.
        let slave_position = position(&string(5));
        let mut applied = position(&string(4));
        slave_position.iter().for_each(|gtid| applied.reach(*gtid));
        Variables {
            read_only: is_on(0),
            semi_sync: is_on(1),
            may_acknowledge: is_on(2),
            binlog_state: string(3),
            position: applied,
            slave_position,
            version: string(6),
            server_id: string(7).parse().unwrap_or(0),
        }
    }
}

impl Replication {
    fn read(row: &Row) -> Replication {
        let column = |name: &str| {
            row.columns_ref().iter().position(|column| column.name_str() == name).and_then(|at| text(row, at))
        };
        let string = |name: &str| column(name).unwrap_or_default();
        let place = |file: &str, offset: &str| (string(file), string(offset));
        Replication {
            source: address(&string("Master_Host"), &string("Master_Port")),
            account: string("Master_User"),
            io: thread(&string("Slave_IO_Running")),
            sql: thread(&string("Slave_SQL_Running")),
            lag_s: column("Seconds_Behind_Master").and_then(|seconds| seconds.parse().ok()),
            drained: place("Master_Log_File", "Read_Master_Log_Pos")
                == place("Relay_Master_Log_File", "Exec_Master_Log_Pos"),
            received: position(&string("Gtid_IO_Pos")),
            io_errno: string("Last_IO_Errno").parse().unwrap_or(0),
            io_error: string("Last_IO_Error"),
            sql_errno: string("Last_SQL_Errno").parse().unwrap_or(0),
            sql_error: string("Last_SQL_Error"),
        }
    }
}

/// A row of the list of connections.
struct Connection {
    number: u64,
    user: String,
    command: String,
    since_s: u64,
}

impl Connection {
    fn read(row: &Row) -> Option<Connection> {
        Some(Connection {
            number: text(row, 0)?.parse().ok()?,
            user: text(row, 1)?,
            command: text(row, 4)?,
            since_s: text(row, 5).and_then(|since| since.parse().ok()).unwrap_or(0),
        })
    }

    fn replica(self) -> Option<Attached> {
        let killed = self.command == "Killed" && self.user.starts_with("mainstay_replication");
        (killed || self.command == "Binlog Dump").then_some(Attached {
            account: self.user,
            connection: self.number,
            stuck: killed && self.since_s >= STUCK_S,
        })
    }

    fn is_client(&self) -> bool {
        !(self.user.starts_with("mainstay_") || ["system user", "event_scheduler"].contains(&self.user.as_str()))
    }

    /// All of an account at once, or one that has not said yet whose it is.
    fn whose(&self) -> String {
        match self.user.as_str() {
            "unauthenticated user" => format!("CONNECTION {}", self.number),
            account => format!("USER `{account}`"),
        }
    }
}

/// MariaDB's own text; what it would not write is as good as nothing.
fn position(text: &str) -> Position {
    Position::parse(text).unwrap_or_default()
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
