//! Who holds a port: by way of `/proc/net` (proc_pid_net(5)) and the descriptors of every process.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mainstay_site::plan::Transport;

/// Whose socket is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// The process that has a socket which keeps `address` from being bound; `None` if there is none, or none that we may
/// look into.
pub fn of(transport: Transport, address: SocketAddr) -> Option<Holder> {
    let tables = match transport {
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let text: Vec<String> = tables.iter().filter_map(|table| fs::read_to_string(table).ok()).collect();
    let inodes: Vec<&str> = text
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(parse)
        .filter(|(bound, ..)| in_the_way(*bound, address))
        .filter(|(_, state, _)| transport == Transport::Udp || *state == LISTEN)
        .map(|(.., inode)| inode)
        .collect();
    process_with(&inodes)
}

/// `TCP_LISTEN` of the kernel, as the table writes it.
const LISTEN: &str = "0A";

/// Local address, state and inode of a line.
fn parse(line: &str) -> Option<(SocketAddr, &str, &str)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(parse_address(address)?, port), fields.get(3)?, fields.get(9)?))
}

/// 32-bit words in hexadecimal, each in the machine's byte order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = (0..text.len() / 8)
        .map(|word| u32::from_str_radix(text.get(word * 8..word * 8 + 8)?, 16).ok().map(u32::to_ne_bytes))
        .collect::<Option<_>>()?;
    let bytes = words.concat();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// `[::]` may hold IPv4 as well; if it does not, bind(2) would not have failed because of it.
fn in_the_way(bound: SocketAddr, wanted: SocketAddr) -> bool {
    let overlap = bound.ip() == wanted.ip() || bound.ip().is_unspecified() || wanted.ip().is_unspecified();
    bound.port() == wanted.port() && overlap
}

fn process_with(inodes: &[&str]) -> Option<Holder> {
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let numbers = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = numbers.find(|pid| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
        targets.any(|target| links.iter().any(|link| target.as_os_str() == link.as_str()))
    })?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder { pid, name: name.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn finds_ourselves() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let us = Some(std::process::id());
        let holder = |transport, address| of(transport, address).map(|holder| holder.pid);
        assert_eq!(holder(Transport::Tcp, tcp.local_addr().unwrap()), us);
        assert_eq!(holder(Transport::Udp, udp.local_addr().unwrap()), us);
        let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), tcp.local_addr().unwrap().port());
        assert_eq!(holder(Transport::Tcp, everywhere), us);
    }

    #[test]
    fn reads_the_tables() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 31337 1 0 100";
        if cfg!(target_endian = "little") {
            assert_eq!(parse(line), Some(("127.0.0.1:8080".parse().unwrap(), "0A", "31337")));
        }
        assert_eq!(parse("rubbish"), None);
    }
}
