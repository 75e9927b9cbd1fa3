//! The loop: what is heard and seen goes into the machines, what they ask for is done.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::vrrp::packet::{Advert, GROUP_V4, GROUP_V6};
use mainstay_machines::vrrp::{Fitness, Input, Output, Reason, Settings, State, Vrrp};
use mainstay_site::plan::{Vip, VirtualRouter};
use mainstay_site::wire::vip::{self, View, Wish};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::report::{Counters, report};
use super::seal::Seal;
use super::track::track;
use super::{Error, announce, ear};
use crate::clock::{boot_time, unix_ms};
use crate::floating::{Addresses, Answer, OUTLIVES};
use crate::platform::link::{Interface, Links};
use crate::platform::raw;
use crate::service::{Context, Launch};

/// Between two reports, and two looks at what must survive.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// After the kernel or the supervisor did not give an address, the server counts as unable for so long, and is then tried anew.
const UNABLE_FOR: Duration = Duration::from_secs(1);
/// Packets that are read before anything else is looked at: a storm must not keep our own adverts from going out.
const HEARD_AT_ONCE: usize = 256;
/// Of a packet: every address of a virtual router is in it, and there are 255 at most.
const PACKET_BYTES: usize = 8192;
/// To hand everything over at the end: four intervals, or what a service may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(8);

/// One floating address.
struct Router {
    plan: VirtualRouter,
    vrrp: Vrrp,
    because: Reason,
    since_ms: u64,
    /// Until when the supervisor holds the address, as far as it said so.
    held_until: Time,
}

/// The wire, once the supervisor has given it.
struct Wire {
    index: u32,
    hardware: Vec<u8>,
    heard: AsyncFd<OwnedFd>,
    speaks: OwnedFd,
    announces: OwnedFd,
    links: AsyncFd<Links>,
    is_running: bool,
}

/// The service.
pub(super) struct Role {
    plan: Vip,
    addresses: Addresses,
    routers: Vec<Router>,
    seal: Option<Seal>,
    /// What the proxy is like.
    tracked: Option<Fitness>,
    /// Until when nothing can be held, and why.
    broken: Option<(Time, String)>,
    away: bool,
    counters: Counters,
}

impl Role {
    pub(super) fn new(launch: &Launch, plan: &Vip) -> Result<Role, Error> {
        let key = launch.secrets.vip.as_bytes();
        if plan.signed && key.is_empty() {
            return Err(Error::NoKey);
        }
        let noted = launch.state.join("data/vip/heard.json");
        Ok(Role {
            plan: plan.clone(),
            addresses: Addresses::new(&launch.run_folder()),
            routers: Vec::new(),
            seal: plan.signed.then(|| Seal::new(key, plan.address, Some(noted))),
            tracked: None,
            broken: None,
            away: false,
            counters: Counters::default(),
        })
    }

    pub(super) async fn work(mut self, mut context: Context) -> Result<(), Error> {
        let (tell, mut tracked) = watch::channel(None);
        tokio::spawn(track(self.plan.door, self.plan.maintained, tell));
        let mut wishes = context.yields.follow();
        let mut reported = Time::ZERO;
        let Some(mut wire) = self.open(&mut context).await else { return Ok(()) };
        let mut leaves: Option<Time> = None;
        loop {
            self.hear(&wire);
            self.sense(&wire, &tracked);
            let now = boot_time();
            self.routers.iter_mut().for_each(|router| router.vrrp.handle(now, Input::Tick));
            let news = self.carry_out(&wire);
            if news || now.since(reported) >= REPORT_EVERY {
                reported = now;
                self.tell(&context);
            }
            if leaves.is_some_and(|until| now >= until || !self.holds_any()) {
                if let Some(seal) = self.seal.take() {
                    seal.end();
                }
                return Ok(());
            }
            let deadline = self.deadline().min(reported + REPORT_EVERY);
            tokio::select! {
                biased;
                readable = wire.heard.readable() => {
                    // Everything is read at the loop's beginning; what comes meanwhile wakes us again.
                    readable?.clear_ready();
                }
                changed = wire.links.readable_mut() => {
                    let mut changed = changed?;
                    let own = match changed.get_inner_mut().changes() {
                        Ok(changes) => changes.into_iter().rfind(|link| link.index == wire.index),
                        // More changed than the kernel keeps for us.
                        Err(_) => self.look(),
                    };
                    changed.clear_ready();
                    wire.is_running = own.map_or(wire.is_running, |link| link.is_running);
                }
                () = context.shutdown.requested(), if leaves.is_none() => {
                    leaves = Some(now + LEAVE_WITHIN);
                    self.wish(Wish::Yield);
                }
                Some((wish, answer)) = wishes.recv() => {
                    self.wish(wish);
                    self.carry_out(&wire);
                    // Who asked may be gone.
                    let _ = answer.send(self.view());
                }
                _ = tracked.changed() => {}
                () = sleep(deadline.since(now)) => {}
            }
        }
    }

