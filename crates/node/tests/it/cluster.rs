//! Database roles that agree by Debian's etcd, with real MariaDBs.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mainstay_node::database;
use mainstay_node::service::{Launch, Sockets};
use mainstay_site::model::{Durability, Failover, SemiSync};
use mainstay_site::names::{Role, ServerName};
use mainstay_site::plan::{self, Config, DatabaseRole, Fellow};
use mainstay_site::wire::State;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::etcd;
use crate::mariadb::login;
use crate::support::{self, Running, eventually, free, secrets};

/// Members of one cluster and the store that they agree by.
struct Site {
    store: etcd::Cluster,
    runtime: tokio::runtime::Runtime,
    members: Vec<Member>,
}

struct Member {
    name: ServerName,
    config: plan::Database,
    folder: TempDir,
    running: Option<Running>,
    process: Option<Child>,
}

impl Site {
    /// `count` database servers that nothing was started of.
    fn new(count: usize) -> Site {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = runtime.block_on(etcd::Cluster::start(count));
        let fellow = |number: usize| Fellow {
            server: ServerName::from(format!("s{number}").as_str()),
            server_id: number as u32,
            address: free(),
            replication: free(),
            copies: free(),
        };
        let fellows: Vec<Fellow> = (1..=count).map(fellow).collect();
        let members = fellows.iter().map(|fellow| Member::new(fellow, &fellows, &store)).collect();
        Site { store, runtime, members }
    }

    fn started(count: usize) -> Site {
        let mut site = Site::new(count);
        for place in 0..count {
            site.start(place);
        }
        site
    }

    /// Starts a role in this process.
    fn start(&mut self, place: usize) {
        let launch = self.launch(place);
        let member = &mut self.members[place];
        let config = member.config.clone();
        let listener = TcpListener::bind(member.fellow().copies).unwrap();
        let sockets = Sockets { tcp: vec![("copies".into(), listener)], ..Sockets::default() };
        member.running = Some(Running::start(launch, sockets, move |context| database::run(context, &config).unwrap()));
    }

    /// Starts a role in a process of its own, which can be killed.
    fn spawn(&mut self, place: usize) {
        let launch = self.launch(place);
        let member = &mut self.members[place];
        fs::write(member.folder.path().join("launch.json"), serde_json::to_vec(&launch).unwrap()).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["database::a_role_in_a_process_of_its_own", "--exact", "--ignored"])
            .env("MAINSTAY_TEST_STATE", member.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        member.process = Some(child);
    }

    fn launch(&self, place: usize) -> Launch {
        let member = &self.members[place];
        let config = Config::Database(member.config.clone());
        let mut launch = support::launch("database", Role::Database, config, member.folder.path());
        launch.server = member.name.clone();
        launch.secrets = self.store.secrets.of(&member.name);
        launch
    }

    /// Who takes writes now.
    fn primary(&self) -> Option<usize> {
        self.members.iter().position(|member| member.query("SELECT @@read_only").as_deref() == Ok("0"))
    }

