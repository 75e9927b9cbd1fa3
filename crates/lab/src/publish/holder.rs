//! Who has a port: from the kernel's table of sockets (proc_net(5)) and everybody's descriptors.

use std::fs;
use std::path::Path;

use mainstay_site::plan::Transport;

/// The state of a listening stream in the table: `TCP_LISTEN`.
const LISTENING: &str = "0A";

/// `nginx (process 812)`, if this user may know.
pub fn of(port: u16, transport: Transport) -> Option<String> {
    let tables = match transport {
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let inode = tables.iter().find_map(|table| inode(&fs::read_to_string(table).ok()?, port, transport))?;
    let link = format!("socket:[{inode}]");
    let processes =
        fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    processes.map(|pid| (pid, Path::new("/proc").join(pid.to_string()))).find_map(|(pid, process)| {
        has(&process, &link).then(|| {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            format!("{} (process {pid})", name.trim())
        })
    })
}

/// The inode of the socket that has `port` in a table of sockets.
fn inode(table: &str, port: u16, transport: Transport) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let local = fields.get(1)?.rsplit_once(':')?.1;
        let listens = transport == Transport::Udp || *fields.get(3)? == LISTENING;
        let meant = listens && u16::from_str_radix(local, 16) == Ok(port);
        meant.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}

fn has(process: &Path, link: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok())
        .any(|target| target.to_str() == Some(link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_holder_of_a_port() {
        let ours = format!("(process {})", std::process::id());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = of(listener.local_addr().unwrap().port(), Transport::Tcp).unwrap();
        assert!(holder.ends_with(&ours), "{holder}");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let holder = of(socket.local_addr().unwrap().port(), Transport::Udp).unwrap();
        assert!(holder.ends_with(&ours), "{holder}");
    }
}