    /// Asks the supervisor for the wire until it is given; `None`: the service is to end.
    async fn open(&mut self, context: &mut Context) -> Option<Wire> {
        loop {
            match self.try_open() {
                Ok(wire) => {
                    self.broken = None;
                    return Some(wire);
                }
                Err(because) => {
                    let known = self.broken.as_ref().is_some_and(|(_, known)| *known == because);
                    if !known {
                        tracing::error!("no floating address can be held here: {because}");
                    }
                    self.broken = Some((boot_time() + UNABLE_FOR, because));
                }
            }
            self.tell(context);
            if timeout(UNABLE_FOR, context.shutdown.requested()).await.is_ok() {
                return None;
            }
        }
    }

    fn try_open(&mut self) -> Result<Wire, String> {
        let (answer, fds) =
            self.addresses.open().map_err(|error| format!("the supervisor does not answer: {error}"))?;
        let (index, hardware, is_running, held) = match answer {
            Answer::Opened { index, hardware, is_running, held, .. } => (index, hardware, is_running, held),
            Answer::Impossible { because } => return Err(because),
            odd => return Err(format!("the supervisor answers {odd:?}")),
        };
        let [heard, speaks, announces] =
            <[OwnedFd; 3]>::try_from(fds).map_err(|_| "the supervisor gave too few sockets".to_owned())?;
        let failed = |error: std::io::Error| format!("the wire cannot be watched: {error}");
        let heard = watched(heard).map_err(failed)?;
        let links = Links::watch().and_then(watched);
        self.begin(&held.into_iter().collect());
        Ok(Wire { index, hardware, heard, speaks, announces, links: links.map_err(failed)?, is_running })
    }

    /// The interface as it is now.
    fn look(&self) -> Option<Interface> {
        Links::open().and_then(|mut links| links.with_address(self.plan.address)).ok().flatten()
    }

    fn begin(&mut self, held: &BTreeMap<IpAddr, u64>) {
        let now = boot_time();
        let router = |plan: &VirtualRouter| {
            let settings = Settings {
                address: self.plan.address,
                priority: plan.priority,
                interval: self.plan.interval(),
                preempt: self.plan.preempt,
                kin: self.plan.signed,
            };
            let held = held.get(&plan.address).map(|until| Time::from_nanos(*until));
            let vrrp = Vrrp::new(settings, now, held);
            let held_until = held.unwrap_or(Time::ZERO);
            Router { plan: plan.clone(), vrrp, because: Reason::Begun, since_ms: unix_ms(), held_until }
        };
        self.routers = self.plan.routers.iter().map(router).collect();
    }

    /// Everything that has arrived.
    fn hear(&mut self, wire: &Wire) {
        let mut buffer = [0; PACKET_BYTES];
        for _ in 0..HEARD_AT_ONCE {
            let Ok(Some((length, from))) = raw::receive(wire.heard.get_ref(), &mut buffer) else { return };
            let datagram = &buffer[..length.min(PACKET_BYTES)];
            match ear::hear(&self.plan, self.seal.as_mut(), datagram, from) {
                Ok((number, input)) => {
                    self.counters.count("adverts_heard_total");
                    let mut routers = self.routers.iter_mut();
                    if let Some(router) = routers.find(|router| router.plan.number == number) {
                        router.vrrp.handle(boot_time(), input);
                    }
                }
                Err(why) => self.counters.refused(why),
            }
        }
    }

    /// How fit this server is now.
    fn sense(&mut self, wire: &Wire, tracked: &watch::Receiver<Option<Fitness>>) {
        let now = boot_time();
        self.broken = self.broken.take().filter(|(until, _)| now < *until);
        self.tracked =
            if self.broken.is_some() || !wire.is_running { Some(Fitness::Unable) } else { *tracked.borrow() };
        if let Some(fitness) = self.tracked {
            self.routers.iter_mut().for_each(|router| router.vrrp.handle(now, Input::Fitness(fitness)));
        }
    }

    /// Does what the machines ask for; whether anything is worth a report.
    fn carry_out(&mut self, wire: &Wire) -> bool {
        let mut news = false;
        for place in 0..self.routers.len() {
            while let Some(output) = self.routers[place].vrrp.poll() {
                news |= matches!(output, Output::Enter { .. });
                self.perform(wire, place, output);
            }
        }
        news
    }

    fn perform(&mut self, wire: &Wire, place: usize, output: Output) {
        let router = &mut self.routers[place];
        let (number, address) = (router.plan.number, router.plan.address);
        match output {
            Output::Hold { until } => self.hold(place, address, until),
            Output::Inherit { from } => self.inherit(address, from),
            Output::Release { to } => {
                router.held_until = Time::ZERO;
                let released = self.addresses.release(address, to.is_some());
                self.must(address, released);
            }
            Output::Announce => {
                self.counters.count("announcements_total");
                if let Err(error) = announce::announce(&wire.announces, wire.index, &wire.hardware, address) {
                    tracing::warn!("nobody is told that {address} is here: {error}");
                }
            }
            Output::Advertise { priority } => {
                let (interval, addresses) = (self.plan.interval(), vec![address]);
                let advert = Advert { router: number, priority, interval, addresses };
                let from = self.plan.address;
                self.send(wire, |to| advert.encode(from, to));
            }
            Output::Hello { .. } => self.send(wire, |_| ear::hello(number)),
            Output::Enter { state, because } => {
                (router.because, router.since_ms) = (because, unix_ms());
                if state == State::Master {
                    self.counters.count("takeovers_total");
                }
                tracing::info!(state = state.as_str(), "{address}: {}, since {because}", state.as_str());
            }
        }
    }

