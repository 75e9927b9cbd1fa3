//! The clients: they write all the time, through the endpoint as an application does, and note every answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::crew::{Crew, Desk};
use super::history::{Action, Answer, History, Op, Probe};
use crate::namespace;

/// An answer is waited for that long. A failover takes seconds: a client that gave up earlier would measure itself.
const ANSWER: Duration = Duration::from_secs(12);
/// Between two writes of one client, if the database is quick.
const PAUSE: Duration = Duration::from_millis(2);
/// Between two INSERTs at one server.
const PROBE: Duration = Duration::from_millis(10);
/// A probe is waited for that long; what a server without a replica says later is noted by the next one.
const PROBE_ANSWER: Duration = Duration::from_secs(1);
/// Between two reads, and what one may take.
const READ: Duration = Duration::from_millis(20);
const READ_ANSWER: Duration = Duration::from_millis(500);
/// Clients that insert: an INSERT waits for two disks and a network, so one client alone would have gaps of its own.
const INSERTERS: u64 = 4;
/// Clients that append to the one list.
const APPENDERS: u64 = 2;
/// Clients of the one register.
const REGISTRARS: u64 = 3;

/// Where the database is, for clients.
#[derive(Clone, Debug)]
pub struct Target {
    /// The network namespace that the clients are in.
    pub namespace: String,
    /// The endpoint that takes writes.
    pub writer: SocketAddr,
    /// The endpoint for reads.
    pub reader: SocketAddr,
    /// Every server's own port.
    pub servers: Vec<(String, SocketAddr)>,
    /// Account and schema.
    pub name: String,
    /// Its password.
    pub password: String,
}

impl Target {
    fn at(&self, address: SocketAddr) -> Opts {
        let builder = OptsBuilder::default().ip_or_hostname(address.ip().to_string()).tcp_port(address.port());
        // What an application server of MariaDB's own client would do: no socket of its own is looked for.
        let builder = builder.prefer_socket(false).user(Some(self.name.clone())).pass(Some(self.password.clone()));
        builder.db_name(Some(self.name.clone())).into()
    }
}

type Notes = Desk<History>;

/// Clients at work.
pub struct Workload(Crew<History>);

impl Workload {
    /// Makes the tables anew and lets the clients begin.
    ///
    /// # Errors
    /// If the tables cannot be made.
    pub fn start(target: Target) -> anyhow::Result<Workload> {
        within(&target.namespace, tables(&target))??;
        Ok(Workload(Crew::start(&target.namespace.clone(), |desk| clients(desk, Arc::new(target)))))
    }

    /// How many INSERTs were acknowledged until now.
    pub fn acknowledged(&self) -> u64 {
        self.0.desk.counted()
    }

    /// How long they have been at work.
    pub fn now(&self) -> Duration {
        self.0.desk.now()
    }

    /// When the first INSERT that was sent after `after` was acknowledged, if one was.
    pub fn acknowledged_after(&self, after: Duration) -> Option<Duration> {
        let history = self.0.desk.notes();
        history.ops.iter().filter(|op| is_done_insert(op) && op.sent >= after).map(|op| op.ended).min()
    }

    /// When the last INSERT was acknowledged.
    pub fn last_acknowledged(&self) -> Option<Duration> {
        self.0.desk.notes().ops.iter().filter(|op| is_done_insert(op)).map(|op| op.ended).max()
    }

    /// Ends the clients and returns what they did and were told.
    ///
    /// # Errors
    /// If their namespace was gone.
    pub fn end(self) -> anyhow::Result<History> {
        self.0.end()
    }
}

/// Runs `work` on a thread of its own inside the namespace.
fn within<T: Send>(namespace: &str, work: impl Future<Output = T> + Send) -> anyhow::Result<T> {
    namespace::within(namespace, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(work))
    })?
}

async fn tables(target: &Target) -> anyhow::Result<()> {
    let what = || format!("the tables of the scenario cannot be made through {}", target.writer);
    let made = async {
        let mut conn = Conn::new(target.at(target.writer)).await?;
        for statement in [
            "DROP TABLE IF EXISTS ms_row, ms_list, ms_register, ms_probe",
            "CREATE TABLE ms_row (id BIGINT UNSIGNED PRIMARY KEY)",
            "CREATE TABLE ms_list (id BIGINT UNSIGNED PRIMARY KEY, elements LONGTEXT NOT NULL)",
            "CREATE TABLE ms_register (id BIGINT UNSIGNED PRIMARY KEY, value BIGINT UNSIGNED NOT NULL)",
            "CREATE TABLE ms_probe (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, server VARCHAR(64) NOT NULL)",
            "INSERT INTO ms_list VALUES (1, '')",
            "INSERT INTO ms_register VALUES (1, 0)",
        ] {
            conn.query_drop(statement).await?;
        }
        conn.disconnect().await
    };
    timeout(ANSWER, made).await.with_context(what)?.with_context(what)
}

