//! Three servers, a store and clients in virtual time. Everything that a network or a machine may do to a message, a process
//! or a disk happens here; what must hold is checked at every acknowledgement.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::db::{Db, Txn, Up, name, number};
use super::store::Store;
use crate::Time;
use crate::election::flaw::Flaw;
use crate::election::{
    Change, Election, Input, Mode, Observed, Order, Output, Recovery, Settings, State, Step, StepId, Swap, Timing,
    Transaction, Trouble, Wish, Write,
};

pub const NODES: usize = 3;
const LEASE: Duration = Duration::from_millis(3_000);

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.roll() % most
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }
}

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
    Watch(usize, u64, u64, Change),
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

    // ---- what may befall them

    pub fn start_role(&mut self, id: usize) {
        let members =
            (0..NODES).map(|n| (name(n), std::net::SocketAddr::from(([10, 0, 0, n as u8 + 1], 3306)))).collect();
        let (automatic, mode) = self.settings;
        let settings = Settings { me: name(id), members, automatic, mode, timing: Timing::default() };
        let node = &mut self.nodes[id];
        if node.role.is_some() {
            return;
        }
        let mut role = Election::new(settings, self.now);
        role.flaw = self.flaw;
        (node.role, node.life, node.after, node.prepared) = (Some(role), node.life + 1, StepId(0), false);
        (node.busy, node.next, node.paused, node.tick_at) = (false, None, false, Time::NEVER);
        node.backlog.clear();
        node.watch += 1;
        let (life, watch) = (node.life, node.watch);
        self.at(1, Event::Look(id, life));
        self.at(2, Event::Relist(id, life, watch));
        self.at(500, Event::KeepAlive(id, life));
    }

    pub fn kill_role(&mut self, id: usize) {
        self.nodes[id].role = None;
        self.nodes[id].life += 1;
    }

    pub fn kill_db(&mut self, id: usize) {
        self.dbs[id].stop();
        self.cut_connections(id);
    }

    fn cut_connections(&mut self, id: usize) {
        for db in &mut self.dbs {
            db.dumps.remove(&id);
        }
    }

    pub fn power_off(&mut self, id: usize) {
        self.kill_role(id);
        self.kill_db(id);
    }

    pub fn wipe(&mut self, id: usize) {
        self.power_off(id);
        self.dbs[id] = Db::new(id);
    }

    /// Clients were served within the last second.
    pub fn check_served(&mut self) {
        if self.served_at + Duration::from_secs(1) < self.now {
            let since = self.served_at.as_nanos() / 1_000_000;
            self.fail(format!("nobody is served since {since} ms"));
        }
    }

    pub fn pause_role(&mut self, id: usize, paused: bool) {
        self.nodes[id].paused = paused;
        if !paused {
            for event in std::mem::take(&mut self.nodes[id].backlog) {
                self.at(0, event);
            }
        }
    }

    pub fn pause_db(&mut self, id: usize, paused: bool) {
        self.dbs[id].paused = paused && self.dbs[id].up == Up::Running;
    }

    pub fn reach_store(&mut self, id: usize, reaches: bool) {
        self.nodes[id].store = reaches;
        self.nodes[id].watch += 1;
        let (life, watch) = (self.nodes[id].life, self.nodes[id].watch);
        if reaches {
            self.at(3, Event::Relist(id, life, watch));
        } else {
            self.tell(id, Input::Connected(false));
        }
    }

    pub fn set_store(&mut self, up: bool) {
        self.store_up = up;
        // Whoever leads the store anew has leases begin anew.
        if let (true, Some((_, until))) = (up, &mut self.store.lease) {
            *until = self.now + LEASE;
            self.at(3_001, Event::LeaseEnd);
        }
        for id in (0..NODES).filter(|id| self.nodes[*id].store).collect::<Vec<_>>() {
            self.reach_store(id, up);
            self.nodes[id].store = true;
        }
    }

    pub fn order(&mut self, wish: Wish) {
        self.forced |= matches!(wish, Wish::Failover { force: true, .. });
        if let Some(change) = self.store.order(Order { wish, asked_ms: 0 }) {
            self.announce(vec![change]);
        }
    }

    pub fn break_sql(&mut self, id: usize, broken: bool) {
        self.dbs[id].sql_broken = broken;
    }

    /// Everything works again.
    pub fn mend(&mut self) {
        self.cut.clear();
        self.weather = Weather { lost: 0, latency_ms: 3, failing: 0 };
        if !self.store_up {
            self.set_store(true);
        }
        for id in 0..NODES {
            self.pause_role(id, false);
            self.pause_db(id, false);
            self.break_sql(id, false);
            if !self.nodes[id].store {
                self.reach_store(id, true);
            }
            self.start_role(id);
        }
    }

    // ---- time passes

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
            Event::Watch(id, _, watch, change) => {
                if self.nodes[id].watch == watch {
                    self.tell(id, Input::Changed(change));
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

    // ---- the driver

    fn tell(&mut self, id: usize, input: Input) {
        let (now, node) = (self.now, &mut self.nodes[id]);
        if node.paused {
            return;
        }
        let Some(role) = node.role.as_mut() else { return };
        role.handle(now, input);
        let mut outputs = Vec::new();
        while let Some(output) = role.poll() {
            outputs.push(output);
        }
        let (life, deadline) = (node.life, role.deadline());
        if deadline < node.tick_at {
            node.tick_at = deadline;
            self.at_time(deadline, Event::Tick(id, life));
        }
        for output in outputs {
            match output {
                Output::Act { id: step_id, step, .. } => {
                    self.nodes[id].next = Some((step_id, step));
                    self.resume(id, life);
                }
                Output::Transact { id: step_id, transaction, .. } => self.send(id, life, step_id, transaction),
                Output::Changed { .. } => {}
            }
        }
    }

    fn look(&mut self, id: usize, life: u64) {
        if let Some(pace) = self.nodes[id].role.as_ref().map(Election::pace) {
            self.at(pace.as_millis() as u64, Event::Look(id, life));
        }
        if !self.nodes[id].busy {
            self.look_now(id, life);
        }
    }

    fn look_now(&mut self, id: usize, life: u64) {
        self.nodes[id].busy = true;
        let seen = self.dbs[id].observed(self.nodes[id].after, self.nodes[id].prepared);
        let ms = 1 + self.dice.below(3);
        self.at(ms, Event::Looked(id, life, Box::new(seen)));
    }

    /// Begins the step that waits, if nothing else is under way.
    fn resume(&mut self, id: usize, life: u64) {
        if self.nodes[id].busy {
            return;
        }
        let Some((step_id, step)) = self.nodes[id].next.take() else { return };
        self.nodes[id].busy = true;
        let ms = match step {
            Step::Clone { .. } => 300,
            _ => 1 + self.dice.below(20),
        };
        let works = !self.dice.one_in(self.weather.failing);
        self.at(ms, Event::Acted(id, life, step_id, step, works));
    }

    fn acted(&mut self, id: usize, life: u64, step_id: StepId, step: Step, works: bool) {
        // One that is said to have failed may have had its effect.
        let effect = works || self.dice.one_in(2);
        let result = if effect { self.act(id, &step) } else { Err("did not work") };
        let result = if works { result } else { Err("no answer") };
        self.nodes[id].busy = false;
        self.nodes[id].after = step_id;
        self.tell(id, Input::Acted { id: step_id, result: result.map_err(str::to_owned) });
        self.resume(id, life);
        if !self.nodes[id].busy {
            self.look_now(id, life);
        }
    }

    fn act(&mut self, id: usize, step: &Step) -> Result<(), &'static str> {
        let answers = self.dbs[id].answers();
        match step {
            Step::Start(recovery) => {
                self.check_start(id, *recovery);
                self.dbs[id].start(*recovery);
                self.at(40, Event::Up(id));
                return Ok(());
            }
            Step::Kill => {
                self.kill_db(id);
                return Ok(());
            }
            Step::Clone { from } => return self.clone_from(id, number(from)),
            _ if !answers => return Err("MariaDB does not answer"),
            _ => {}
        }
        let (mut done, mut thrown_away) = (Vec::new(), 0);
        let db = &mut self.dbs[id];
        match step {
            Step::Close if !db.waiting.is_empty() => return Err("commits wait (1205)"),
            Step::Close => db.read_only = true,
            Step::Open => db.read_only = false,
            Step::SemiSync(on) => {
                db.semi_sync = *on;
                if !on {
                    done = db.acknowledge(usize::MAX);
                    db.committed = db.binlog.len();
                }
            }
            Step::Prepare => self.nodes[id].prepared = true,
            Step::Freeze | Step::Follow { .. } if db.stranded => thrown_away = db.relay.len(),
            Step::Freeze => db.freeze(),
            Step::Rescue => db.rescue(),
            Step::Promote if !db.relay.is_empty() => thrown_away = db.relay.len(),
            Step::Promote => db.promote(),
            Step::Follow { source, acknowledge } => db.follow(number(source), *acknowledge),
            Step::Block(server) => {
                db.blocked.insert(number(server));
                db.dumps.remove(&number(server));
            }
            Step::Unblock(server) => {
                db.blocked.remove(&number(server));
            }
            Step::Start(_) | Step::Kill | Step::Clone { .. } => {}
        }
        match step {
            Step::Freeze | Step::Promote | Step::Follow { .. } => self.cut_connections(id),
            Step::Open => self.open(id),
            _ => {}
        }
        if thrown_away > 0 {
            self.fail(format!("db{} throws {thrown_away} received transactions away ({step})", id + 1));
        }
        for write in done {
            self.done(id, write);
        }
        Ok(())
    }

    fn clone_from(&mut self, id: usize, from: usize) -> Result<(), &'static str> {
        if !self.dbs[from].answers() || self.apart(id, from) {
            return Err("the source does not answer");
        }
        self.clones += 1;
        let copy: Vec<Txn> = self.dbs[from].binlog[..self.dbs[from].committed].to_vec();
        self.dbs[id].copy_of(&copy);
        self.cut_connections(id);
        self.at(40, Event::Up(id));
        Ok(())
    }

    fn apart(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one, other)) || self.cut.contains(&(other, one))
    }

    // ---- the way to the store and back

    fn send(&mut self, id: usize, life: u64, step_id: StepId, transaction: Transaction) {
        let sent = self.now;
        let lost = !self.nodes[id].store || !self.store_up || self.dice.one_in(self.weather.lost);
        // What is lost for the sender may still arrive, much later.
        let ms = if !lost {
            self.latency()
        } else if self.dice.one_in(2) {
            200 + self.dice.below(4_000)
        } else {
            0
        };
        if ms > 0 {
            self.at(ms, Event::Request(id, life, step_id, transaction, sent));
        }
        if lost {
            self.at(1_000, Event::Response(id, life, step_id, Swap::Unknown, None));
        }
    }

    fn request(&mut self, id: usize, life: u64, step_id: StepId, transaction: Transaction, sent: Time) {
        if !self.store_up {
            return;
        }
        let leads = transaction.writes.iter().any(|write| matches!(write, Write::Leader(_)));
        let (swap, changes) = self.store.transact((id, life), self.now + LEASE, &transaction);
        if leads && swap != Swap::Conflict {
            self.at(3_001, Event::LeaseEnd);
        }
        self.announce(changes);
        if self.nodes[id].store && !self.dice.one_in(self.weather.lost) {
            let ms = self.latency();
            let lease = (leads && swap != Swap::Conflict).then(|| sent + LEASE);
            self.at(ms, Event::Response(id, life, step_id, swap, lease));
        } else {
            self.at(1_000, Event::Response(id, life, step_id, Swap::Unknown, None));
        }
    }

    fn announce(&mut self, changes: Vec<Change>) {
        for id in (0..NODES).filter(|id| self.nodes[*id].store && self.store_up).collect::<Vec<_>>() {
            let at = self.now + Duration::from_millis(self.latency());
            let node = &mut self.nodes[id];
            node.watched_at = node.watched_at.max(at);
            let (at, life, watch) = (node.watched_at, node.life, node.watch);
            for change in &changes {
                self.at_time(at, Event::Watch(id, life, watch, change.clone()));
            }
        }
    }

    fn keep_alive(&mut self, id: usize, life: u64) {
        self.at(1_000, Event::KeepAlive(id, life));
        let leads = self.nodes[id].role.as_ref().is_some_and(|role| role.leads().is_some());
        if !leads || !self.nodes[id].store || !self.store_up || self.dice.one_in(self.weather.lost) {
            return;
        }
        let sent = self.now;
        let ms = self.latency();
        let held = match &mut self.store.lease {
            Some((who, until)) if *who == (id, life) => {
                *until = self.now + LEASE;
                true
            }
            _ => false,
        };
        self.at(3_001, Event::LeaseEnd);
        self.at(ms, Event::KeptAlive(id, life, held.then(|| sent + LEASE)));
    }

    fn end_lease(&mut self) {
        if self.store_up && self.store.lease.is_some_and(|(_, until)| until <= self.now) {
            let change = self.store.expire();
            self.announce(vec![change]);
        }
    }

    // ---- replication and clients

    fn replicate(&mut self, id: usize) {
        let ms = 3 + self.dice.below(4);
        self.at(ms, Event::Replicate(id));
        let Some(replay) = self.dbs[id].replay.clone() else { return };
        if !self.dbs[id].answers() {
            return;
        }
        let source = replay.source;
        if replay.sql && !self.dbs[id].sql_broken {
            let most = self.dice.below(4) as usize;
            self.dbs[id].apply(most);
        }
        let open = replay.io && self.dbs[source].answers() && !self.cut.contains(&(source, id));
        if !open || self.dbs[source].blocked.contains(&id) {
            if !replay.io || self.dbs[source].up != Up::Running || self.dice.one_in(20) {
                self.dbs[source].dumps.remove(&id);
            }
            return;
        }
        self.fetch(id, source, replay.acknowledges);
    }

    fn fetch(&mut self, id: usize, source: usize, acknowledges: bool) {
        let place = match self.dbs[id].received() {
            None => 0,
            Some(last) => {
                let found = self.dbs[source]
                    .binlog
                    .iter()
                    .rposition(|txn| (txn.server, txn.sequence) == (last.server, last.sequence));
                let Some(found) = found else {
                    // 1236: the source does not have what this one has.
                    let replay = self.dbs[id].replay.as_mut().unwrap();
                    (replay.io, replay.error) = (false, Some(Trouble::Diverged("1236".into())));
                    self.dbs[source].dumps.remove(&id);
                    return;
                };
                found + 1
            }
        };
        let connection = match self.dbs[source].dumps.get(&id) {
            Some(connection) => *connection,
            None => {
                let connection = self.dice.roll();
                self.dbs[source].dumps.insert(id, connection);
                connection
            }
        };
        let most = 1 + self.dice.below(5) as usize;
        let new: Vec<Txn> = self.dbs[source].binlog[place..].iter().take(most).copied().collect();
        let reached = place + new.len();
        self.dbs[id].relay.extend(new);
        if acknowledges && !self.cut.contains(&(id, source)) {
            let ms = self.latency();
            self.at(ms, Event::Acknowledge { source, replica: id, connection, place: reached });
        }
    }

    fn acknowledge(&mut self, source: usize, replica: usize, connection: u64, place: usize) {
        let db = &mut self.dbs[source];
        if db.paused {
            // It waits in the socket.
            self.at(50, Event::Acknowledge { source, replica, connection, place });
            return;
        }
        if db.up != Up::Running || !db.semi_sync || db.dumps.get(&replica) != Some(&connection) {
            return;
        }
        for write in db.acknowledge(place) {
            self.done(source, write);
        }
    }

    /// A client writes wherever it is let in: there is no fence in this world.
    fn write(&mut self) {
        let ms = 4 + self.dice.below(8);
        self.at(ms, Event::Write);
        self.check_roles();
        if !self.writing {
            return;
        }
        for id in 0..NODES {
            self.writes += 1;
            match self.dbs[id].write(self.writes) {
                None => {}
                Some(done) => {
                    self.arrived.insert(self.writes, (id, self.now));
                    if done {
                        self.done(id, self.writes);
                    }
                }
            }
        }
    }

    // ---- what must hold

    /// A living role keeps to its times.
    fn check_roles(&mut self) {
        for id in 0..NODES {
            let (node, db) = (&self.nodes[id], &self.dbs[id]);
            let Some(role) = node.role.as_ref().filter(|_| !node.paused && db.answers()) else {
                self.unleased.remove(&id);
                continue;
            };
            let late = role.memory.handover.as_ref().map(|handover| handover.since + Duration::from_secs(6));
            let open = !db.read_only && db.waiting.is_empty() && role.listed;
            if open && role.lease.is_none_or(|until| until < self.now) {
                let since = *self.unleased.entry(id).or_insert(self.now);
                if since + Duration::from_secs(3) < self.now {
                    self.fail(format!("db{} is open without a lease", id + 1));
                }
            } else {
                self.unleased.remove(&id);
            }
            if late.is_some_and(|late| late < self.now) {
                self.fail(format!("db{} hands over and does not come to an end", id + 1));
            }
        }
    }

    fn fail(&mut self, what: String) {
        self.broken.get_or_insert(format!("{} ms: {what}", self.now.as_nanos() / 1_000_000));
    }

    /// A client is told that its write is done.
    fn done(&mut self, id: usize, write: u64) {
        let Some(&(_, arrived)) = self.arrived.get(&write) else { return };
        self.acknowledged.insert(write);
        self.served_at = self.now;
        let later =
            self.opened.iter().find(|(other, at)| **other != id && **at < arrived && self.opened.get(&id) < Some(at));
        if let Some((other, at)) = later
            && !self.forced
        {
            let (at, arrived) = (at.as_nanos() / 1_000_000, arrived.as_nanos() / 1_000_000);
            self.fail(format!(
                "db{} acknowledged a write of {arrived} ms, db{} is open since {at} ms",
                id + 1,
                other + 1
            ));
        }
    }

    fn open(&mut self, id: usize) {
        let cluster = self.store.mirror.cluster.as_ref().map(|entry| &entry.value);
        let recorded = cluster.is_some_and(|cluster| cluster.primary == name(id));
        if !self.opened.contains_key(&id)
            || self.opened.iter().any(|(other, at)| *other != id && Some(at) > self.opened.get(&id))
        {
            self.promotions += 1;
        }
        let promised = !self.forced && self.settings.1 != Mode::Async;
        if recorded && promised {
            let has: BTreeSet<u64> = self.dbs[id].binlog.iter().map(|txn| txn.write).collect();
            if let Some(lost) = self.acknowledged.difference(&has).next() {
                self.fail(format!("db{} opened without the acknowledged write {lost}", id + 1));
            }
        }
        self.opened.insert(id, self.now);
    }

    fn check_start(&mut self, id: usize, recovery: Recovery) {
        let leader = self.store.mirror.leader.as_ref().map(|entry| number(&entry.value.server));
        let primary = self.store.mirror.cluster.as_ref().map(|entry| number(&entry.value.primary));
        if recovery == Recovery::Truncated && primary == Some(id) && (leader.is_none() || leader == Some(id)) {
            self.fail(format!("db{} was truncated although nobody else has what it had", id + 1));
        }
    }

    /// What is not as it should be once everything has worked for a while.
    pub fn unsettled(&self) -> Option<String> {
        let Some(cluster) = self.store.mirror.cluster.as_ref().map(|entry| &entry.value) else {
            return Some("there is no record".into());
        };
        let primary = number(&cluster.primary);
        let open: Vec<usize> = (0..NODES).filter(|id| self.dbs[*id].answers() && !self.dbs[*id].read_only).collect();
        if open != [primary] {
            return Some(format!("open are {open:?}, the primary is {primary}"));
        }
        if self.settings.1 != Mode::Async && cluster.sync.len() != NODES - 1 {
            return Some(format!("S is {:?}", cluster.sync));
        }
        let states: Vec<State> = self.nodes.iter().filter_map(|node| node.role.as_ref().map(Election::state)).collect();
        let well = |id: usize| states[id] == if id == primary { State::Primary } else { State::Replica };
        if !(0..NODES).all(well) {
            return Some(format!("they are {states:?}"));
        }
        let logs: Vec<&Vec<Txn>> = self.dbs.iter().map(|db| &db.binlog).collect();
        (0..NODES).find(|id| logs[*id] != logs[primary]).map(|id| {
            format!("db{} ends at {:?}, db{} at {:?}", id + 1, logs[id].last(), primary + 1, logs[primary].last())
        })
    }

    /// What was acknowledged and is nowhere.
    pub fn lost(&self) -> Option<u64> {
        let primary = self.store.mirror.cluster.as_ref().map(|entry| number(&entry.value.primary))?;
        let has: BTreeSet<u64> = self.dbs[primary].binlog.iter().map(|txn| txn.write).collect();
        self.acknowledged.difference(&has).next().copied()
    }

    pub fn report(&self) -> String {
        let nodes = self.nodes.iter().zip(&self.dbs).map(|(node, db)| {
            let role = node.role.as_ref().map(|role| format!("{} ({})", role.state().as_str(), role.because()));
            format!("  db{}: {role:?} {:?} read_only {} semi_sync {} waiting {} at {:?} relay {} replays {:?} dumps {:?} blocked {:?}",
                db.id + 1, db.up, db.read_only, db.semi_sync, db.waiting.len(), db.binlog.last(), db.relay.len(), db.replay, db.dumps.keys(), db.blocked)
        });
        let cluster = self.store.mirror.cluster.as_ref().map(|entry| &entry.value);
        let record = cluster
            .map(|c| format!("epoch {} primary {} designated {} sync {:?}", c.epoch, c.primary, c.designated, c.sync));
        format!(
            "{}\n  record {record:?} leader {:?} order {:?}",
            nodes.collect::<Vec<_>>().join("\n"),
            self.store.mirror.leader,
            self.store.mirror.order
        )
    }
}
