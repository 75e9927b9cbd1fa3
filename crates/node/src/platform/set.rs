//! A port in a set of nftables.

use std::io;
use std::time::Duration;

use super::elements::{Batch, Element, Family};

/// A set of ports (`type inet_service; flags timeout`) in a table of the family `inet`.
pub struct PortSet {
    table: &'static str,
    set: &'static str,
}

impl PortSet {
    /// A way to the set; whether it exists is not looked at.
    pub fn new(table: &'static str, set: &'static str) -> PortSet {
        PortSet { table, set }
    }

    /// Has `port` be in the set for so long from now, or until something else is said; as one step. Whether and for how long it
    /// was in it before is of no account. Takes CAP_NET_ADMIN.
    ///
    /// # Errors
    /// There is no such set (ENOENT), or the kernel refuses.
    pub fn put(&self, port: u16, time: Option<Duration>) -> io::Result<()> {
        let element = Element { key: port.to_be_bytes().into(), value: None, lasts: time };
        let mut batch = Batch::new(Family::Inet);
        batch.renew(self.table, self.set, &[element]);
        batch.commit()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// What nft(8) does with `script`, and what it says.
    fn nft(script: &str) -> Option<String> {
        let mut nft = Command::new("nft");
        let nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = nft.spawn().ok()?;
        child.stdin.take()?.write_all(script.as_bytes()).ok()?;
        let output = child.wait_with_output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn a_port_is_in_the_set_as_long_as_was_said_last() {
        // A network of this thread's own; without the right to have one there is nothing to see here.
        // SAFETY: the flag concerns the network of this thread alone.
        let own = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
        let table = "table inet t { set s { type inet_service; flags timeout; }; }";
        if own.is_err() || nft(table).is_none() {
            return;
        }
        let listed = || nft("list set inet t s").unwrap();
        let set = PortSet::new("t", "s");
        set.put(3306, Some(Duration::from_secs(100))).unwrap();
        assert!(listed().contains("3306 timeout 1m40s expires"), "{}", listed());
        set.put(3306, Some(Duration::from_secs(200))).unwrap();
        assert!(listed().contains("3306 timeout 3m20s expires"), "{}", listed());
        set.put(3306, None).unwrap();
        assert!(listed().contains("{ 3306 }"), "{}", listed());
        let nowhere = PortSet::new("t", "nothing");
        assert_eq!(nowhere.put(3306, None).unwrap_err().kind(), io::ErrorKind::NotFound);
        set.put(3307, None).expect("what was refused is no part of the next answer");
    }
}
