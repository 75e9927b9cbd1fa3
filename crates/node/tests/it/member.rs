//! The store's service: three of them on one machine, each with an etcd of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use mainstay_node::authority;
use mainstay_node::etcd;
use mainstay_node::service::{Launch, Sockets};
use mainstay_node::store::{Event, Store, Write};
use mainstay_site::names::{Role, ServerName};
use mainstay_site::plan::{self, Config, Member};
use mainstay_site::secrets::Secrets;
use mainstay_site::wire::{Report, State};
use rustix::process::{Pid, Signal, kill_process};

use crate::etcd::site;
use crate::support::{self, DEADLINE, Running, eventually, free};

/// Three servers' members, switched on and off.
struct Site {
    folder: tempfile::TempDir,
    secrets: Secrets,
    config: plan::Store,
    running: Vec<Option<Running>>,
}

impl Site {
    fn new() -> Site {
        Site::of(3)
    }

    fn of(servers: usize) -> Site {
        let site = site(servers);
        let mut secrets = support::secrets();
        authority::complete(&site, &mut secrets).unwrap();
        let member = |server: ServerName| Member { server, client: free(), peer: free() };
        let members = site.servers.iter().map(|server| member(server.name.clone())).collect();
        let config = plan::Store {
            members,
            former: Vec::new(),
            databases: vec!["s1".into(), "s2".into()],
            data: "data/store/etcd".into(),
        };
        Site { folder: tempfile::tempdir().unwrap(), secrets, config, running: (0..servers).map(|_| None).collect() }
    }

    /// The plan has these members now; whoever ran is started by the test again.
    fn replan(&mut self, members: Vec<Member>) {
        self.config.members = members;
        (0..self.running.len()).for_each(|place| self.stop(place));
    }

    fn name(&self, place: usize) -> ServerName {
        format!("s{}", place + 1).as_str().into()
    }

    fn state(&self, place: usize) -> PathBuf {
        self.folder.path().join(self.name(place).as_str())
    }

    fn start(&mut self, place: usize) {
        let state = self.state(place);
        std::fs::create_dir_all(&state).unwrap();
        let launch = support::launch("store", Role::Store, Config::Store(self.config.clone()), &state);
        let server = self.name(place);
        let launch = Launch { secrets: self.secrets.of(&server), server, ..launch };
        let config = self.config.clone();
        self.running[place] =
            Some(Running::start(launch, Sockets::default(), move |context| etcd::run(context, &config).unwrap()));
    }

    fn start_all(&mut self) {
        (0..3).for_each(|place| self.start(place));
        self.until_well();
    }

    fn stop(&mut self, place: usize) {
        self.running[place] = None;
    }

    fn until(&self, place: usize, what: &str, condition: impl Fn(&Report) -> bool) {
        self.running[place].as_ref().unwrap().until(what, condition);
    }

    fn until_well(&self) {
        for place in (0..self.running.len()).filter(|place| self.running[*place].is_some()) {
            self.until(place, "three members answer", |report| report.state == State::Serving);
        }
    }

    fn endpoints(&self) -> Vec<(ServerName, SocketAddr)> {
        self.config.endpoints()
    }

    fn store(&self) -> Store {
        let name = self.name(0);
        Store::of(&crate::etcd::SITE.into(), &name, &self.endpoints(), &self.secrets.of(&name)).unwrap().unwrap()
    }

    fn etcd(&self, place: usize) -> Pid {
        let report = self.running[place].as_ref().unwrap().reporter.current();
        Pid::from_raw(report.parts[0].pid.unwrap().cast_signed()).unwrap()
    }

    fn lose_data(&self, place: usize) {
        std::fs::remove_dir_all(self.state(place).join("data/store/etcd")).unwrap();
    }
}

fn write(store: &Store, key: &str) {
    let put = Write::Put { key: key.into(), value: b"1".to_vec(), lease: None };
    within(async { store.transact(&[], &[put]).await.unwrap() });
}

fn reads(store: &Store, key: &str) -> bool {
    within(async { store.get(key).await.is_ok_and(|entry| entry.is_some()) })
}

fn within<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await.unwrap() }))
}

/// Who is asked may be about to lose its leader: until it is done.
fn write_in_the_end(store: &Store, key: &str) {
    let put = Write::Put { key: key.into(), value: b"1".to_vec(), lease: None };
    eventually(key, || within(async { store.transact(&[], std::slice::from_ref(&put)).await.is_ok() }));
}

#[test]
fn members_found_a_store_survive_a_loss_and_let_in_who_forgot() {
    let mut site = Site::new();
    site.start_all();
    let store = site.store();
    write(&store, "before");

    // ## Killed: started again, with its data
    kill_process(site.etcd(1), Signal::KILL).unwrap();
    site.until(1, "etcd is started again", |report| {
        report.counters["etcd_restarts_total"] == 1 && report.state == State::Serving
    });

    // ## Switched off: the others go on, and say who is missing
    site.stop(2);
    site.until(0, "s3 is missed", |report| report.state == State::Degraded && report.because.contains("s3"));
    write_in_the_end(&store, "during");

    // ## Without its data it is somebody new
    site.lose_data(2);
    site.start(2);
    site.until_well();
    assert!(reads(&store, "before") && reads(&store, "during"));

    // ## All together
    (0..3).for_each(|place| site.stop(place));
    site.start_all();
    assert!(reads(&store, "before") && reads(&store, "during"));
}

