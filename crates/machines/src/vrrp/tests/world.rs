//! Machines on a wire in virtual time.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::Time;
use crate::vrrp::flaw::Flaw;
use crate::vrrp::{Fitness, Input, Output, Settings, State, Vrrp};

/// Between two adverts.
pub(super) const INTERVAL: Duration = Duration::from_millis(250);
/// A packet takes at most so long.
pub(super) const DELAY: Duration = Duration::from_millis(3);

/// Numbers that look random: xorshift64*.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

/// How a machine stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The process is stopped: what arrives waits for it.
    Frozen,
    /// The whole machine is: what arrives is lost, and its kernel forgets no deadline.
    Suspended,
}

pub(super) struct Node {
    pub(super) vrrp: Vrrp,
    pub(super) on: bool,
    /// Of its proxy.
    pub(super) fitness: Fitness,
    pub(super) pause: Option<Pause>,
    /// Off the wire.
    pub(super) unplugged: bool,
    /// The address is here until then.
    pub(super) held: Option<Time>,
    waiting: Vec<Input>,
    /// Taken over so often.
    pub(super) takeovers: usize,
    pub(super) announced: Vec<Time>,
    /// From whom it took over while that one was still there, and to whom it last gave the address.
    pub(super) inherited: Vec<IpAddr>,
    pub(super) released_to: Option<IpAddr>,
    pub(super) advertised: usize,
    /// When it was last there to answer.
    pub(super) answered: Time,
}

impl Node {
    /// What its driver sees.
    fn seen(&self) -> Fitness {
        if self.unplugged { Fitness::Unable } else { self.fitness }
    }
}

pub(super) struct World {
    pub(super) now: Time,
    pub(super) nodes: Vec<Node>,
    /// From whom to whom nothing arrives.
    pub(super) lost: Vec<Vec<bool>>,
    /// Packets in a hundred that are lost.
    pub(super) loss: u64,
    dice: Dice,
    packets: Vec<(Time, usize, Input)>,
    /// How long two machines that hear each other had the address.
    pub(super) shared: Duration,
    /// How long nobody had it.
    pub(super) vacant: Duration,
    /// What must never be.
    pub(super) wrong: Option<String>,
}

pub(super) fn address(node: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, 1 + node as u8).into()
}

pub(super) fn settings(node: usize, kin: bool) -> Settings {
    Settings { address: address(node), priority: 254 - 50 * node as u8, interval: INTERVAL, preempt: false, kin }
}

impl World {
    /// `count` machines that are all fit.
    pub(super) fn new(count: usize, kin: bool, seed: u64, flaw: Option<Flaw>) -> World {
        World::of((0..count).map(|node| settings(node, kin)).collect(), seed, flaw)
    }

    pub(super) fn of(settings: Vec<Settings>, seed: u64, flaw: Option<Flaw>) -> World {
        let count = settings.len();
        let node = |settings| {
            let mut vrrp = Vrrp::new(settings, Time::ZERO, None);
            vrrp.flaw = flaw;
            Node {
                vrrp,
                on: true,
                fitness: Fitness::Fit,
                pause: None,
                unplugged: false,
                held: None,
                waiting: Vec::new(),
                takeovers: 0,
                announced: Vec::new(),
                inherited: Vec::new(),
                released_to: None,
                advertised: 0,
                answered: Time::ZERO,
            }
        };
        let mut world = World {
            now: Time::ZERO,
            nodes: settings.into_iter().map(node).collect(),
            lost: vec![vec![false; count]; count],
            loss: 0,
            dice: Dice(seed.wrapping_mul(2).wrapping_add(1)),
            packets: Vec::new(),
            shared: Duration::ZERO,
            vacant: Duration::ZERO,
            wrong: None,
        };
        (0..count).for_each(|node| world.tell(node, Input::Fitness(Fitness::Fit)));
        world
    }

    pub(super) fn masters(&self) -> Vec<usize> {
        let is_master = |node: &Node| node.on && node.vrrp.state() == State::Master;
        (0..self.nodes.len()).filter(|node| is_master(&self.nodes[*node])).collect()
    }

