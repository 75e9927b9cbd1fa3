//! Who of several balancers holds a floating address: VRRPv3 (RFC 9568), pure.
//!
//! One [`Vrrp`] runs on every balancer for each address (a *virtual router* of the standard, for IPv4 and IPv6 alike). It
//! follows § 6.4 and adds what operators of other implementations miss; where all balancers are ours ([`Settings::kin`]),
//! backups say too that they are there and how fit they are.
//!
//! - **A lease on the address.** A master holds the address for three intervals from before its last advert
//!   ([`Output::Hold`]): as long as a backup waits, at the least. Whoever carries that out takes the address away when it is
//!   over, whatever became of this machine: frozen, killed, or running late. So the address is on one server at a time
//!   wherever adverts arrive. The machine itself, called too late, gives it up before anything else; a backup that was stopped
//!   does not take for silence what it could not hear.
//! - **Nobody waits for nobody.** The skew of § 6.1 keeps several backups from taking over at once. Among kin a backup that hears
//!   no other one waits as the highest priority would: three intervals and a 256th.
//! - **Fault.** Who is not fit says farewell (priority 0) and leaves the address to whoever is fitter; a lower priority would
//!   not be enough, since a backup that does not preempt ignores it. If nobody is, it goes on: an answer of 503 is better
//!   than none. Among kin that is known beforehand. Others do not say; so it is tried once, and the address comes back if
//!   nobody took it.
//! - **Split brain is healed** by the one with less right to the address, as soon as it hears the other; the other one tells
//!   the wire again where the address is. If only one of two masters hears the other (a one-way partition), nothing that it says
//!   can make the other give way: among kin it gives way itself after [`PATIENCE`] intervals, if the other can serve as well.
//! - **Handing over** ([`Input::Yield`], and [`Fitness::Maintained`] while somebody fitter is there): the address is held until
//!   the next master is heard. Among kin nothing breaks: the new one sends on what belongs to connections of the one before
//!   ([`Output::Inherit`]), which answers it ([`Output::Release`] names who has the address now).
//! - **Accept_Mode** is on: the address is there to be answered at.
//!
//! # What is promised
//! Among machines that are able to hold it and that hear each other both ways, exactly one is master, at most
//! three intervals and a skew after the last change (with machines in fault one interval more). Nothing is promised where
//! only one direction works; what happens there is in the tests.

mod flaw;
mod heard;
mod io;
pub mod packet;
mod peers;
#[cfg(test)]
mod tests;
pub mod track;
mod turn;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

pub use io::{Fitness, Input, Output, Reason, Settings, State};

use self::flaw::Flaw;
use self::peers::Peers;
use crate::Time;

/// The priority of who owns the address.
pub const OWNER: u8 = 255;

/// The lowest priority that is no farewell.
const LEAST: u8 = 1;

/// After so many intervals a master gives way to one that does not hear it: long enough for a network that was just repaired
/// to carry packets both ways, seconds at most.
pub const PATIENCE: u32 = 8;

/// When the wire is told who has the address, after a take-over: switches and neighbours that missed the first one get
/// another soon, and those that were busy for longer one more.
const ANNOUNCEMENTS: [Duration; 3] = [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5)];
/// And from then on: what aged out or was overwritten by somebody else is mended within this time.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(30);

/// The machine.
#[derive(Clone, Debug)]
pub struct Vrrp {
    settings: Settings,
    state: State,
    fitness: Option<Fitness>,
    /// Of the master that was last heard (Active_Adver_Interval).
    master_interval: Duration,
    /// The master that was last heard, unless it left.
    master: Option<IpAddr>,
    /// It said that it leaves.
    left: bool,
    peers: Peers,
    /// Master: the next advert. Else, among kin: the next hello.
    speak_at: Time,
    /// Backup and fault: when the master counts as gone (Active_Down_Timer).
    down_at: Time,
    /// Master: the next announcement, and how many there were.
    announce_at: Time,
    announced: usize,
    /// Master: until when the address is held.
    held_until: Time,
    /// The master that was last heard to serve, and when: it may still be there when we take the address.
    before: Option<(IpAddr, Time)>,
    /// Handing over: until when somebody may take it.
    yielding: Option<Time>,
    /// An operator wants it out.
    away: bool,
    /// Unfit: whether others were given the chance.
    tried: bool,
    /// Nobody took what was to be handed over: when it may be tried again.
    again_at: Time,
    /// Since when, and when last, a lesser master was heard in spite of our adverts.
    defied: Option<(Time, Time)>,
    /// When it may be answered again.
    assert_at: Time,
    outputs: VecDeque<Output>,
    #[cfg(test)]
    flaw: Option<Flaw>,
}

