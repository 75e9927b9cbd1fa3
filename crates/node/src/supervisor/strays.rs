//! Packets of connections that an address had on the server that it comes from: they are sent on to that server for a while,
//! so that a planned hand-over breaks none. Whoever opened a connection since then is told from them by its SYN.
//!
//! A table of nftables of its own, at the interface's ingress, before anything else sees the packet (nft(8), *netdev*). It does
//! nothing but for addresses that are in its sets, and they leave those by themselves, whatever has become of us. What comes
//! afterwards for a connection that nobody knows gets the kernel's reset.

use std::io;
use std::net::IpAddr;

use super::fence::nft;
use crate::floating::SENDS_ON;
use crate::platform::connections::{self, Connection};
use crate::platform::elements::{Batch, Element, Family};

const TABLE: &str = "mainstay_strays";
/// Connections that are told from the address's old ones by their SYN. When there are more, what belongs to them goes to the
/// server before too, which lingers and answers.
const KNOWN_MAX: usize = 65_536;
/// Connections from an earlier time, of which the kernel still knows: a person who has the address go back and forth within
/// seconds has not more of them on his mind.
const KEPT_MAX: usize = 4_096;

const RULES: &str = "\
add table netdev TABLE
add set netdev TABLE comeFAMILY { type ADDRESS; flags timeout; }
add map netdev TABLE fromFAMILY { type ADDRESS : ADDRESS; flags timeout; }
add set netdev TABLE ownFAMILY { type ADDRESS . inet_service . ADDRESS . inet_service; size KNOWN; flags dynamic,timeout; timeout 60s; }
add chain netdev TABLE inFAMILY { type filter hook ingress device \"DEVICE\" priority 0; }
flush chain netdev TABLE inFAMILY
add rule netdev TABLE inFAMILY FAMILY daddr != @comeFAMILY accept
add rule netdev TABLE inFAMILY meta l4proto != tcp accept
add rule netdev TABLE inFAMILY tcp flags & (syn|ack) == syn add @ownFAMILY { FAMILY saddr . tcp sport . FAMILY daddr . tcp dport } accept
add rule netdev TABLE inFAMILY FAMILY saddr . tcp sport . FAMILY daddr . tcp dport @ownFAMILY accept
add rule netdev TABLE inFAMILY meta protocol FAMILY fwd FAMILY to FAMILY daddr map @fromFAMILY device \"DEVICE\"
";

/// Makes the table, for addresses of the family of `address` at the interface `device`; not waited for. Nothing is sent on by it
/// until [`send_on`] says so.
pub(super) fn prepare(device: &str, address: IpAddr) {
    let rules = rules(device, address);
    let make = move || {
        if let Err(because) = nft(&rules) {
            tracing::warn!("connections will break when a floating address is taken over as planned: {because}");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("strays".into()).spawn(make) {
        tracing::warn!("connections will break when a floating address is taken over as planned: {error}");
    }
}

/// Has what belongs to connections of `address` that were not opened here sent on to `to`. It is so when this returns. `held`
/// are the other addresses that are here.
///
/// # Errors
/// The table is not there, or the kernel does not answer.
pub(super) fn send_on(address: IpAddr, to: IpAddr, held: impl Iterator<Item = IpAddr>) -> io::Result<()> {
    let family = family(address);
    let held: Vec<IpAddr> = held.filter(|it| it.is_ipv4() == address.is_ipv4()).chain([address]).collect();
    let element =
        |value: Option<IpAddr>| Element { key: bytes(address), value: value.map(bytes), lasts: Some(SENDS_ON) };
    let connection = |it: Connection| {
        let part = |port: u16| [port.to_be_bytes(), [0; 2]].concat();
        let key = [bytes(it.peer), part(it.peer_port), bytes(it.address), part(it.port)].concat();
        Element { key, value: None, lasts: None }
    };
    // Without them connections break that came and went twice within seconds.
    let known = connections::of(&held).unwrap_or_default();
    let known: Vec<Element> = known.into_iter().take(KEPT_MAX).map(connection).collect();
    let mut batch = Batch::new(Family::Netdev);
    // What the last time was somebody's connection here may be another one there now: clients use their ports again.
    batch.clear(TABLE, &format!("own{family}"));
    batch.add(TABLE, &format!("own{family}"), &known);
    batch.renew(TABLE, &format!("from{family}"), &[element(Some(to))]);
    batch.renew(TABLE, &format!("come{family}"), &[element(None)]);
    batch.commit()
}

/// Sends nothing on any more: the address goes to another server, which may be the one that it came from.
///
/// # Errors
/// As [`send_on`].
pub(super) fn forget(address: IpAddr) -> io::Result<()> {
    let mut batch = Batch::new(Family::Netdev);
    let element = Element { key: bytes(address), value: None, lasts: Some(SENDS_ON) };
    batch.remove(TABLE, &format!("come{}", family(address)), &[element]);
    batch.commit()
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

fn rules(device: &str, address: IpAddr) -> String {
    let kind = if address.is_ipv4() { "ipv4_addr" } else { "ipv6_addr" };
    let rules = RULES.replace("FAMILY", family(address)).replace("ADDRESS", kind).replace("TABLE", TABLE);
    rules.replace("DEVICE", device).replace("KNOWN", &KNOWN_MAX.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a network namespace of its own, which ends with the thread.
    fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        let run = || {
            // SAFETY: the thread has opened nothing yet, and ends with the work.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap())
    }

    #[test]
    fn an_address_is_sent_on_and_forgotten() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: only root may have packets sent on");
        }
        for (address, to) in [("10.80.0.100", "10.80.0.11"), ("fd00::100", "fd00::11")] {
            let (address, to): (IpAddr, IpAddr) = (address.parse().unwrap(), to.parse().unwrap());
            let listed = apart(move || {
                let known = || {
                    let output = std::process::Command::new("nft").args(["list", "table", "netdev", TABLE]).output();
                    String::from_utf8(output.unwrap().stdout).unwrap()
                };
                assert!(send_on(address, to, std::iter::empty()).is_err(), "there is no table yet");
                nft(&rules("lo", address)).unwrap();
                send_on(address, to, std::iter::empty()).unwrap();
                // A second time it begins anew, and forgets whose connections were whose.
                let peer = if address.is_ipv4() { "10.99.0.1" } else { "fd99::1" };
                let key = format!("{peer} . 40000 . {address} . 80");
                nft(&format!("add element netdev {TABLE} own{} {{ {key} }}\n", family(address))).unwrap();
                assert!(known().contains(peer));
                send_on(address, to, std::iter::empty()).unwrap();
                let listed = known();
                assert!(!listed.contains(peer), "{listed}");
                forget(address).unwrap();
                forget(address).unwrap();
                (listed, known())
            });
            let element = format!("{address} timeout 12s expires");
            assert!(listed.0.contains(&element) && listed.0.contains(&format!(": {to}")), "{}", listed.0);
            // What it came from may stay known: nobody asks.
            assert_eq!(
                (listed.0.matches(&element).count(), listed.1.matches(&element).count()),
                (2, 1),
                "{}",
                listed.1
            );
        }
    }
}
