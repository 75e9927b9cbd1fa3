//! The server's listening sockets: bound once, lent to services, kept by our parent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use mainstay_site::plan::{self, Listen, Plan, Service, Transport};

use crate::platform::bind::{self, Place, cores};
use crate::platform::holder::{self, Holder};
use crate::platform::notify::Notify;

/// What the names of kept sockets begin with.
pub(super) const KEPT_AS: &str = "sock-";
/// By which name a service is handed the socket for the other tiers of its server.
const LOCAL: &str = "local";

/// Why a socket could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {reason}; {next}")]
pub struct Unbindable {
    place: String,
    reason: String,
    next: String,
    source: io::Error,
}

/// A socket, and the name by which it is handed over.
type Lent = (String, Arc<OwnedFd>);

/// Every socket that is held, by place; several where each core has its own.
pub(super) struct Sockets {
    held: BTreeMap<Place, Vec<Arc<OwnedFd>>>,
    cores: usize,
    /// The server's state directory.
    state: PathBuf,
}

impl Sockets {
    /// Takes over what was kept. What is no listening socket is closed and taken out of the store.
    pub(super) fn adopt(kept: Vec<(String, OwnedFd)>, state: PathBuf, notify: &Notify) -> Sockets {
        let cores = cores();
        let mut sockets = Sockets { held: BTreeMap::new(), cores, state };
        for (name, fd) in kept {
            match bind::describe(&fd) {
                Some(place) => sockets.held.entry(place).or_default().push(Arc::new(fd)),
                None => notify.forget(&name),
            }
        }
        sockets
    }

    /// The sockets for `listens`, in their order, bound where they are not held yet.
    ///
    /// # Errors
    /// At the first that cannot be bound.
    pub(super) fn ensure(&mut self, listens: &[Listen], notify: &Notify) -> Result<Vec<Lent>, Unbindable> {
        let mut lent = Vec::new();
        for listen in listens {
            let place = Place::from(listen);
            let count = if listen.per_core { self.cores } else { 1 };
            if self.held.get(&place).is_some_and(|held| held.len() != count) {
                self.release(&place, notify);
            }
            if !self.held.contains_key(&place) {
                let fds = bind::listen(listen, count).map_err(|error| explain(listen, error))?;
                self.hold(place.clone(), fds, notify);
            }
            let held = self.held.get(&place).into_iter().flatten();
            lent.extend(held.map(|fd| (listen.name.clone(), Arc::clone(fd))));
        }
        Ok(lent)
    }

    /// The sockets for the other tiers of this server, one for each core. Whoever `succeeds` a process gets those that are held: of others
    /// that one knows nothing, and it is the one who accepts until the successor is well. Else they are bound where they are not held
    /// yet; what cannot be had is not there, and then the others come over TCP.
    pub(super) fn local(&mut self, service: &Service, succeeds: bool, notify: &Notify) -> Vec<Lent> {
        let mut lent = Vec::new();
        for path in self.local_paths(service) {
            let place = Place::Unix(path.clone());
            if !succeeds && !self.held.contains_key(&place) {
                match bind::listen_locally(&path) {
                    Ok(fd) => self.hold(place.clone(), vec![fd], notify),
                    Err(error) => {
                        let (service, path) = (&service.name, path.display());
                        tracing::info!("{service} is asked over TCP by its own server: {path}: {error}");
                        break;
                    }
                }
            }
            let held = self.held.get(&place).into_iter().flatten();
            lent.extend(held.map(|fd| (LOCAL.to_owned(), Arc::clone(fd))));
        }
        lent
    }

    fn local_paths(&self, service: &Service) -> Vec<PathBuf> {
        let cores = if service.is_local() { self.cores } else { 0 };
        plan::local_sockets(service.name.as_str(), cores).map(|path| self.state.join(path)).collect()
    }

    fn hold(&mut self, place: Place, fds: Vec<OwnedFd>, notify: &Notify) {
        for (index, fd) in fds.iter().enumerate() {
            notify.keep(&kept_as(&place, index), fd.as_fd());
        }
        self.held.insert(place, fds.into_iter().map(Arc::new).collect());
    }

    fn release(&mut self, place: &Place, notify: &Notify) {
        for index in 0..self.held.remove(place).map_or(0, |held| held.len()) {
            notify.forget(&kept_as(place, index));
        }
        if let Place::Unix(path) = place {
            // A file that nobody listens on is in nobody's way.
            let _ = fs::remove_file(path);
        }
    }

    /// Closes what no service of `plan` listens on.
    pub(super) fn retain(&mut self, plan: &Plan, notify: &Notify) {
        let mut wanted = BTreeSet::new();
        for service in &plan.services {
            wanted.extend(service.listens.iter().map(Place::from));
            wanted.extend(self.local_paths(service).into_iter().map(Place::Unix));
        }
        let gone: Vec<Place> = self.held.keys().filter(|place| !wanted.contains(place)).cloned().collect();
        gone.iter().for_each(|place| self.release(place, notify));
    }

