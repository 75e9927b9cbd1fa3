//! The fence's keeper: see [`crate::fence`]. A thread of its own, since an order must not wait for anything else of ours.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use mainstay_machines::Time;
use rustix::net::sockopt::socket_peercred;

use crate::clock::boot_time;
use crate::fence::{Answer, Order, socket};
use crate::platform::set::PortSet;

/// Taken off what is left of a lease: carrying an order out takes up to 8 ms where the table has to be made first, and the kernel's
/// timers are exact to a tick.
const MARGIN: Duration = Duration::from_millis(20);
/// An order has 60 bytes.
const LINE_BYTES_MAX: u64 = 256;

const TABLE: &str = "mainstay_fence";
const SET: &str = "open";

/// Where packets are dropped: before connection tracking says that they belong to something established. Who has no office has
/// nothing to lose: then the port is in the set without an end.
const RULES: &str = "\
table inet mainstay_fence
delete table inet mainstay_fence
table inet mainstay_fence {
  set open { type inet_service; flags timeout; }
  chain input {
    type filter hook input priority raw; policy accept;
    tcp dport PORT tcp dport != @open drop
  }
}
add element inet mainstay_fence open { PORT TIMEOUT }
";

/// Answers orders about the clients' port of `address`, of the user `user`, for as long as this process lives.
///
/// # Errors
/// The socket cannot be made.
pub(super) fn keep(run: &Path, address: SocketAddr, user: u32, root: bool) -> io::Result<()> {
    let path = socket(run);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    if root {
        chown(&path, Some(user), Some(user))?;
    }
    rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o600)).map_err(io::Error::from)?;
    let rule = Rule { port: address.port(), impossible: impossible(address, root), set: None };
    thread::Builder::new().name("fence".into()).spawn(move || serve(&listener, rule, user))?;
    Ok(())
}

/// One client at a time: a role that comes anew has lost the connection before.
fn serve(listener: &UnixListener, mut rule: Rule, user: u32) {
    for connection in listener.incoming() {
        match connection {
            Ok(connection) if may_order(&connection, user) => rule.follow(connection),
            Ok(_) => tracing::warn!("somebody else than the database role asked for the fence"),
            Err(error) => tracing::warn!("the fence cannot be asked: {error}"),
        }
    }
}

fn may_order(connection: &UnixStream, user: u32) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    socket_peercred(connection).is_ok_and(|peer| [user, ours, 0].contains(&peer.uid.as_raw()))
}

/// Why there can be no fence.
fn impossible(address: SocketAddr, root: bool) -> Option<String> {
    if !root {
        return Some("the supervisor is not root".into());
    }
    if address.ip().is_loopback() {
        return Some("the servers share one network (--loopback)".into());
    }
    let found = Command::new("nft").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_err().then(|| "the program nft was not found; install the Debian package nftables".into())
}

struct Rule {
    port: u16,
    impossible: Option<String>,
    /// Once our table is in place.
    set: Option<PortSet>,
}

impl Rule {
    fn follow(&mut self, connection: UnixStream) {
        let mut reader = BufReader::new(connection);
        loop {
            let mut line = String::new();
            let read = reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line);
            let Ok(order) = serde_json::from_str(&line) else { return };
            if read.is_err() {
                return;
            }
            let answer = self.carry_out(order);
            let Ok(mut text) = serde_json::to_vec(&answer) else { return };
            text.push(b'\n');
            if reader.get_mut().write_all(&text).is_err() {
                return;
            }
        }
    }

    fn carry_out(&mut self, order: Order) -> Answer {
        if let Some(because) = &self.impossible {
            return Answer::None { because: because.clone() };
        }
        let done = match order {
            Order::Free => self.put(None),
            Order::Hold { until_ns } => match left(Time::from_nanos(until_ns), boot_time()) {
                None => return Answer::Late,
                Some(left) => self.put(Some(left)),
            },
        };
        match done {
            Ok(()) => Answer::Done,
            Err(because) => {
                tracing::error!("the database's fence cannot be set: {because}");
                Answer::None { because }
            }
        }
    }

    /// Another supervisor of this server, or a person, may have taken the table away: then it is made anew.
    fn put(&mut self, time: Option<Duration>) -> Result<(), String> {
        if let Some(set) = &self.set
            && set.put(self.port, time).is_ok()
        {
            return Ok(());
        }
        self.set = None;
        let timeout = time.map_or_else(String::new, |time| format!("timeout {}ms", time.as_millis()));
        nft(&RULES.replace("PORT", &self.port.to_string()).replace("TIMEOUT", &timeout))?;
        self.set = Some(PortSet::new(TABLE, SET));
        Ok(())
    }
}

/// How long the port may stay open; `None` if that is over.
fn left(until: Time, now: Time) -> Option<Duration> {
    until.since(now).checked_sub(MARGIN).filter(|left| left.as_millis() > 0)
}

pub(super) fn nft(script: &str) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    let said = || String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("nft failed").to_owned();
    if output.status.success() { Ok(()) } else { Err(said()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_is_refused() {
        let at = Time::from_millis;
        assert_eq!(left(at(3_000), at(1_000)), Some(Duration::from_millis(2_000) - MARGIN));
        assert_eq!(left(at(3_000), at(2_999)), None);
        assert_eq!(left(at(3_000), at(4_000)), None);
    }
}
