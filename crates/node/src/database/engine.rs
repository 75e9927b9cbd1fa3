//! What the role asks of one database server, whatever its kind: the statements and variables of a kind are in one file of
//! its own ([`super::mariadb`]).
//!
//! Every operation has a deadline. After [`Fault::Silent`] nobody knows whether it was done: the connection is dropped, the
//! server is looked at again, and one that had to close and did not is killed.

use std::time::Duration;

use mainstay_machines::database::Thread;
use mainstay_machines::gtid::Position;
use mainstay_site::names::ServerName;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::admin::Fault;

/// How a server is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// What was written and not yet acknowledged is committed: right for the only one that can have acknowledged it.
    Plain,
    /// What was written and not yet acknowledged is cut off: right once another leads. The server may then only follow, as
    /// it may have cut off what others have; it would give the same numbers to other transactions.
    Truncated,
}

/// Whom a replica follows, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    /// Where the primary is asked for its log.
    pub source: SocketAddr,
    /// The account on the primary: each replica has its own, so that one can be kept out.
    pub account: String,
    /// Its identity while it follows.
    pub server_id: u32,
    /// Whether it may acknowledge: only a member of S.
    pub acknowledges: bool,
}

/// The operations on one server. All are safe to repeat.
pub trait Engine {
    /// What the server is.
    async fn observe(&mut self) -> Result<Seen, Fault>;
    /// Lets nobody write any more; fails while a commit waits for a replica.
    async fn close(&mut self) -> Result<(), Fault>;
    /// Ends the connections of everybody but replicas and Mainstay. Only of a closed server: a commit that waits for a replica
    /// would be done, and seen by others, if its connection were ended.
    async fn cut_clients(&mut self) -> Result<(), Fault>;
    /// Has what is written from now on bear `server_id`; only of a closed server. Clients' sessions that began under another
    /// one are ended.
    async fn write_as(&mut self, server_id: u32) -> Result<(), Fault>;
    /// Lets clients write.
    async fn open(&mut self) -> Result<(), Fault>;
    /// Whether commits wait for a replica, for ever. Switched off, those that wait are told that they are done: only after it
    /// is on record that nobody but this server has them.
    async fn commits_wait(&mut self, on: bool) -> Result<(), Fault>;
    /// Follows, from where the data end; a former primary too. What was received from elsewhere must be applied before.
    async fn follow(&mut self, following: &Following, password: &str) -> Result<(), Fault>;
    /// Gives or takes the power to acknowledge, without losing what was received and not applied.
    async fn acknowledge(&mut self, on: bool) -> Result<(), Fault>;
    /// Ends receiving, and with it the power to acknowledge; what was received goes on being applied. Returns up to where it
    /// was received.
    async fn freeze(&mut self) -> Result<Position, Fault>;
    /// Waits until everything up to `position` is applied.
    async fn drain(&mut self, position: &Position, patience: Duration) -> Result<(), Fault>;
    /// Ends being a replica, for good. Everything received must have been applied.
    async fn leave_source(&mut self) -> Result<(), Fault>;
    /// On a primary: cuts a replica off and keeps it from coming back, so that it can acknowledge no more.
    async fn expel(&mut self, replica: &ServerName) -> Result<(), Fault>;
    /// On a primary: lets a replica come (back).
    async fn admit(&mut self, replica: &ServerName) -> Result<(), Fault>;
    /// Has a server whose threads do not run go on, as a replica, behind all that it has.
    async fn skip_to_applied(&mut self) -> Result<(), Fault>;
    /// Tells a copy of another server where it stands.
    async fn stand_at(&mut self, position: &Position) -> Result<(), Fault>;
    /// Starts the thread that receives; both threads if the other stands still too.
    async fn receive(&mut self, both: bool) -> Result<(), Fault>;
    /// Starts the thread that applies.
    async fn apply(&mut self) -> Result<(), Fault>;
    /// Ends every other connection of Mainstay's own, with whatever it is at.
    async fn end_others(&mut self) -> Result<(), Fault>;
    /// Writes something without meaning, so that a replica that came back acknowledges what it had before it went.
    async fn nudge(&mut self) -> Result<(), Fault>;
}

/// The account by which `replica` asks for the log.
pub fn replication_account(replica: &ServerName) -> String {
    format!("{}_{replica}", super::REPLICATION)
}

/// Whose account that is.
pub fn replica_of(account: &str) -> Option<&str> {
    account.strip_prefix(super::REPLICATION)?.strip_prefix('_')
}

