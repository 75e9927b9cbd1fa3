//! The keeper of floating addresses: see [`crate::floating`]. A thread of its own, since no order may wait for anything else
//! of ours, and since addresses must go in time when no order comes.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::chown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use mainstay_machines::Time;
use mainstay_site::plan::Vip;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::sync::watch;

use super::strays;
use crate::clock::boot_time;
use crate::floating::{Answer, LINGERS, OUTLIVES, Order, SOCKETS, socket};
use crate::platform::link::{Interface, LOOPBACK, Links, answer_for_itself_alone};
use crate::platform::raw;
use crate::platform::spawn::hurry_thread;

/// An order has less than a hundred bytes.
const LINE_BYTES_MAX: usize = 256;

/// The kernel counts in seconds and forgets an address some tenths of one late: it is told two more than what was ordered, and
/// told again when less than [`OUTLIVES`] more is left. It only matters when this process is gone.
const KERNEL_MORE: Duration = Duration::from_secs(2);

/// What is planned; another plan may take its place.
pub(super) type Planned = Arc<ArcSwap<Vip>>;

/// Answers orders about the addresses of `plan`, of the user `user`, for as long as this process lives. `left` is told whenever an
/// address has gone to a server that sends on what still comes for connections here: they are to be ended, politely.
///
/// # Errors
/// The socket cannot be made.
pub(super) fn keep(run: &Path, plan: Planned, user: u32, root: bool, left: watch::Sender<()>) -> io::Result<()> {
    let path = socket(run);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    if root {
        chown(&path, Some(user), Some(user))?;
    }
    rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o600)).map_err(io::Error::from)?;
    let (held, lingers) = (BTreeMap::new(), false);
    let desk = Desk { plan, user, root, interface: None, held, links: None, lingers, left };
    let serve = move || {
        // Whoever asks is urgent too, and waits for a tenth of a second.
        hurry_thread();
        desk.serve(&listener);
    };
    thread::Builder::new().name("addresses".into()).spawn(serve)?;
    Ok(())
}

/// Until when an address is held, and until when the kernel would keep it by itself.
struct Held {
    until: Time,
    kernel: Time,
}

struct Desk {
    plan: Planned,
    user: u32,
    root: bool,
    interface: Option<Interface>,
    held: BTreeMap<IpAddr, Held>,
    links: Option<Links>,
    /// Whether an address can stay here without anybody being told.
    lingers: bool,
    left: watch::Sender<()>,
}

impl Desk {
    /// One client at a time: one that comes anew has lost the connection before.
    fn serve(mut self, listener: &UnixListener) {
        let mut client: Option<UnixStream> = None;
        loop {
            self.expire();
            let mut fds = vec![PollFd::new(listener, PollFlags::IN)];
            fds.extend(client.iter().map(|client| PollFd::new(client, PollFlags::IN)));
            let wait = self.held.values().map(|held| held.until).min().map(|until| until.since(boot_time()));
            // Rounded up: what is polled for too short a time is polled for again and again.
            let wait = wait.map(|wait| wait + Duration::from_micros(200));
            let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
            if poll(&mut fds, wait.as_ref()).is_err() {
                continue;
            }
            let (knocks, speaks) =
                (!fds[0].revents().is_empty(), fds.get(1).is_some_and(|fd| !fd.revents().is_empty()));
            if speaks && client.as_mut().is_some_and(|client| self.follow(client).is_err()) {
                client = None;
            }
            if knocks && let Ok((fresh, _)) = listener.accept() {
                match may_order(&fresh, self.user) {
                    true => client = Some(fresh),
                    false => tracing::warn!("somebody else than vip asked for a floating address"),
                }
            }
        }
    }

    /// Takes away what is over.
    fn expire(&mut self) {
        let now = boot_time();
        let over: Vec<IpAddr> =
            self.held.iter().filter(|(_, held)| held.until <= now).map(|(address, _)| *address).collect();
        for address in over {
            tracing::warn!("{address} was not asked for again in time and is taken away");
            if let Err(because) = self.release(address) {
                tracing::error!("{address} cannot be taken away: {because}");
                // Once more, soon; the kernel's own deadline comes too.
                if let Some(held) = self.held.get_mut(&address) {
                    held.until = now + Duration::from_millis(100);
                }
            }
        }
    }

    fn follow(&mut self, client: &mut UnixStream) -> io::Result<()> {
        let mut line = [0; LINE_BYTES_MAX];
        let read = client.read(&mut line)?;
        // An order comes in one piece: it is written in one, and is smaller than any buffer.
        let order: Order = serde_json::from_slice(&line[..read])?;
        let (answer, fds) = self.carry_out(order);
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        if fds.is_empty() { client.write_all(&text) } else { pass(client, &text, &fds) }
    }

    fn carry_out(&mut self, order: Order) -> (Answer, Vec<OwnedFd>) {
        let done = match order {
            Order::Open => self.open(),
            Order::Hold { address, .. } | Order::Release { address, .. } | Order::Inherit { address, .. }
                if !self.is_ours(address) =>
            {
                Err(format!("the plan has no floating address {address}"))
            }
            Order::Hold { address, until_ns } => self.hold(address, Time::from_nanos(until_ns)).map(|it| (it, vec![])),
            Order::Release { address, lingers: false } => self.release(address).map(|()| (Answer::Done, vec![])),
            Order::Release { address, lingers: true } => self.leave(address).map(|()| (Answer::Done, vec![])),
            Order::Inherit { address, from } => self.inherit(address, from).map(|()| (Answer::Done, vec![])),
        };
        done.unwrap_or_else(|because| (Answer::Impossible { because }, Vec::new()))
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        self.plan.load().routers.iter().any(|router| router.address == address)
    }

