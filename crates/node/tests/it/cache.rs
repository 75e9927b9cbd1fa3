//! The cache's service: Debian's Redis, asked by Debian's own client.

use std::net::SocketAddr;
use std::process::{Command, Output};

use mainstay_node::cache;
use mainstay_node::service::{Launch, Sockets};
use mainstay_site::names::Role;
use mainstay_site::plan::{self, Config};
use mainstay_site::wire::State;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{self, Running, eventually, free};

/// One server with the role, which may be started twice: as its successor is beside what a killed one left.
struct Server {
    folder: tempfile::TempDir,
    config: plan::Redis,
}

impl Server {
    fn new(follows: Option<&Server>) -> Server {
        let follows = follows.map(|server| ("server1".into(), server.config.address));
        // Redis forks to copy itself, so that the least size is enough here.
        let config = plan::Redis { address: free(), memory_bytes: 4 << 20, follows };
        Server { folder: tempfile::tempdir().unwrap(), config }
    }

    fn launch(&self) -> Launch {
        std::fs::create_dir_all(self.folder.path().join("run/cache")).unwrap();
        support::launch("cache", Role::Cache, Config::Cache(self.config.clone()), self.folder.path())
    }

    fn start(&self) -> Running {
        let config = self.config.clone();
        Running::start(self.launch(), Sockets::default(), move |context| cache::run(context, &config).unwrap())
    }

    fn started(&self) -> Running {
        let running = self.start();
        running.until("Redis serves", |report| report.state == State::Serving);
        running
    }

    /// As an application does.
    fn cli(&self, command: &[&str]) -> String {
        let out = ask(self.config.address, "default", &self.launch().secrets.cache, command);
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }
}

fn ask(at: SocketAddr, user: &str, password: &str, command: &[&str]) -> Output {
    Command::new("redis-cli")
        .args(["-h", &at.ip().to_string(), "-p", &at.port().to_string(), "--user", user, "--pass", password])
        .args(["--no-auth-warning"])
        .args(command)
        .output()
        .expect("redis-cli is in redis-tools")
}

fn pid(running: &Running) -> u32 {
    running.reporter.current().parts[0].pid.unwrap()
}

fn signal(running: &Running, signal: Signal) {
    kill_process(Pid::from_raw(pid(running).cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn an_application_is_let_in_and_others_are_not() {
    let server = Server::new(None);
    let running = server.started();
    assert_eq!(server.cli(&["SET", "greeting", "hello"]), "OK");
    assert_eq!(server.cli(&["GET", "greeting"]), "hello");
    assert!(server.cli(&["CONFIG", "GET", "*"]).contains("NOPERM"), "what is an operator's is not theirs");
    assert!(server.cli(&["SHUTDOWN"]).contains("NOPERM"));
    let stranger = ask(server.config.address, "default", "guessed", &["GET", "greeting"]);
    assert!(!String::from_utf8_lossy(&stranger.stdout).contains("hello"));
    running.until("its figures are told", |report| {
        report.counters["redis_hits_total"] >= 1 && report.facts.contains(&("keys".into(), "1".into()))
    });
    let file = std::fs::metadata(server.folder.path().join("run/cache/redis.conf")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o777, 0o600, "it has passwords");
    assert!(!server.folder.path().join("run/cache/dump.rdb").exists());
}

#[test]
fn what_was_not_used_for_longest_goes_when_memory_is_full() {
    let server = Server::new(None);
    let running = server.started();
    let fill = format!("for i=1,3000 do redis.call('SET', 'k'..i, string.rep('x', {})) end return 'filled'", 4096);
    assert_eq!(server.cli(&["EVAL", &fill, "0"]), "filled", "12 MB go into 4 without a refusal");
    running.until("somebody is told", |report| report.counters["redis_evicted_total"] > 0);
    assert_eq!(server.cli(&["SET", "later", "1"]), "OK");
}

#[test]
fn a_killed_redis_comes_back_empty_and_a_killed_role_leaves_it() {
    let server = Server::new(None);
    let first = server.started();
    assert_eq!(server.cli(&["SET", "greeting", "hello"]), "OK");
    let successor = server.started();
    assert_eq!(pid(&first), pid(&successor), "the successor adopts it");
    assert_eq!(server.cli(&["GET", "greeting"]), "hello");

    let killed = pid(&first);
    signal(&first, Signal::KILL);
    drop(first);
    successor.until("another one runs", |report| {
        report.state == State::Serving && report.parts[0].pid != Some(killed) && report.parts[0].pid.is_some()
    });
    assert_eq!(server.cli(&["GET", "greeting"]), "");
}

#[test]
fn a_frozen_redis_is_told_of_and_then_goes_on() {
    let server = Server::new(None);
    let running = server.started();
    assert_eq!(server.cli(&["SET", "greeting", "hello"]), "OK");
    signal(&running, Signal::STOP);
    running.until("it is missed", |report| report.state == State::Failed && report.because.contains("does not answer"));
    signal(&running, Signal::CONT);
    running.until("it is back", |report| report.state == State::Serving);
    assert_eq!(server.cli(&["GET", "greeting"]), "hello");
}

#[test]
fn a_copy_follows_and_refuses_writes() {
    let first = Server::new(None);
    let asked = first.started();
    let second = Server::new(Some(&first));
    let copy = second.started();
    assert_eq!(first.cli(&["SET", "greeting", "hello"]), "OK");
    eventually("the copy has it", || second.cli(&["GET", "greeting"]) == "hello");
    assert!(second.cli(&["SET", "greeting", "no"]).contains("READONLY"));
    copy.until("it is said whose copy it is", |report| report.because == "keeps a copy of server1");
    asked.until("and that there is one", |report| report.facts.contains(&("copies".into(), "1".into())));
    drop(asked);
    copy.until("it lacks the first", |report| {
        report.state == State::Degraded && report.because.contains("server1 cannot be reached")
    });
}

#[test]
fn what_differs_from_the_plan_is_corrected_while_it_runs() {
    let server = Server::new(None);
    let running = server.started();
    assert_eq!(server.cli(&["SET", "greeting", "hello"]), "OK");
    let before = pid(&running);
    let admin = |command: &[&str]| {
        let out = ask(server.config.address, "mainstay", &server.launch().secrets.cache_admin, command);
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(admin(&["CONFIG", "SET", "maxmemory", "5000000"]).trim(), "OK");
    // Of one that is never there, or the first would take its emptiness over.
    assert_eq!(admin(&["REPLICAOF", "127.0.0.1", "1"]).trim(), "OK");
    eventually("it is the one that is asked again", || server.cli(&["SET", "more", "1"]) == "OK");
    eventually("its memory is what was declared", || admin(&["CONFIG", "GET", "maxmemory"]).contains("4194304"));
    assert_eq!((pid(&running), server.cli(&["GET", "greeting"])), (before, "hello".into()));
}