/// One look at the server.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its settings.
    pub variables: Variables,
    /// `SHOW SLAVE STATUS`.
    pub replication: Option<Replication>,
    /// Who asks for its log.
    pub replicas: Vec<Attached>,
    /// The accounts of replicas that may not come.
    pub blocked: Vec<String>,
    pub(super) status: BTreeMap<String, String>,
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

    /// Everything that it has: applied, or received and not yet applied.
    pub fn received(&self) -> Position {
        let mut position = self.variables.position.clone();
        let received = self.replication.iter().flat_map(|replication| replication.received.iter());
        received.for_each(|gtid| position.reach(*gtid));
        position
    }

    /// Whether every transaction that was received whole is applied. By their numbers: places in the logs stay apart for ever if the
    /// source died in the middle of a transaction, or the server was killed before it wrote them down. While the threads stand
    /// still it tells nothing: after a start the server does not know what its relay log holds.
    pub fn has_applied_all(&self) -> bool {
        self.replication.as_ref().is_some_and(|replication| self.variables.position.covers(&replication.received))
    }

    /// The accounts of the replicas that read its log.
    pub fn connected(&self) -> impl Iterator<Item = &str> {
        self.replicas.iter().filter(|replica| !replica.stuck).map(|replica| replica.account.as_str())
    }

    /// Whether it sends acknowledgements: it does so for as long as its receiving thread lives, whatever the variable says.
    pub fn acknowledges(&self) -> bool {
        let receives = self.replication.as_ref().is_some_and(|replication| replication.io != Thread::Stopped);
        receives && (self.is_on("Rpl_semi_sync_slave_status") || self.variables.may_acknowledge)
    }
}

/// A replica that is connected to a primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its account.
    pub account: String,
    /// The connection's number.
    pub connection: u64,
    /// It was ended and does not end. Seen with MariaDB 10.11.19 after a network that was cut for seconds: the thread waits
    /// for the one that takes acknowledgements, which waits for a replica, and the replica's next connection waits for it.
    pub stuck: bool,
}

/// Settings that tell what the server is.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// `@@read_only`.
    pub read_only: bool,
    /// `@@rpl_semi_sync_master_enabled`.
    pub semi_sync: bool,
    /// `@@rpl_semi_sync_slave_enabled`: holds for the next start of the receiving thread.
    pub may_acknowledge: bool,
    /// `@@gtid_binlog_state`: the last transaction of every server that it ever had; empty if nothing was ever written.
    pub binlog_state: String,
    /// What is applied, its own and others'.
    pub position: Position,
    /// `@@gtid_slave_pos`: what is applied of others.
    pub slave_position: Position,
    /// `10.11.19-MariaDB-…`.
    pub version: String,
    /// `@@server_id`.
    pub server_id: u32,
}

/// `SHOW SLAVE STATUS`.
#[derive(Clone, Debug)]
pub struct Replication {
    /// `10.80.0.11:3306`, an IPv6 address in brackets.
    pub source: String,
    /// The account there.
    pub account: String,
    /// The thread that receives.
    pub io: Thread,
    /// The thread that applies.
    pub sql: Thread,
    /// Seconds behind; `None` while it cannot know.
    pub lag_s: Option<u64>,
    /// Whether all that was received is applied.
    pub drained: bool,
    /// Up to where whole transactions were received.
    pub received: Position,
    /// MariaDB's number of the last error of the thread that receives.
    pub io_errno: u16,
    /// The last error of the thread that receives.
    pub io_error: String,
    /// MariaDB's number of the last error of the thread that applies.
    pub sql_errno: u16,
    /// The last error of the thread that applies.
    pub sql_error: String,
}

impl Replication {
    /// The source says that we have what it does not have, or that it no longer has what we need (ER_MASTER_FATAL_ERROR_READING_BINLOG).
    pub fn diverged(&self) -> bool {
        const FATAL_ERROR_READING_BINLOG: u16 = 1236;
        self.io_errno == FATAL_ERROR_READING_BINLOG
    }

    /// What was received does not fit to the data: a row that is there already (ER_DUP_ENTRY), one that is not
    /// (ER_KEY_NOT_FOUND), a number that was given to another transaction (ER_GTID_STRICT_OUT_OF_ORDER).
    pub fn contradicts(&self) -> bool {
        [1_062, 1_032, 1_950].contains(&self.sql_errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_applied_by_the_numbers_of_transactions() {
        let position = |text: &str| Position::parse(text).unwrap();
        let seen = |applied: &str, received: &str| Seen {
            variables: Variables { position: position(applied), ..Variables::default() },
            replication: Some(Replication {
                source: "10.80.0.11:3307".into(),
                account: String::new(),
                io: Thread::Stopped,
                sql: Thread::Running,
                lag_s: None,
                // The end of the source came in the middle of a transaction: there is more in the log than can be applied.
                drained: false,
                received: position(received),
                io_errno: 0,
                io_error: String::new(),
                sql_errno: 0,
                sql_error: String::new(),
            }),
            ..Seen::default()
        };
        assert!(seen("0-1-7", "0-1-7").has_applied_all());
        assert!(!seen("0-1-6", "0-1-7").has_applied_all());
        assert!(!Seen::default().has_applied_all(), "who replays nobody has nothing to apply");
    }
}
