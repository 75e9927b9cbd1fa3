//! Three servers, a store and clients in virtual time. Everything that a network or a machine may do to a message, a process
//! or a disk happens here; what must hold is checked at every acknowledgement.

mod coordination;
mod dice;
mod driver;
mod holds;
mod mishaps;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use self::dice::Dice;
use super::db::{Db, Up};
use super::store::Store;
use crate::Time;
use crate::election::flaw::Flaw;
use crate::election::{Change, Election, Input, Mode, Observed, Step, StepId, Swap, Transaction};

pub const NODES: usize = 3;
const LEASE: Duration = Duration::from_millis(3_000);

#[derive(Clone, Debug)]
enum Event {
    Look(usize, u64),
    Looked(usize, u64, Box<Observed>),
    Tick(usize, u64),
    Acted(usize, u64, StepId, Step, bool),
    /// At the store.
    Request(usize, u64, StepId, Transaction, Time),
    /// Back; `None` is for those that were lost.
    Response(usize, u64, StepId, Swap, Option<Time>),
    Watch(usize, u64, u64, Vec<Change>),
    Relist(usize, u64, u64),
    KeepAlive(usize, u64),
    KeptAlive(usize, u64, Option<Time>),
    LeaseEnd,
    Replicate(usize),
    Acknowledge {
        source: usize,
        replica: usize,
        connection: u64,
        place: usize,
    },
    Up(usize),
    Write,
}

/// A server: its role and its MariaDB.
#[derive(Clone, Debug)]
struct Node {
    role: Option<Election>,
    life: u64,
    paused: bool,
    backlog: Vec<Event>,
    /// A look or a step is under way; what waits for it.
    busy: bool,
    next: Option<(StepId, Step)>,
    after: StepId,
    prepared: bool,
    watch: u64,
    watched_at: Time,
    tick_at: Time,
    store: bool,
    /// Its changes of the record come late.
    late: bool,
}

/// How bad the network is: one message in so many is lost (0: none), and the most that one takes.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub lost: u64,
    pub latency_ms: u64,
    pub failing: u64,
}

#[derive(Clone, Debug)]
pub struct World {
    pub now: Time,
    pub dice: Dice,
    queue: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    pub store: Store,
    pub store_up: bool,
    nodes: Vec<Node>,
    pub dbs: Vec<Db>,
    /// `(from, to)` that do not reach each other.
    pub cut: BTreeSet<(usize, usize)>,
    pub weather: Weather,
    settings: (bool, Mode),
    flaw: Option<Flaw>,
    writes: u64,
    pub writing: bool,
    /// Where and when each write that waits or was done came in.
    arrived: BTreeMap<u64, (usize, Time)>,
    pub acknowledged: BTreeSet<u64>,
    /// When each server last began to take writes as a primary on record.
    opened: BTreeMap<usize, Time>,
    forced: bool,
    served_at: Time,
    /// Since when each server is open without a lease.
    unleased: BTreeMap<usize, Time>,
    pub broken: Option<String>,
    pub promotions: u64,
    pub clones: u64,
}

impl World {
    pub fn new(seed: u64, weather: Weather, automatic: bool, mode: Mode, flaw: Option<Flaw>) -> World {
        let node = Node {
            role: None,
            life: 0,
            paused: false,
            backlog: Vec::new(),
            busy: false,
            next: None,
            after: StepId(0),
            prepared: false,
            watch: 0,
            watched_at: Time::ZERO,
            tick_at: Time::NEVER,
            store: true,
            late: false,
        };
        let mut world = World {
            now: Time::from_millis(1),
            dice: Dice(seed),
            queue: BTreeMap::new(),
            sequence: 0,
            store: Store::default(),
            store_up: true,
            nodes: vec![node; NODES],
            dbs: (0..NODES).map(Db::new).collect(),
            cut: BTreeSet::new(),
            weather,
            settings: (automatic, mode),
            flaw,
            writes: 0,
            writing: true,
            arrived: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            opened: BTreeMap::new(),
            forced: false,
            served_at: Time::ZERO,
            unleased: BTreeMap::new(),
            broken: None,
            promotions: 0,
            clones: 0,
        };
        for id in 0..NODES {
            world.start_role(id);
            world.at(5, Event::Replicate(id));
        }
        world.at(3, Event::Write);
        world
    }

    fn at(&mut self, ms: u64, event: Event) {
        self.at_time(self.now + Duration::from_millis(ms), event);
    }

    fn at_time(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }

    fn latency(&mut self) -> u64 {
        1 + self.dice.below(self.weather.latency_ms)
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while self.broken.is_none() {
            let Some((&(at, sequence), _)) = self.queue.first_key_value().filter(|((at, _), _)| *at <= end) else {
                break;
            };
            let event = self.queue.remove(&(at, sequence)).unwrap();
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    /// Whose event it is, if it is one of a role.
    fn owner(event: &Event) -> Option<(usize, u64)> {
        match event {
            Event::Look(id, life)
            | Event::Looked(id, life, _)
            | Event::Tick(id, life)
            | Event::Acted(id, life, ..)
            | Event::Response(id, life, ..)
            | Event::Watch(id, life, ..)
            | Event::Relist(id, life, _)
            | Event::KeepAlive(id, life)
            | Event::KeptAlive(id, life, _) => Some((*id, *life)),
            _ => None,
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some((id, life)) = Self::owner(&event) {
            let node = &mut self.nodes[id];
            if node.life != life || node.role.is_none() {
                return;
            }
            if node.paused {
                node.backlog.push(event);
                return;
            }
        }
        match event {
            Event::Look(id, life) => self.look(id, life),
            Event::Looked(id, life, seen) => {
                self.nodes[id].busy = false;
                self.tell(id, Input::Observed(seen));
                self.resume(id, life);
            }
            Event::Tick(id, _) => {
                self.nodes[id].tick_at = Time::NEVER;
                self.tell(id, Input::Tick);
            }
            Event::Acted(id, life, step_id, step, works) => self.acted(id, life, step_id, step, works),
            Event::Request(id, life, step_id, transaction, sent) => self.request(id, life, step_id, transaction, sent),
            Event::Response(id, _, step_id, swap, lease) => {
                if let Some(until) = lease {
                    self.tell(id, Input::Lease { until });
                }
                self.tell(id, Input::Transacted { id: step_id, swap });
            }
            Event::Watch(id, _, watch, changes) => {
                if self.nodes[id].watch == watch {
                    self.tell(id, Input::Changed(changes));
                }
            }
            Event::Relist(id, _, watch) => {
                if self.nodes[id].watch == watch && self.nodes[id].store && self.store_up {
                    self.nodes[id].watched_at = self.now;
                    self.tell(id, Input::Listed(Box::new(self.store.mirror.clone())));
                }
            }
            Event::KeepAlive(id, life) => self.keep_alive(id, life),
            Event::KeptAlive(id, _, until) => {
                let input = until.map_or(Input::LeaseEnded, |until| Input::Lease { until });
                self.tell(id, input);
            }
            Event::LeaseEnd => self.end_lease(),
            Event::Replicate(id) => self.replicate(id),
            Event::Acknowledge { source, replica, connection, place } => {
                self.acknowledge(source, replica, connection, place);
            }
            Event::Up(id) => {
                if self.dbs[id].up == Up::Starting {
                    self.dbs[id].up = Up::Running;
                }
            }
            Event::Write => self.write(),
        }
    }
}