#[test]
fn a_member_that_forgot_does_not_begin_anew() {
    let mut site = Site::new();
    site.start_all();
    write(&site.store(), "before");
    (0..3).for_each(|place| site.stop(place));
    site.lose_data(0);
    site.start(0);
    site.until(0, "it refuses", |report| report.state == State::Failed && report.because.contains("data is gone"));
    site.start(1);
    site.start(2);
    site.until_well();
    assert!(reads(&site.store(), "before"));
}

#[test]
fn the_lead_leaves_the_primary() {
    let mut site = Site::new();
    site.start_all();
    let store = site.store();
    let leads = |place: usize| {
        site.running[place].as_ref().unwrap().reporter.current().facts.iter().any(|(_, value)| value == "leads")
    };
    eventually("somebody leads", || (0..3).any(leads));
    let leader = (0..3).find(|place| leads(*place)).unwrap();
    let value = format!("{{\"server\":\"{}\",\"address\":\"127.0.0.1:3306\"}}", site.name(leader)).into_bytes();
    within(async {
        let (_, now) = store.list("database/").await.unwrap();
        let mut watch = store.watch("database/", now);
        let put = Write::Put { key: "database/leader".into(), value, lease: None };
        store.transact(&[], &[put]).await.unwrap();
        assert!(matches!(watch.next().await, Event::Put { .. }));
    });
    eventually("another member leads", || !leads(leader) && (0..3).any(leads));
}

/// A store of one that was written to, and is to be one of three.
fn grown() -> Site {
    let mut site = Site::new();
    let all = site.config.members.clone();
    site.replan(all[..1].to_vec());
    site.start(0);
    site.until(0, "one member serves", |report| report.state == State::Serving);
    write(&site.store(), "before");
    site.replan(all);
    site
}

#[test]
fn one_member_becomes_three() {
    let mut site = grown();
    site.start_all();
    assert!(reads(&site.store(), "before"));
}

/// etcd makes folders before it asks the others whether it may come in: what a first start that failed leaves is no data.
#[test]
fn a_member_that_was_killed_at_its_first_start_comes_in() {
    let mut site = grown();
    std::fs::create_dir_all(site.state(1).join("data/store/etcd/member/snap")).unwrap();
    site.start_all();
    assert!(reads(&site.store(), "before"));
}

#[test]
#[ignore = "takes a minute: who is no member any more is put out after half of one"]
fn another_server_takes_over_a_vote() {
    let mut site = Site::of(4);
    let mut all = site.config.members.clone();
    site.replan(all[..3].to_vec());
    site.start_all();
    write(&site.store(), "before");
    all.remove(2);
    site.replan(all);
    [0, 1, 3].into_iter().for_each(|place| site.start(place));
    let begun = std::time::Instant::now();
    let well = |place: usize| site.running[place].as_ref().unwrap().reporter.current().state == State::Serving;
    while ![0, 1, 3].into_iter().all(well) {
        assert!(begun.elapsed() < 6 * DEADLINE, "{:#?}", site.running[3].as_ref().unwrap().reporter.current());
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    assert!(reads(&site.store(), "before"));
}

/// Processes of before an upgrade, started by an older program with other arguments.
struct Before(Vec<std::process::Child>);

impl Before {
    /// Ends the members and starts them again as an older program would have.
    fn take_the_place_of(site: &mut Site) -> Before {
        let line = |pid: Pid| std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap();
        let lines: Vec<Vec<u8>> = (0..3).map(|place| line(site.etcd(place))).collect();
        (0..3).for_each(|place| site.stop(place));
        let spawn = |line: Vec<u8>| {
            let line = String::from_utf8(line).unwrap().replace("--log-level=warn", "--log-level=error");
            let mut words = line.trim_end_matches('\0').split('\0');
            let mut command = std::process::Command::new(words.next().unwrap());
            command.args(words).stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
        };
        Before(lines.into_iter().map(spawn).collect())
    }

    /// How many of them have been replaced.
    fn gone(&self) -> usize {
        // Whoever adopted one waits for it too, so its exit code may be gone.
        self.0.iter().filter(|child| !std::path::Path::new(&format!("/proc/{}", child.id())).exists()).count()
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn other_arguments_restart_one_member_after_the_other() {
    let mut site = Site::new();
    site.start_all();
    let store = site.store();
    write(&store, "before");
    let before = Before::take_the_place_of(&mut site);
    write_in_the_end(&store, "by the members of before");
    // A change of a leader takes etcd up to two seconds; without a majority nothing would be written until two are back.
    (0..3).for_each(|place| site.start(place));
    let mut away: Vec<bool> = Vec::new();
    eventually("all were restarted", || {
        let answering = within(async {
            let mut count = 0;
            for (name, endpoint) in site.endpoints() {
                let secrets = site.secrets.of(&name);
                let one = Store::of(&crate::etcd::SITE.into(), &name, &[(name.clone(), endpoint)], &secrets);
                count += usize::from(one.unwrap().unwrap().get("before").await.is_ok());
            }
            count
        });
        away.push(answering < 2);
        before.gone() == 3
    });
    site.until_well();
    // One look may fall into an election; two members away for longer would be seen in many.
    assert!(away.iter().filter(|away| **away).count() <= away.len() / 2, "{away:?}");
    assert!(reads(&store, "before"));
}