    pub(super) fn holders(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].held.is_some()).collect()
    }

    /// Whether each hears the other.
    pub(super) fn connected(&self, one: usize, other: usize) -> bool {
        let plugged = !self.nodes[one].unplugged && !self.nodes[other].unplugged;
        plugged && !self.lost[one][other] && !self.lost[other][one]
    }

    pub(super) fn tell(&mut self, node: usize, input: Input) {
        if !self.nodes[node].on || self.nodes[node].pause == Some(Pause::Suspended) {
            return;
        }
        if self.nodes[node].pause.is_some() {
            return self.nodes[node].waiting.push(input);
        }
        self.nodes[node].vrrp.handle(self.now, input);
        self.carry_out(node);
    }

    fn carry_out(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].vrrp.poll() {
            let fitness = self.nodes[node].seen();
            match output {
                Output::Hold { until } => self.nodes[node].held = Some(until),
                Output::Release { to } => {
                    self.nodes[node].held = None;
                    self.nodes[node].released_to = to;
                }
                Output::Inherit { from } => self.inherit(node, from),
                Output::Announce => {
                    let now = self.now;
                    self.nodes[node].announced.push(now);
                }
                Output::Advertise { priority } => {
                    self.nodes[node].advertised += 1;
                    let kin = self.nodes[node].vrrp.settings.kin;
                    let from = address(node);
                    let fitness = kin.then_some(fitness);
                    self.send(node, &Input::Advert { from, priority, interval: INTERVAL, fitness });
                }
                Output::Hello { fitness } => self.send(node, &Input::Hello { from: address(node), fitness }),
                Output::Enter { state, .. } => self.nodes[node].takeovers += usize::from(state == State::Master),
            }
        }
    }

    /// Whoever has connections sent on to another one has heard him lately.
    fn inherit(&mut self, node: usize, from: IpAddr) {
        let before = (0..self.nodes.len()).find(|other| address(*other) == from);
        let silent = before.map(|before| self.now.since(self.nodes[before].answered));
        if silent.is_none_or(|silent| silent > INTERVAL * 3 + DELAY) {
            self.wrong = Some(format!("{node} sends on to {from}, which has been silent for {silent:?}"));
        }
        self.nodes[node].inherited.push(from);
    }

    fn send(&mut self, from: usize, packet: &Input) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let delay = Duration::from_micros(100 + self.dice.below(DELAY.as_micros() as u64 - 100));
            let is_lost = self.lost[from][to] || self.nodes[from].unplugged || self.nodes[to].unplugged;
            if !is_lost && self.dice.below(100) >= self.loss {
                self.packets.push((self.now + delay, to, packet.clone()));
            }
        }
    }

    pub(super) fn assess(&mut self, node: usize, fitness: Fitness) {
        self.nodes[node].fitness = fitness;
        self.tell(node, Input::Fitness(self.nodes[node].seen()));
    }

    /// The cable is pulled; the machine is told, as its kernel is.
    pub(super) fn unplug(&mut self, node: usize) {
        self.nodes[node].unplugged = true;
        self.tell(node, Input::Fitness(Fitness::Unable));
    }

    pub(super) fn plug(&mut self, node: usize) {
        self.nodes[node].unplugged = false;
        self.tell(node, Input::Fitness(self.nodes[node].seen()));
    }

    pub(super) fn power_off(&mut self, node: usize) {
        (self.nodes[node].on, self.nodes[node].held) = (false, None);
        (self.nodes[node].pause, self.nodes[node].waiting) = (None, Vec::new());
    }

    pub(super) fn power_on(&mut self, node: usize) {
        if self.nodes[node].on {
            return;
        }
        let known = &self.nodes[node].vrrp;
        let (settings, flaw) = (known.settings.clone(), known.flaw);
        self.nodes[node].vrrp = Vrrp::new(settings, self.now, None);
        self.nodes[node].vrrp.flaw = flaw;
        self.nodes[node].on = true;
        let fitness = self.nodes[node].seen();
        self.tell(node, Input::Fitness(fitness));
    }

    pub(super) fn pause(&mut self, node: usize, pause: Pause) {
        if self.nodes[node].on && self.nodes[node].pause.is_none() {
            self.nodes[node].pause = Some(pause);
        }
    }

    pub(super) fn go_on(&mut self, node: usize) {
        if self.nodes[node].pause.take().is_some() {
            let fitness = self.nodes[node].seen();
            let waiting = std::mem::take(&mut self.nodes[node].waiting);
            waiting.into_iter().for_each(|input| self.tell(node, input));
            self.tell(node, Input::Fitness(fitness));
        }
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.lost[from][to] = true;
    }

    pub(super) fn heal(&mut self) {
        self.lost.iter_mut().for_each(|row| row.fill(false));
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.next().min(end);
            self.pass(next);
            if next >= end {
                return;
            }
            self.step();
        }
    }

    fn next(&self) -> Time {
        let awake = |node: &&Node| node.on && node.pause.is_none();
        let deadlines = self.nodes.iter().filter(awake).map(|node| node.vrrp.deadline());
        let ends = self.nodes.iter().filter_map(|node| node.held);
        let arrivals = self.packets.iter().map(|(at, ..)| *at);
        deadlines.chain(ends).chain(arrivals).min().unwrap_or(Time::NEVER)
    }

    /// Time passes; who has the address meanwhile is noted.
    fn pass(&mut self, until: Time) {
        let holders = self.holders();
        let took = until.since(self.now);
        let shared = holders.iter().any(|one| holders.iter().any(|other| one != other && self.connected(*one, *other)));
        self.shared += if shared { took } else { Duration::ZERO };
        self.vacant += if holders.is_empty() { took } else { Duration::ZERO };
        self.now = self.now.max(until);
        let now = self.now;
        let answers = |node: &&mut Node| node.on && node.pause.is_none() && !node.unplugged;
        self.nodes.iter_mut().filter(answers).for_each(|node| node.answered = now);
    }

    fn step(&mut self) {
        let now = self.now;
        for node in &mut self.nodes {
            node.held = node.held.filter(|until| now < *until);
        }
        if let Some(place) = self.packets.iter().position(|(at, ..)| *at <= now) {
            let (_, to, input) = self.packets.swap_remove(place);
            return self.tell(to, input);
        }
        let due = |node: &Node| node.on && node.pause.is_none() && node.vrrp.deadline() <= now;
        if let Some(node) = self.nodes.iter().position(due) {
            self.tell(node, Input::Tick);
        }
    }
}