    fn until_primary(&self) -> usize {
        let mut found = None;
        eventually("somebody takes writes", || {
            found = self.primary();
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until somebody takes writes and these may acknowledge to it.
    fn until_sync(&self, who: &str) -> usize {
        eventually(&format!("{who} may acknowledge"), || {
            self.primary().is_some() && self.fact("may acknowledge") == Some(who.to_owned())
        });
        self.until_primary()
    }

    fn fact(&self, name: &str) -> Option<String> {
        let record = self.runtime.block_on(async { self.store.store().get("database/cluster").await.unwrap() })?;
        let record: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        let sync: Vec<&str> = record["sync"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
        match name {
            "may acknowledge" => Some(sync.join(", ")),
            _ => Some(record[name].to_string()),
        }
    }

    /// Writes rows until `count` more were acknowledged; returns the longest time in which none was.
    fn write(&self, count: usize, written: &mut Vec<u64>) -> Duration {
        let (mut last, mut gap) = (Instant::now(), Duration::ZERO);
        let mut acknowledged = 0;
        let begun = Instant::now();
        while acknowledged < count {
            assert!(begun.elapsed() < support::DEADLINE * 2, "{acknowledged} of {count} writes");
            let number = written.last().map_or(1, |last| last + 1) + 1_000_000 * u64::from(gap > Duration::ZERO);
            let Some(place) = self.primary() else { continue };
            if self.members[place].site(&format!("INSERT INTO site.t VALUES ({number})")).is_ok() {
                gap = gap.max(last.elapsed());
                last = Instant::now();
                written.push(number);
                acknowledged += 1;
            }
        }
        gap
    }

    /// All of `written` is everywhere, and the same.
    fn assert_all(&self, written: &[u64]) {
        let count = "SELECT COUNT(*) FROM site.t";
        for member in &self.members {
            eventually(&format!("{} has every acknowledged row", member.name), || {
                let found = member.query(count).ok().and_then(|text| text.parse::<usize>().ok());
                found.is_some_and(|found| found >= written.len())
            });
        }
        let sums = || -> Vec<_> { self.members.iter().map(|member| member.query("CHECKSUM TABLE site.t")).collect() };
        eventually("all have the same rows", || sums().windows(2).all(|pair| pair[0].is_ok() && pair[0] == pair[1]));
        let text = self.members[0].query("SELECT i FROM site.t").unwrap();
        let rows: std::collections::HashSet<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        let lost: Vec<_> = written.iter().filter(|number| !rows.contains(number)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    }
}

impl Member {
    fn new(own: &Fellow, all: &[Fellow], store: &etcd::Cluster) -> Member {
        let folder = tempfile::Builder::new().prefix("msc-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let config = plan::Database {
            address: own.address,
            server_id: own.server_id,
            role: DatabaseRole::Primary,
            durability: Durability::SemiSync,
            replicas: all.len() - 1,
            schemas: vec!["site".into()],
            data: "data/database/mariadb".into(),
            store: store.endpoints(),
            members: all.to_vec(),
            failover: Failover::Automatic,
            semi_sync: SemiSync::Available,
            lease_ms: 3_000,
            applications: Vec::new(),
            backup: None,
            binlog_keep: Default::default(),
        };
        Member { name: own.server.clone(), config, folder, running: None, process: None }
    }

    fn fellow(&self) -> &Fellow {
        self.config.members.iter().find(|fellow| fellow.server == self.name).unwrap()
    }

    fn query(&self, sql: &str) -> Result<String, String> {
        let socket = self.run_file("mariadb.sock");
        let output = Command::new("mariadb")
            .args(["--no-defaults", "--batch", "--skip-column-names", "--user=mainstay_admin"])
            .arg(format!("--socket={}", socket.display()))
            .args(["--execute", sql])
            .env("MYSQL_PWD", secrets().database_admin)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn site(&self, sql: &str) -> Result<String, String> {
        site_at(self.config.address, sql)
    }

    fn run_file(&self, name: &str) -> PathBuf {
        self.folder.path().join("run/database").join(name)
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(fs::read_to_string(self.run_file("mariadb.pid")).ok()?.trim().parse().ok()?)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid().unwrap(), signal).unwrap();
    }
}

fn site_at(address: SocketAddr, sql: &str) -> Result<String, String> {
    login(address, "site", &secrets().database[&"site".into()], sql)
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        drop(self.running.take());
        let Some(pid) = self.pid() else { return };
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        let ours = self.folder.path().as_os_str().as_encoded_bytes();
        if line.windows(ours.len()).any(|part| part == ours) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn an_empty_cluster_makes_itself_and_a_killed_primary_is_replaced() {
    let site = Site::started(2);
    assert_eq!(site.until_sync("s2"), 0, "the declared primary first");
    site.members[0].site("CREATE TABLE site.t (i BIGINT PRIMARY KEY)").unwrap();
    let mut written = Vec::new();
    site.write(20, &mut written);
    site.members[0].signal(Signal::KILL);
    let gap = site.write(20, &mut written);
    assert_eq!(site.until_primary(), 1);
    println!("the gap was {} ms", gap.as_millis());
    assert_eq!(site.until_sync("s1"), 1, "the old primary is back as a replica");
    site.assert_all(&written);
    assert!(site.members[1].running.as_ref().unwrap().reporter.current().state <= State::Degraded);
}

#[test]
fn the_death_of_a_role_disturbs_nobody() {
    let mut site = Site::new(2);
    site.spawn(0);
    site.start(1);
    assert_eq!(site.until_sync("s2"), 0);
    site.members[0].site("CREATE TABLE site.t (i BIGINT PRIMARY KEY)").unwrap();
    let (mut written, epoch) = (Vec::new(), site.fact("epoch"));
    site.write(5, &mut written);
    let pid = site.members[0].pid();
    let mut role = site.members[0].process.take().unwrap();
    role.kill().unwrap();
    role.wait().unwrap();
    let gap = site.write(5, &mut written);
    site.start(0);
    // Longer than the lease that the dead role had: the new one has taken the office over by then.
    let begun = Instant::now();
    let mut longest = gap;
    while begun.elapsed() < Duration::from_secs(5) {
        longest = longest.max(site.write(1, &mut written));
    }
    println!("the gap was {} ms", longest.as_millis());
    assert!(longest < Duration::from_secs(1), "writes went on: {longest:?}");
    assert_eq!((site.fact("epoch"), site.members[0].pid()), (epoch, pid), "the same leadership of the same process");
    site.until_sync("s2");
    site.assert_all(&written);
}

#[test]
fn everything_off_at_once_and_on_again_loses_nothing() {
    let mut site = Site::new(2);
    (0..2).for_each(|place| site.spawn(place));
    assert_eq!(site.until_sync("s2"), 0);
    site.members[0].site("CREATE TABLE site.t (i BIGINT PRIMARY KEY)").unwrap();
    let mut written = Vec::new();
    site.write(20, &mut written);
    for member in &mut site.members {
        let mut role = member.process.take().unwrap();
        role.kill().unwrap();
        role.wait().unwrap();
        member.signal(Signal::KILL);
    }
    // The replica first: it may lead, since it may have acknowledged, and the primary may, since it has everything.
    site.start(1);
    site.start(0);
    site.until_primary();
    site.write(20, &mut written);
    let primary = site.until_primary();
    site.until_sync(if primary == 0 { "s2" } else { "s1" });
    site.assert_all(&written);
}

#[test]
fn a_diverged_member_is_copied_anew_and_what_only_it_had_is_written_out() {
    let mut site = Site::started(2);
    assert_eq!(site.until_sync("s2"), 0);
    site.members[0].site("CREATE TABLE site.t (i BIGINT PRIMARY KEY)").unwrap();
    let mut written = Vec::new();
    site.write(5, &mut written);
    // What no election does: a write on a replica, as a person with too many rights could make it.
    site.members[1].query("INSERT INTO site.t VALUES (424242)").unwrap();
    drop(site.members[1].running.take());
    site.write(5, &mut written);
    site.start(1);
    site.until_sync("s2");
    site.assert_all(&written);
    assert_eq!(site.members[1].query("SELECT COUNT(*) FROM site.t WHERE i = 424242").as_deref(), Ok("0"));
    let folder = site.members[1].folder.path().join("data/database");
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let text: String = files
        .filter(|file| file.extension().is_some_and(|it| it == "sql"))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    assert!(text.contains("@1=424242"), "{folder:?}");
    assert!(folder.join("mariadb.aside").exists());
}

#[test]
fn of_three_the_furthest_leads_and_the_others_follow_it() {
    let site = Site::started(3);
    eventually("both replicas may acknowledge", || site.fact("may acknowledge").as_deref() == Some("s2, s3"));
    site.members[0].site("CREATE TABLE site.t (i BIGINT PRIMARY KEY)").unwrap();
    let mut written = Vec::new();
    site.write(20, &mut written);
    site.members[0].signal(Signal::KILL);
    let gap = site.write(20, &mut written);
    println!("the gap was {} ms", gap.as_millis());
    let primary = site.until_primary();
    assert_ne!(primary, 0);
    eventually("all three agree again", || {
        site.fact("may acknowledge").is_some_and(|sync| sync.split(", ").count() == 2)
    });
    site.assert_all(&written);
}
