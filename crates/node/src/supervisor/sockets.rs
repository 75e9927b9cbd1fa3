//! The server's listening sockets: bound once, lent to services, kept by our parent.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use mainstay_site::plan::{Listen, Plan, Transport};

use crate::platform::bind;
use crate::platform::holder::{self, Holder};
use crate::platform::notify::Notify;

/// What the names of kept sockets begin with.
pub(super) const KEPT_AS: &str = "sock-";

/// Why a socket could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {reason}; {next}")]
pub struct Unbindable {
    place: String,
    reason: String,
    next: String,
    source: io::Error,
}

/// A place to listen: UDP or not, and where.
type Place = (bool, SocketAddr);

/// Every socket that is held, by place; several where each core has its own.
pub(super) struct Sockets {
    held: BTreeMap<Place, Vec<Arc<OwnedFd>>>,
    cores: usize,
}

impl Sockets {
    /// Takes over what was kept. What is no listening socket is closed and taken out of the store.
    pub(super) fn adopt(kept: Vec<(String, OwnedFd)>, notify: &Notify) -> Sockets {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut sockets = Sockets { held: BTreeMap::new(), cores };
        for (name, fd) in kept {
            match bind::describe(&fd) {
                Some((transport, address)) => {
                    sockets.held.entry((transport == Transport::Udp, address)).or_default().push(Arc::new(fd));
                }
                None => notify.forget(&name),
            }
        }
        sockets
    }

    /// The sockets for `listens`, in their order, bound where they are not held yet.
    ///
    /// # Errors
    /// At the first that cannot be bound.
    pub(super) fn ensure(
        &mut self,
        listens: &[Listen],
        notify: &Notify,
    ) -> Result<Vec<(String, Arc<OwnedFd>)>, Unbindable> {
        let mut lent = Vec::new();
        for listen in listens {
            let place = (listen.transport == Transport::Udp, listen.address);
            let count = if listen.per_core { self.cores } else { 1 };
            if self.held.get(&place).is_some_and(|held| held.len() != count) {
                self.release(place, notify);
            }
            if !self.held.contains_key(&place) {
                self.bind(listen, place, count, notify)?;
            }
            let held = self.held.get(&place).into_iter().flatten();
            lent.extend(held.map(|fd| (listen.name.clone(), Arc::clone(fd))));
        }
        Ok(lent)
    }

    fn bind(&mut self, listen: &Listen, place: Place, count: usize, notify: &Notify) -> Result<(), Unbindable> {
        let fds = bind::listen(listen, count).map_err(|error| explain(listen, error))?;
        for (index, fd) in fds.iter().enumerate() {
            notify.keep(&kept_as(place, index), fd.as_fd());
        }
        self.held.insert(place, fds.into_iter().map(Arc::new).collect());
        Ok(())
    }

    fn release(&mut self, place: Place, notify: &Notify) {
        for index in 0..self.held.remove(&place).map_or(0, |held| held.len()) {
            notify.forget(&kept_as(place, index));
        }
    }

    /// Closes what no service of `plan` listens on.
    pub(super) fn retain(&mut self, plan: &Plan, notify: &Notify) {
        let listens = || plan.services.iter().flat_map(|service| &service.listens);
        let wanted =
            |place: &Place| listens().any(|listen| (listen.transport == Transport::Udp, listen.address) == *place);
        let gone: Vec<Place> = self.held.keys().filter(|place| !wanted(place)).copied().collect();
        for place in gone {
            self.release(place, notify);
        }
    }

    /// Closes everything.
    pub(super) fn clear(&mut self, notify: &Notify) {
        while let Some(place) = self.held.keys().next().copied() {
            self.release(place, notify);
        }
    }
}

/// `sock-tcp-10.80.0.11-80-0`; the colons of IPv6 would split a list of names.
fn kept_as((udp, address): Place, index: usize) -> String {
    let transport = if udp { "udp" } else { "tcp" };
    let ip = address.ip().to_string().replace(':', "_");
    format!("{KEPT_AS}{transport}-{ip}-{}-{index}", address.port())
}

fn explain(listen: &Listen, error: io::Error) -> Unbindable {
    let address = listen.address;
    let (reason, next) = match error.kind() {
        io::ErrorKind::AddrInUse => match holder::of(listen.transport, address) {
            Some(Holder { pid, name }) => (
                format!("{name} (process {pid}) has it"),
                format!("stop {name}, or give this site another address or port"),
            ),
            None => (
                "another program has it".to_owned(),
                format!("`ss -lntup 'sport = {}'` as root names it", address.port()),
            ),
        },
        io::ErrorKind::AddrNotAvailable => (
            format!("{} is no address of this machine", address.ip()),
            "correct the server's address, or give it to an interface (`ip address add`)".to_owned(),
        ),
        io::ErrorKind::PermissionDenied => {
            ("ports below 1024 are for root".to_owned(), "run as root, or choose a port from 1024 up".to_owned())
        }
        _ => (error.to_string(), "the plan's addresses come from the declaration".to_owned()),
    };
    let transport = match listen.transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    let place = format!("{address} ({transport}) for {}", listen.name);
    Unbindable { place, reason, next, source: error }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listen(address: SocketAddr, per_core: bool) -> Listen {
        Listen { name: "http".into(), transport: Transport::Tcp, address, per_core, floating: false }
    }

    fn silent() -> Notify {
        // Tests are not started by a service manager.
        Notify::from_environment().unwrap()
    }

    #[test]
    fn names_the_culprit_of_a_taken_port() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sockets = Sockets::adopt(Vec::new(), &silent());
        let error = sockets.ensure(&[listen(taken.local_addr().unwrap(), false)], &silent()).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {}) has it", std::process::id())), "{error}");
    }

    #[test]
    fn lends_the_same_socket_until_nobody_wants_it() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut sockets = Sockets::adopt(Vec::new(), &silent());
        let first = sockets.ensure(&[listen(address, false)], &silent()).unwrap();
        let second = sockets.ensure(&[listen(address, false)], &silent()).unwrap();
        assert!(Arc::ptr_eq(&first[0].1, &second[0].1));
        drop((first, second));
        sockets.clear(&silent());
        TcpListener::bind(address).unwrap();
    }

    #[test]
    fn one_per_core_where_the_plan_says_so() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut sockets = Sockets::adopt(Vec::new(), &silent());
        sockets.cores = 3;
        assert_eq!(sockets.ensure(&[listen(address, true)], &silent()).unwrap().len(), 3);
        assert_eq!(sockets.ensure(&[listen(address, false)], &silent()).unwrap().len(), 1);
    }

    #[test]
    fn names_do_not_split_a_list() {
        assert_eq!(kept_as((false, "10.80.0.11:80".parse().unwrap()), 0), "sock-tcp-10.80.0.11-80-0");
        assert_eq!(kept_as((true, "[fd00::1]:53".parse().unwrap()), 2), "sock-udp-fd00__1-53-2");
    }
}