    fn open(&mut self) -> Result<(Answer, Vec<OwnedFd>), String> {
        if !self.root {
            return Err("the supervisor is not root, and only root can hold an address".into());
        }
        let own = self.plan.load().address;
        let interface = self.find()?;
        let sockets = || {
            let multicast = self.plan.load().multicast;
            let sockets = [raw::vrrp_in(&interface, own, multicast)?, raw::vrrp_out(&interface, own)?];
            Ok(sockets.into_iter().chain([raw::announcer(&interface, own)?]).collect())
        };
        let sockets = sockets().map_err(|error: io::Error| format!("no socket for VRRP: {error}"))?;
        self.adopt(interface.index);
        self.prepare(&interface);
        let answer = Answer::Opened {
            index: interface.index,
            interface: interface.name.clone(),
            hardware: interface.hardware.clone(),
            is_running: interface.is_running,
            held: self.held.iter().map(|(address, held)| (*address, held.until.as_nanos())).collect(),
        };
        self.interface = Some(interface);
        Ok((answer, sockets))
    }

    fn find(&mut self) -> Result<Interface, String> {
        let own = self.plan.load().address;
        let interface = self.links()?.with_address(own).map_err(|error| error.to_string())?;
        interface.ok_or_else(|| format!("no interface of this server has the address {own}"))
    }

    /// The number of the interface where the addresses go. Orders go on when a supervisor takes another one's place, and nobody
    /// opens anew for that.
    fn ready(&mut self) -> Result<u32, String> {
        if let Some(interface) = &self.interface {
            return Ok(interface.index);
        }
        let interface = self.find()?;
        self.prepare(&interface);
        let index = interface.index;
        self.interface = Some(interface);
        Ok(index)
    }

    /// What an earlier supervisor left behind is nobody's: its end is not known.
    fn adopt(&mut self, index: u32) {
        let addresses: Vec<IpAddr> = self.plan.load().routers.iter().map(|router| router.address).collect();
        let left: Vec<IpAddr> = addresses.into_iter().filter(|address| !self.held.contains_key(address)).collect();
        for address in left {
            let removed =
                self.links().and_then(|links| links.remove(index, address).map_err(|error| error.to_string()));
            if let Err(because) = removed {
                tracing::error!("{address} may still be here from before: {because}");
            }
        }
    }

    /// What an address that lingers needs: nobody may be told that it is here.
    fn prepare(&mut self, interface: &Interface) {
        strays::prepare(&interface.name, self.plan.load().address);
        self.lingers = match self.plan.load().address {
            // Neighbour discovery answers for the interface's own addresses alone.
            IpAddr::V6(_) => true,
            IpAddr::V4(_) => answer_for_itself_alone(&interface.name)
                .inspect_err(|error| {
                    tracing::warn!(
                        "connections will break when an address is handed over: {} answers for others: {error}",
                        interface.name
                    );
                })
                .is_ok(),
        };
    }

    fn hold(&mut self, address: IpAddr, until: Time) -> Result<Answer, String> {
        let now = boot_time();
        if until <= now {
            return Ok(Answer::Late);
        }
        let index = self.ready()?;
        let known = self.held.get(&address).map(|held| held.kernel);
        let kernel = match known {
            Some(kernel) if kernel >= until + OUTLIVES => kernel,
            _ => {
                let valid = until.since(now) + KERNEL_MORE;
                self.links()?.add(index, address, valid).map_err(|error| error.to_string())?;
                now + Duration::from_secs(valid.as_secs())
            }
        };
        if self.held.insert(address, Held { until, kernel }).is_none() {
            // It may still have lingered from the last time; here it is not needed twice.
            self.links()?.remove(LOOPBACK, address).map_err(|error| error.to_string())?;
        }
        Ok(Answer::Done)
    }

    /// The address stays where nobody is told of it, so that this server answers its connections to their end. Its new owner
    /// sends on what belongs to them; the kernel takes it away in time, whatever becomes of us.
    fn leave(&mut self, address: IpAddr) -> Result<(), String> {
        self.ready()?;
        if self.lingers {
            // First there, then gone from here: it is never nowhere.
            self.links()?.add(LOOPBACK, address, LINGERS).map_err(|error| error.to_string())?;
        }
        self.release(address)?;
        // Where it never came from anywhere there may be no table.
        if let Err(error) = strays::forget(address) {
            tracing::debug!("{address} may still be sent on: {error}");
        }
        self.left.send_replace(());
        Ok(())
    }

    fn inherit(&self, address: IpAddr, from: IpAddr) -> Result<(), String> {
        if !self.plan.load().peers.iter().any(|(_, peer)| *peer == from) {
            return Err(format!("{from} is no balancer of the plan"));
        }
        strays::send_on(address, from, self.held.keys().copied())
            .map_err(|error| format!("its packets cannot be sent on: {error}"))
    }

    fn release(&mut self, address: IpAddr) -> Result<(), String> {
        let index = self.ready()?;
        self.links()?.remove(index, address).map_err(|error| error.to_string())?;
        self.held.remove(&address);
        Ok(())
    }

    fn links(&mut self) -> Result<&mut Links, String> {
        if self.links.is_none() {
            self.links = Some(Links::open().map_err(|error| format!("no way to the kernel's addresses: {error}"))?);
        }
        self.links.as_mut().ok_or_else(|| "no way to the kernel's addresses".into())
    }
}

fn may_order(connection: &UnixStream, user: u32) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    socket_peercred(connection).is_ok_and(|peer| [user, ours, 0].contains(&peer.uid.as_raw()))
}

fn pass(client: &UnixStream, text: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(client, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == text.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