    /// A supervisor that is being replaced does not answer. What it was told before goes on meanwhile, by the kernel, and the next advert
    /// tells the next one; only when that would be over the address is lost.
    fn hold(&mut self, place: usize, address: IpAddr, until: Time) {
        let answer = self.addresses.hold(address, until);
        let router = &mut self.routers[place];
        match answer {
            Ok(Answer::Done) => router.held_until = until,
            Err(error) if boot_time() < router.held_until + OUTLIVES => {
                tracing::warn!("{address} is not asked for anew: the supervisor does not answer: {error}");
            }
            answer => self.must(address, answer),
        }
    }

    /// Without it connections of the one before break, and the address is held all the same.
    fn inherit(&mut self, address: IpAddr, from: IpAddr) {
        let because = match self.addresses.inherit(address, from) {
            Ok(Answer::Done) => return self.counters.count("inherited_total"),
            Ok(Answer::Impossible { because }) => because,
            Ok(odd) => format!("the supervisor answers {odd:?}"),
            Err(error) => format!("the supervisor does not answer: {error}"),
        };
        self.counters.count("not_inherited_total");
        tracing::warn!("connections of {address} that {from} has will break: {because}");
    }

    /// What the supervisor does not do makes this server unfit.
    fn must(&mut self, address: IpAddr, answer: std::io::Result<Answer>) {
        let because = match answer {
            Ok(Answer::Done) => return,
            Ok(Answer::Impossible { because }) => because,
            Ok(odd) => format!("the supervisor answers {odd:?}"),
            Err(error) => format!("the supervisor does not answer: {error}"),
        };
        tracing::error!("{address} cannot be held or given up: {because}");
        self.broken = Some((boot_time() + UNABLE_FOR, because));
    }

    fn send(&mut self, wire: &Wire, packet: impl Fn(IpAddr) -> Vec<u8>) {
        let group = if self.plan.address.is_ipv4() { GROUP_V4.into() } else { GROUP_V6.into() };
        let peers = self.plan.peers.iter().map(|(_, peer)| *peer);
        let to: Vec<IpAddr> = if self.plan.multicast { vec![group] } else { peers.collect() };
        for to in to {
            let mut packet = packet(to);
            if let Some(seal) = &mut self.seal {
                seal.put(&mut packet, self.tracked.unwrap_or(Fitness::Fit));
            }
            // Whoever is off the wire cannot send; his link says so too.
            let sent = raw::send(&wire.speaks, &packet, &SocketAddr::new(to, 0).into());
            self.counters.count(if sent.is_ok() { "adverts_sent_total" } else { "adverts_unsent_total" });
        }
    }

    fn deadline(&self) -> Time {
        let broken = self.broken.as_ref().map(|(until, _)| *until);
        self.routers.iter().map(|router| router.vrrp.deadline()).chain(broken).min().unwrap_or(Time::NEVER)
    }

    fn holds_any(&self) -> bool {
        self.routers.iter().any(|router| router.vrrp.state() == State::Master)
    }

    fn wish(&mut self, wish: Wish) {
        let input = match wish {
            Wish::Look => return,
            Wish::Yield => Input::Yield,
            Wish::Return => Input::Return,
        };
        self.away = wish == Wish::Yield;
        let now = boot_time();
        self.routers.iter_mut().for_each(|router| router.vrrp.handle(now, input.clone()));
    }

    fn view(&self) -> View {
        let router = |router: &Router| vip::Router {
            address: router.plan.address,
            state: router.vrrp.state(),
            master: router.vrrp.master(),
            priority: router.vrrp.priority(),
            because: router.because,
        };
        View { fitness: self.tracked, away: self.away, routers: self.routers.iter().map(router).collect() }
    }

    fn tell(&mut self, context: &Context) {
        let since: Vec<u64> = self.routers.iter().map(|router| router.since_ms).collect();
        let broken = self.broken.as_ref().map(|(_, because)| because.as_str());
        context.reporter.publish(report(&self.view(), &since, broken, &self.counters));
        if let Some(seal) = &mut self.seal {
            seal.note();
        }
    }
}

fn watched<T: AsRawFd>(what: T) -> std::io::Result<AsyncFd<T>> {
    // SAFETY: it is not closed before it is dropped, which is when it is no longer watched.
    unsafe { AsyncFd::register_with_interest(what, Interest::READABLE) }.map_err(std::io::Error::from)
}
