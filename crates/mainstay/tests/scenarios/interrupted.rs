//! Scenarios that are interrupted leave nothing behind, or say what.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::eventually;

/// Until the servers of the stage are on.
const COMES_UP: Duration = Duration::from_secs(60);
/// Everything down: seconds on a machine that does nothing else.
const ENDS: Duration = Duration::from_secs(30);

/// `mainstay lab scenario`, at work.
struct Played {
    command: Child,
    said: BufReader<ChildStderr>,
    /// Of the process that plays.
    player: u32,
}

impl Played {
    fn start() -> Played {
        assert!(rustix::process::geteuid().is_root(), "the scenarios make network namespaces: run them as root");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        command.args(["lab", "scenario", "vip-kill-proxy", "--runs", "20"]);
        let mut command = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(command.stderr.take().unwrap());
        let children = format!("/proc/{0}/task/{0}/children", command.id());
        let player = eventually("somebody plays", COMES_UP, || {
            std::fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()
        });
        Played { command, said, player }
    }

    fn domain(&self) -> String {
        format!("vip{}.test", self.player)
    }

    fn record(&self) -> PathBuf {
        Path::new("/run/mainstay").join(self.domain())
    }

    fn root(&self) -> PathBuf {
        std::env::temp_dir().join(format!("ms-lab-vip-{}", self.player))
    }

    fn namespaces(&self) -> usize {
        let entries = std::fs::read_dir("/run/netns").unwrap();
        let names = entries.filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        names.filter(|name| name.starts_with(&format!("ms-{}_", self.domain()))).count()
    }

    fn until_servers_are_on(&self) {
        let serves = self.root().join("state/web1/control.sock");
        eventually("the stage comes up", COMES_UP, || serves.exists().then_some(()));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.command), signal).unwrap();
    }

    /// Reads what is said until a line begins so.
    fn hears(&mut self, beginning: &str) {
        let mut line = String::new();
        while !line.starts_with(beginning) {
            line.clear();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "nothing said begins with `{beginning}`");
        }
    }

    /// Its exit code, and the rest of what it says.
    fn ends(&mut self) -> (Option<i32>, Vec<String>) {
        let begun = Instant::now();
        let said = (&mut self.said).lines().map(Result::unwrap).collect();
        let code = self.command.wait().unwrap().code();
        assert!(begun.elapsed() < ENDS, "it took {:?}", begun.elapsed());
        (code, said)
    }

    fn assert_nothing_is_left(&self) {
        assert!(!self.record().exists() && !self.root().exists(), "{:?} or {:?}", self.record(), self.root());
        assert_eq!(self.namespaces(), 0);
        assert!(!Path::new(&format!("/proc/{}", self.player)).exists(), "somebody still plays");
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

#[test]
fn what_was_brought_up_is_taken_down() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut played = Played::start();
        played.until_servers_are_on();
        assert!(played.namespaces() > 0);
        played.signal(signal);
        played.hears("interrupted: taking down");
        let (ended, said) = played.ends();
        assert_eq!(ended, Some(code), "{said:?}");
        assert!(said.last().is_some_and(|line| line.starts_with("everything is down")), "{said:?}");
        played.assert_nothing_is_left();
    }
}

#[test]
fn what_a_killed_player_left_is_taken_down() {
    let mut played = Played::start();
    played.until_servers_are_on();
    kill_process(Pid::from_raw(i32::try_from(played.player).unwrap()).unwrap(), Signal::KILL).unwrap();
    let (code, said) = played.ends();
    assert_eq!(code, Some(137), "{said:?}");
    played.assert_nothing_is_left();
}

/// Whether this process waits for a lock of flock(2), by proc_locks(5).
fn waits_for_a_lock() -> Option<()> {
    let me = std::process::id().to_string();
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let waits = |line: &str| line.contains("-> FLOCK") && line.split_whitespace().any(|word| word == me);
    locks.lines().any(waits).then_some(())
}

/// Interrupts a player whose site cannot be taken down, since its lock is ours; `None` if whoever takes it down was quicker: as the
/// player ends, the lock is anybody's.
fn interrupted_and_stuck() -> Option<(Played, File)> {
    let mut played = Played::start();
    played.until_servers_are_on();
    let lock = File::open(played.record().join("lock")).unwrap();
    let held = std::thread::spawn(move || flock(&lock, FlockOperation::LockExclusive).map(|()| lock));
    eventually("the lock is waited for", ENDS, waits_for_a_lock);
    played.signal(Signal::INT);
    played.hears("interrupted: taking down");
    let held = held.join().unwrap().unwrap();
    if played.record().join("lab.json").exists() {
        return Some((played, held));
    }
    let (ended, said) = played.ends();
    assert_eq!(ended, Some(130), "{said:?}");
    played.assert_nothing_is_left();
    None
}

#[test]
fn once_more_ends_at_once_and_says_what_is_left() {
    let (mut played, held) =
        (0..20).find_map(|_| interrupted_and_stuck()).expect("the lock is ours once in twenty times");
    played.signal(Signal::INT);
    let (code, said) = played.ends();
    assert_eq!(code, Some(130), "{said:?}");
    let domain = played.domain();
    let way_out = format!("{domain} is still up: `mainstay down {domain} --purge --yes`");
    assert!(said.contains(&way_out), "{said:?}");
    drop(held);
    let down =
        Command::new(env!("CARGO_BIN_EXE_mainstay")).args(["down", &domain, "--purge", "--yes"]).output().unwrap();
    assert!(down.status.success(), "{down:?}");
    assert_eq!(played.namespaces(), 0);
    std::fs::remove_dir_all(played.root()).unwrap();
}
