//! What is known of the database servers: who leads, and how each of them is.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_site::names::ServerName;
use mainstay_site::plan;
use mysql_async::{Opts, OptsBuilder};
use tokio::sync::{Notify, watch};

use super::choice::{Check, Leadership, Route, Source, View};
use super::fresh::Questions;

/// The account that the database role makes for this purpose; it may see how replication is, and no data.
const ACCOUNT: &str = "mainstay_check";

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
    /// The last check may be out of date.
    pub doubt: Notify,
    /// The next check cannot wait.
    pub urgent: Notify,
    /// How checks log in.
    pub login: Opts,
    /// Where it is asked how far it is.
    pub questions: Questions,
}

/// All servers.
pub struct Servers {
    servers: Vec<Server>,
    hosts: Vec<String>,
    max_lag: Duration,
    world: watch::Sender<World>,
}

/// What is known at one moment.
#[derive(Clone, Debug)]
pub struct World {
    /// Who leads.
    pub leadership: Leadership,
    /// Since when: Unix time in milliseconds.
    pub since_ms: u64,
    /// Of each server.
    pub known: Vec<Known>,
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
    /// The servers of a plan, the declared primary first.
    pub fn new(config: &plan::Sql, leadership: Leadership, password: &str) -> Servers {
        let server = |(name, address): &(ServerName, SocketAddr), login: Opts| Server {
            name: name.to_string(),
            address: *address,
            connections: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
            doubt: Notify::new(),
            urgent: Notify::new(),
            questions: Questions::new(&login),
            login,
        };
        let all = [&config.primary].into_iter().chain(&config.replicas);
        let servers: Vec<Server> = all.map(|it| server(it, login(it.1, password))).collect();
        let known = servers.iter().map(|_| Known { check: Check::Pending, since_ms: now_ms(), met: false }).collect();
        Servers {
            hosts: servers.iter().map(|server| server.address.ip().to_string()).collect(),
            servers,
            max_lag: Duration::from_millis(config.max_lag_ms),
            world: watch::Sender::new(World { leadership, since_ms: now_ms(), known }),
        }
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
    pub fn world(&self) -> World {
        self.world.borrow().clone()
    }

    /// Who leads now.
    pub fn leadership(&self) -> Leadership {
        self.world.borrow().leadership
    }

    /// Tells of changes.
    pub fn changes(&self) -> watch::Receiver<World> {
        self.world.subscribe()
    }

    /// Asks a question of what is known.
    pub fn view<T>(&self, world: &World, ask: impl FnOnce(&View<'_>) -> T) -> T {
        let checks: Vec<Check> = world.known.iter().map(|known| known.check.clone()).collect();
        ask(&View { leadership: world.leadership, checks: &checks, hosts: &self.hosts, max_lag: self.max_lag })
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

    /// Somebody leads, or nobody any more: every server is asked at once what that means to it.
    pub fn follow(&self, leadership: Leadership) {
        let changed = self.world.send_if_modified(|world| {
            let changed = world.leadership != leadership;
            if changed {
                (world.leadership, world.since_ms) = (leadership, now_ms());
            }
            changed
        });
        if changed {
            let leader = leadership.leader.map(|index| self.servers[index].name.as_str());
            tracing::info!(leader, epoch = leadership.epoch, source = ?leadership.source, "who leads");
            self.servers.iter().for_each(|server| server.urgent.notify_one());
        }
    }

    /// The place of the server called `name`.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.name == name)
    }

    /// Notes what a server said.
    pub fn note(&self, index: usize, check: Check) {
        if matches!(check, Check::Failed(_)) {
            self.servers[index].failures.fetch_add(1, Ordering::Relaxed);
        }
        self.world.send_if_modified(|world| {
            let known = &mut world.known[index];
            let changed = known.check != check;
            if changed {
                tracing::info!(server = self.servers[index].name, now = ?check, "database server");
                let met = known.met || matches!(check, Check::Well(_));
                *known = Known { check, since_ms: now_ms(), met };
            }
            changed
        });
    }

    /// Returns once a connection on this route must end.
    pub async fn stale(&self, mut route: Route) {
        let mut changes = self.changes();
        // The other side lives as long as we do.
        let _ = changes.wait_for(|world| route.is_stale(world.leadership)).await;
    }

    /// How urgently a server is asked.
    pub fn urgency(&self, index: usize) -> Urgency {
        let world = self.world.borrow();
        let leads = world.leadership.leader == Some(index);
        let fresh =
            world.leadership.source != Source::Plan && now_ms() - world.since_ms < AWAITED_FOR.as_millis() as u64;
        match &world.known[index].check {
            Check::Well(seen) if !(leads && seen.read_only) => Urgency::Well,
            _ if leads && fresh => Urgency::Awaited,
            _ => Urgency::Unwell,
        }
    }
}

/// A new leader opens within this or not soon.
const AWAITED_FOR: Duration = Duration::from_secs(10);

/// How urgently a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It does what it is for.
    Well,
    /// It does not.
    Unwell,
    /// It has just been made the leader, and connections wait until it is open.
    Awaited,
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

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