impl Vrrp {
    /// A machine that begins. `held`: until when it held the address before a restart, if that is not over yet.
    pub fn new(settings: Settings, now: Time, held: Option<Time>) -> Vrrp {
        let mut vrrp = Vrrp {
            state: State::Initialize,
            fitness: None,
            master_interval: settings.interval,
            master: None,
            left: false,
            peers: Peers::default(),
            speak_at: Time::NEVER,
            down_at: Time::NEVER,
            announce_at: Time::NEVER,
            announced: 0,
            held_until: Time::ZERO,
            before: None,
            yielding: None,
            away: false,
            tried: false,
            again_at: Time::ZERO,
            defied: None,
            assert_at: Time::ZERO,
            outputs: VecDeque::new(),
            settings,
            #[cfg(test)]
            flaw: None,
        };
        if held.is_some_and(|until| now < until) {
            vrrp.become_master(now, Reason::Resumed);
        }
        vrrp
    }

    /// What it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Who holds the address, as far as is known.
    pub fn master(&self) -> Option<IpAddr> {
        if self.state == State::Master { Some(self.settings.address) } else { self.master }
    }

    /// Whether it is on its way out: asked to, and done once it is no longer master.
    pub fn is_away(&self) -> bool {
        self.away
    }

    /// What its adverts say: what was set, or next to nothing if it is not fit; different ones stay different.
    pub fn priority(&self) -> u8 {
        match self.fitness {
            Some(fitness) if fitness < Fitness::Fit => 1 + self.settings.priority / 32,
            _ => self.settings.priority,
        }
    }

    /// When it must be called again, at the latest.
    pub fn deadline(&self) -> Time {
        let own = match self.state {
            State::Initialize => Time::NEVER,
            State::Backup | State::Fault => self.down_at,
            State::Master => self.yielding.unwrap_or(self.announce_at),
        };
        own.min(self.speak_at)
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Tells it something.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.wake(now);
        match input {
            Input::Tick => {}
            Input::Advert { from, .. } | Input::Hello { from, .. } if from == self.settings.address => {}
            Input::Advert { from, priority: 0, fitness, .. } => self.farewell(now, from, fitness),
            Input::Advert { from, priority, interval, fitness } => {
                // Without signatures nobody says how fit he is: who advertises can serve.
                self.peers.heard(now, from, fitness.unwrap_or(Fitness::Fit));
                self.advert(now, from, priority, interval, fitness);
            }
            Input::Hello { from, fitness } => self.peers.heard(now, from, fitness),
            Input::Fitness(fitness) => self.assess(now, fitness),
            Input::Yield => self.leave(now),
            Input::Return => self.come_back(now),
        }
        self.turn(now);
    }

    /// What must be seen to before anything else, if the machine stood still.
    fn wake(&mut self, now: Time) {
        if self.state == State::Master && now >= self.held_until && !self.has(Flaw::KeepAfterStall) {
            // Whoever waited for three intervals may have it by now.
            return self.step_down(now, Reason::Stalled, None);
        }
        let late = now.since(self.deadline());
        let waits = matches!(self.state, State::Backup | State::Fault);
        if waits && late > self.settings.interval && !self.has(Flaw::TrustStall) {
            let listens = self.master_interval + self.skew(now);
            self.down_at = self.down_at.max(now + listens);
        }
    }

    fn assess(&mut self, now: Time, fitness: Fitness) {
        let before = self.fitness.replace(fitness);
        if before == Some(fitness) {
            return;
        }
        if fitness == Fitness::Fit {
            self.tried = false;
        }
        match self.state {
            _ if self.away => {}
            State::Initialize => self.begin(now),
            State::Backup | State::Fault => {
                let (state, because) = self.waiting();
                self.enter(state, because);
                // Whoever was off the wire has yet to listen. To the others a master's next advert gives their own skew.
                let listens = before == Some(Fitness::Unable) && !self.has(Flaw::UnableListensNot);
                let soonest = now + if listens { self.down_interval(now) } else { self.skew(now) };
                self.down_at = self.down_at.max(soonest);
                self.hello(now);
            }
            // If it was making room, it may have no reason to any more, or a better one.
            State::Master if self.has(Flaw::StillYields) => {}
            State::Master => (self.yielding, self.speak_at) = (None, now),
        }
    }

    /// What it is while it does not hold the address, and why.
    fn waiting(&self) -> (State, Reason) {
        match self.fitness {
            None => (State::Initialize, Reason::Begun),
            Some(Fitness::Fit) => (State::Backup, Reason::Listening),
            Some(fitness) => (State::Fault, Reason::Unfit { fitness }),
        }
    }

