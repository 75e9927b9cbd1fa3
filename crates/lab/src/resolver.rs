//! The names that a server knows: its own, its neighbours', and for the rest the site's own name servers.
//!
//! A laboratory has no internet: with the host's `resolv.conf` every look-up of a name, a server's own included, would
//! wait for a time-out (MariaDB's installer and many a program ask at their start).

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mainstay_site::model::Site;
use mainstay_site::names::Role;

/// Name servers that a resolver reads (resolv.conf(5)).
const SERVERS_MAX: usize = 3;

/// The files, by the place where a server sees them.
pub(crate) struct Names([(PathBuf, &'static str); 2]);

impl Names {
    /// Where the files are kept in `folder`.
    pub(crate) fn kept_in(folder: &Path) -> Names {
        Names([(folder.join("hosts"), "/etc/hosts"), (folder.join("resolv.conf"), "/etc/resolv.conf")])
    }

    /// Writes the files.
    pub(crate) fn write(&self, site: &Site) -> io::Result<()> {
        let [(hosts, _), (resolver, _)] = &self.0;
        let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
        for server in &site.servers {
            let _ = writeln!(text, "{} {}", server.address, server.name);
        }
        fs::write(hosts, text)?;
        let mut text = "options timeout:1 attempts:1\n".to_owned();
        let servers =
            site.servers.iter().filter(|server| server.roles.contains(&Role::Dns)).map(|server| server.address);
        let nobody = "127.0.0.1".parse().ok();
        for address in servers.chain(nobody).take(SERVERS_MAX) {
            let _ = writeln!(text, "nameserver {address}");
        }
        fs::write(resolver, text)
    }

    /// Puts the files in their places, in the calling thread's mount namespace. A host without such a file has no place
    /// for it.
    pub(crate) fn mount(&self) -> io::Result<()> {
        for (file, place) in self.0.iter().filter(|(_, place)| Path::new(place).exists()) {
            rustix::mount::mount_bind(file, *place)?;
        }
        Ok(())
    }
}