    /// Closes everything.
    pub(super) fn clear(&mut self, notify: &Notify) {
        while let Some(place) = self.held.keys().next().cloned() {
            self.release(&place, notify);
        }
    }
}

/// `sock-tcp-10.80.0.11-80-0`, `sock-unix-web.0.sock-0`; the colons of IPv6 would split a list of names.
fn kept_as(place: &Place, index: usize) -> String {
    let at = |address: &SocketAddr| format!("{}-{}", address.ip().to_string().replace(':', "_"), address.port());
    match place {
        Place::Tcp(address) => format!("{KEPT_AS}tcp-{}-{index}", at(address)),
        Place::Udp(address) => format!("{KEPT_AS}udp-{}-{index}", at(address)),
        Place::Unix(path) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            format!("{KEPT_AS}unix-{name}-{index}")
        }
    }
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
    use std::os::unix::net::{UnixListener, UnixStream};

    use mainstay_site::names::Role;
    use mainstay_site::plan::{Config, Door, Web};

    use super::*;

    fn listen(address: SocketAddr, per_core: bool) -> Listen {
        Listen { name: "http".into(), transport: Transport::Tcp, address, per_core, floating: false }
    }

    /// A web server behind a balancer.
    fn web() -> Service {
        let web = Web { front: false, routes: Vec::new(), door: Door::default(), cache: None };
        let (listens, writes, talks) = Default::default();
        Service {
            name: "web".into(),
            role: Role::Web,
            user: Role::Web.user(),
            listens,
            writes,
            talks,
            config: Config::Web(web),
        }
    }

    fn silent() -> Notify {
        // Tests are not started by a service manager.
        Notify::from_environment().unwrap()
    }

    #[test]
    fn names_the_culprit_of_a_taken_port() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sockets = Sockets::adopt(Vec::new(), "/nowhere".into(), &silent());
        let error = sockets.ensure(&[listen(taken.local_addr().unwrap(), false)], &silent()).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {}) has it", std::process::id())), "{error}");
    }

    #[test]
    fn lends_the_same_socket_until_nobody_wants_it() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut sockets = Sockets::adopt(Vec::new(), "/nowhere".into(), &silent());
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
        let mut sockets = Sockets::adopt(Vec::new(), "/nowhere".into(), &silent());
        sockets.cores = 3;
        assert_eq!(sockets.ensure(&[listen(address, true)], &silent()).unwrap().len(), 3);
        assert_eq!(sockets.ensure(&[listen(address, false)], &silent()).unwrap().len(), 1);
    }

    #[test]
    fn the_tiers_of_a_server_have_sockets_that_outlive_their_supervisor() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().to_owned();
        std::fs::create_dir(state.join("run")).unwrap();
        let (service, path) = (web(), state.join("run/web.1.sock"));
        let adopted = |kept, state: &PathBuf| Sockets { cores: 2, ..Sockets::adopt(kept, state.clone(), &silent()) };
        let mut sockets = adopted(Vec::new(), &state);
        assert!(sockets.local(&service, true, &silent()).is_empty(), "the one before does not accept there");
        assert!(!path.exists());
        let lent = sockets.local(&service, false, &silent());
        assert!(lent.len() == 2 && lent.iter().all(|(name, _)| name == "local"));
        assert_eq!(sockets.local(&service, true, &silent()).len(), 2);
        let listener = UnixListener::from(lent[1].1.try_clone().unwrap());
        listener.set_nonblocking(true).unwrap();
        // The next supervisor is given what is kept, and does not bind it again.
        let kept = vec![("sock-unix-web.1.sock-0".to_owned(), lent[1].1.try_clone().unwrap())];
        let mut sockets = adopted(kept, &state);
        assert_eq!(sockets.local(&service, false, &silent()).len(), 2);
        assert!(UnixStream::connect(&path).is_ok() && listener.accept().is_ok());
        sockets.clear(&silent());
        assert!(!path.exists());
        // What a killed one has left is in nobody's way; and where there is no room for a socket, there is TCP.
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(sockets.local(&service, false, &silent()).len(), 2);
        assert!(adopted(Vec::new(), &state.join("x".repeat(108))).local(&service, false, &silent()).is_empty());
    }

    #[test]
    fn names_do_not_split_a_list() {
        assert_eq!(kept_as(&Place::Tcp("10.80.0.11:80".parse().unwrap()), 0), "sock-tcp-10.80.0.11-80-0");
        assert_eq!(kept_as(&Place::Udp("[fd00::1]:53".parse().unwrap()), 2), "sock-udp-fd00__1-53-2");
        assert_eq!(kept_as(&Place::Unix("/s/run/web.1.sock".into()), 0), "sock-unix-web.1.sock-0");
    }
}