    /// ## Initialize => (Backup | Master | Fault) (§ 6.4.1)
    fn begin(&mut self, now: Time) {
        if self.settings.priority == OWNER && self.fitness == Some(Fitness::Fit) {
            return self.become_master(now, Reason::Owner);
        }
        let (state, because) = self.waiting();
        self.enter(state, because);
        self.down_at = now + self.down_interval(now);
        self.hello(now);
    }

    /// ## (Initialize | Backup | Fault) => Master
    fn become_master(&mut self, now: Time, because: Reason) {
        self.enter(State::Master, because);
        (self.master, self.left, self.defied) = (None, false, None);
        self.master_interval = self.settings.interval;
        self.down_at = Time::NEVER;
        let dead = self.has(Flaw::InheritsFromDead);
        if let Some((from, _)) = self.before.take().filter(|(_, at)| dead || now.since(*at) < self.settings.silence()) {
            self.outputs.push_back(Output::Inherit { from });
        }
        self.hold(now);
        self.outputs.push_back(Output::Announce);
        self.outputs.push_back(Output::Advertise { priority: self.priority() });
        self.speak_at = now + self.settings.interval;
        (self.announced, self.announce_at) = (0, now + ANNOUNCEMENTS[0]);
    }

    /// ## Master => (Backup | Fault | Initialize): without a word
    fn step_down(&mut self, now: Time, because: Reason, to: Option<IpAddr>) {
        self.outputs
            .push_back(Output::Release { to: to.filter(|_| self.settings.kin && !self.has(Flaw::ReleasesUntold)) });
        self.held_until = Time::ZERO;
        (self.yielding, self.defied, self.master) = (None, None, None);
        let (state, unfit) = if self.away { (State::Initialize, Reason::Yielded) } else { self.waiting() };
        self.enter(state, if state == State::Backup { because } else { unfit });
        self.down_at = if state == State::Initialize { Time::NEVER } else { now + self.down_interval(now) };
        self.hello(now);
    }

    /// ## Master => Initialize: somebody else has it, or nobody wants it
    fn depart(&mut self, now: Time) {
        let master = self.master;
        self.step_down(now, Reason::Yielded, master);
        self.master = master;
    }

    fn leave(&mut self, now: Time) {
        if self.away {
            return;
        }
        self.away = true;
        match self.state {
            State::Master => {
                self.yielding = Some(now + self.settings.interval * 4);
                self.speak_at = now;
            }
            _ => {
                self.enter(State::Initialize, Reason::Yielded);
                (self.down_at, self.speak_at) = (Time::NEVER, Time::NEVER);
            }
        }
    }

    fn come_back(&mut self, now: Time) {
        if !std::mem::take(&mut self.away) {
            return;
        }
        match self.state {
            State::Master if self.has(Flaw::ReturnsNot) => {}
            State::Master => (self.yielding, self.speak_at) = (None, now),
            _ if self.fitness.is_some() => self.begin(now),
            _ => {}
        }
    }

    fn hold(&mut self, now: Time) {
        self.held_until = now + self.settings.silence();
        self.outputs.push_back(Output::Hold { until: self.held_until });
    }

    fn hello(&mut self, now: Time) {
        self.speak_at = Time::NEVER;
        let waits = matches!(self.state, State::Backup | State::Fault);
        if let Some(fitness) = self.fitness.filter(|_| waits && self.settings.kin) {
            self.outputs.push_back(Output::Hello { fitness });
            self.speak_at = now + self.settings.interval;
        }
    }

    fn enter(&mut self, state: State, because: Reason) {
        self.state = state;
        self.outputs.push_back(Output::Enter { state, because });
    }

    /// Who is less fit to take over waits longer (Skew_Time); who is the only heir, as the fittest would.
    fn skew(&self, now: Time) -> Duration {
        let rank = if self.is_only_heir(now) { OWNER } else { self.priority() };
        self.master_interval * (256 - u32::from(rank)) / 256
    }

    /// Whether a master was heard, and lately nobody else. Without signatures, backups say nothing. Who has heard no master
    /// has hardly listened.
    fn is_only_heir(&self, now: Time) -> bool {
        let heard = self.master.filter(|_| self.settings.kin && !self.has(Flaw::AlwaysSkews));
        heard.is_some_and(|master| {
            self.has(Flaw::NeverSkews) || !self.peers.any_but(now, self.settings.silence(), master)
        })
    }

    /// Active_Down_Interval.
    fn down_interval(&self, now: Time) -> Duration {
        self.master_interval * 3 + self.skew(now)
    }
}
