//! The connections that the kernel has (sock_diag(7)): asked with what is wanted, so that thousands which are over cost nothing.

use std::io::{self, Read};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::link::{AF_NETLINK, DONE, DUMP, ERROR, REQUEST, kernel, message, messages, number};

const NETLINK_SOCK_DIAG: i32 = 4;
const BY_FAMILY: u16 = 20;
const TCP: u8 = 6;
/// Every state but TCP_TIME_WAIT, TCP_CLOSE and TCP_LISTEN (`include/net/tcp_states.h`).
const OPEN: u32 = 0xfff & !(1 << 6 | 1 << 7 | 1 << 10);
/// `struct inet_diag_sockid`, which here asks for all.
const ALL: [u8; 48] = [0; 48];

/// For the whole answer: ten thousand connections take some milliseconds, and who asks keeps `vip` waiting for a tenth of a second at
/// most ([`crate::floating`]).
const ANSWER: Duration = Duration::from_millis(50);
const ANSWER_BYTES: usize = 32 * 1024;

/// A connection of one of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Our address.
    pub address: IpAddr,
    /// Who is at the other end.
    pub peer: IpAddr,
    /// The port there.
    pub peer_port: u16,
    /// The port here.
    pub port: u16,
}

/// The TCP connections of `addresses`, all of one family, that are open, whether they are ours at the moment or not.
///
/// # Errors
/// The kernel does not say, as without its module tcp_diag.
pub fn of(addresses: &[IpAddr]) -> io::Result<Vec<Connection>> {
    let socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    socket.bind(&kernel(0))?;
    socket.set_read_timeout(Some(ANSWER))?;
    let is_ipv4 = addresses.iter().all(IpAddr::is_ipv4);
    let family = if is_ipv4 { 2 } else { 10 };
    let mut body = vec![family, TCP, 0, 0];
    body.extend(OPEN.to_ne_bytes());
    body.extend(ALL);
    socket.send(&message(BY_FAMILY, REQUEST | DUMP, 1, &body))?;
    let (mut found, mut answer, begun) = (Vec::new(), vec![0; ANSWER_BYTES], Instant::now());
    while begun.elapsed() < ANSWER {
        let length = (&socket).read(&mut answer)?;
        for (kind, _, body) in messages(&answer[..length]) {
            match kind {
                DONE => return Ok(found),
                ERROR => return Err(io::Error::from_raw_os_error(-number(body, 0).unwrap_or(0).cast_signed())),
                _ => found.extend(connection(body, is_ipv4).filter(|it| addresses.contains(&it.address))),
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// `struct inet_diag_msg`.
fn connection(body: &[u8], is_ipv4: bool) -> Option<Connection> {
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let at = |at: usize| match is_ipv4 {
        true => Some(IpAddr::from(<[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?)),
        false => Some(IpAddr::from(<[u8; 16]>::try_from(body.get(at..at + 16)?).ok()?)),
    };
    Some(Connection { address: at(8)?, peer: at(24)?, peer_port: port(6)?, port: port(4)? })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_knows_them() {
        for address in ["127.0.0.1", "::1"] {
            let listener = TcpListener::bind((address, 0)).unwrap();
            let door = listener.local_addr().unwrap();
            let client = TcpStream::connect(door).unwrap();
            let peer = client.local_addr().unwrap();
            let wanted = Connection { address: door.ip(), peer: peer.ip(), peer_port: peer.port(), port: door.port() };
            let known = of(&[door.ip()]).unwrap();
            assert!(known.contains(&wanted), "{known:?}");
            assert!(!known.iter().any(|it| it.peer_port == 0), "a listener is no connection: {known:?}");
            let (accepted, _) = listener.accept().unwrap();
            drop((client, accepted));
            assert!(!of(&[door.ip()]).unwrap().contains(&wanted), "it is over");
        }
    }
}