async fn clients(desk: Arc<Notes>, target: Arc<Target>) {
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..INSERTERS {
        all.spawn(client(Arc::clone(&desk), Arc::clone(&target), |desk, _| Action::Insert { id: desk.number() }));
    }
    for _ in 0..APPENDERS {
        all.spawn(client(Arc::clone(&desk), Arc::clone(&target), |desk, _| Action::Append {
            list: 1,
            value: desk.number(),
        }));
    }
    for _ in 0..REGISTRARS {
        all.spawn(client(Arc::clone(&desk), Arc::clone(&target), |desk, last| match last {
            Some(Op { action: Action::Read { register }, answer: Answer::Value(from), .. }) => {
                Action::CompareAndSet { register: *register, from: *from, to: desk.number() }
            }
            _ => Action::Read { register: 1 },
        }));
    }
    all.spawn(read(Arc::clone(&desk), Arc::clone(&target)));
    for (server, address) in target.servers.clone() {
        all.spawn(probe(Arc::clone(&desk), (server, target.at(address))));
    }
    while all.join_next().await.is_some() {}
}

fn is_done_insert(op: &Op) -> bool {
    matches!(op.action, Action::Insert { .. }) && op.answer == Answer::Done
}

/// Reads through the endpoint for readers.
async fn read(desk: Arc<Notes>, target: Arc<Target>) {
    let mut clock = interval(READ);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut conn = None;
    while !desk.ends() {
        clock.tick().await;
        if conn.is_none() {
            let opened = timeout(READ_ANSWER, Conn::new(target.at(target.reader))).await;
            conn = opened.ok().and_then(Result::ok);
        }
        let Some(mut open) = conn.take() else { continue };
        if let Ok(Ok(_)) = timeout(READ_ANSWER, open.query_first::<u64, _>("SELECT id FROM ms_row LIMIT 1")).await {
            let now = desk.now();
            desk.notes().reads.push(now);
            conn = Some(open);
        }
    }
}

/// One client: asks, notes, asks again.
async fn client(desk: Arc<Notes>, target: Arc<Target>, next: fn(&Notes, Option<&Op>) -> Action) {
    let mut clock = interval(PAUSE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut conn, mut last) = (None, None);
    while !desk.ends() {
        clock.tick().await;
        if conn.is_none() {
            conn = timeout(ANSWER, Conn::new(target.at(target.writer))).await.ok().and_then(Result::ok);
        }
        let Some(mut open) = conn.take() else { continue };
        let action = next(&desk, last.as_ref());
        let sent = desk.now();
        let answer = timeout(ANSWER, ask(&mut open, &action)).await.unwrap_or(Answer::Unknown);
        let op = Op { action, sent, ended: desk.now(), answer };
        // After a refusal too: the endpoint may know a better server by now.
        conn = matches!(answer, Answer::Done | Answer::Value(_) | Answer::Missed).then_some(open);
        if is_done_insert(&op) {
            desk.count();
        }
        desk.notes().ops.push(op.clone());
        last = Some(op);
    }
}

async fn ask(conn: &mut Conn, action: &Action) -> Answer {
    let (statement, reads) = match action {
        Action::Insert { id } => (format!("INSERT INTO ms_row VALUES ({id})"), false),
        Action::Append { list, value } => {
            (format!("UPDATE ms_list SET elements = CONCAT(elements, ',', {value}) WHERE id = {list}"), false)
        }
        // Not a snapshot: what is committed now, or waited for.
        Action::Read { register } => (format!("SELECT value FROM ms_register WHERE id = {register} FOR UPDATE"), true),
        Action::CompareAndSet { register, from, to } => {
            (format!("UPDATE ms_register SET value = {to} WHERE id = {register} AND value = {from}"), false)
        }
    };
    let answered = if reads {
        conn.query_first::<u64, _>(statement).await.map(|value| value.map_or(Answer::Unknown, Answer::Value))
    } else {
        conn.query_drop(statement).await.map(|()| if conn.affected_rows() == 1 { Answer::Done } else { Answer::Missed })
    };
    answered.unwrap_or_else(|error| match error {
        // The server says that it did not: `read_only` (1290), a lock that took too long (1205), a deadlock (1213).
        mysql_async::Error::Server(server) if [1290, 1205, 1213].contains(&server.code) => Answer::Refused,
        _ => Answer::Unknown,
    })
}

/// Asks one server directly whether it takes writes.
async fn probe(desk: Arc<Notes>, (server, at): (String, Opts)) {
    let mut clock = interval(PROBE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut conn, statement) = (None, format!("INSERT INTO ms_probe (server) VALUES ('{server}')"));
    while !desk.ends() {
        clock.tick().await;
        if conn.is_none() {
            let opened = timeout(PROBE_ANSWER, Conn::new(at.clone())).await;
            conn = opened.ok().and_then(Result::ok);
        }
        let Some(mut open) = conn.take() else { continue };
        let sent = desk.now();
        match timeout(PROBE_ANSWER, open.query_drop(&statement)).await {
            Ok(Ok(())) => {
                let probe = Probe { server: server.clone(), sent, ended: desk.now() };
                desk.notes().probes.push(probe);
                conn = Some(open);
            }
            // It refuses, and may be asked again on the same connection.
            Ok(Err(mysql_async::Error::Server(_))) => conn = Some(open),
            _ => {}
        }
    }
}
