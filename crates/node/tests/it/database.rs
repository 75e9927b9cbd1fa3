//! The database role with a real MariaDB.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use mainstay_node::database;
use mainstay_node::service::{Asks, Context, Launch, Launches, Purges, Reporter, Shutdown, Sockets, Yields};
use mainstay_site::plan::{Config, DatabaseRole};
use mainstay_site::wire::State;

use crate::mariadb::{Server, login};
use crate::support::{eventually, free, log, secrets};

/// Not a test: what [`Server::role_process`] starts.
#[test]
#[ignore = "started by the tests that kill a role"]
fn a_role_in_a_process_of_its_own() {
    let Some(state) = std::env::var_os("MAINSTAY_TEST_STATE") else { return };
    log();
    let text = fs::read(std::path::Path::new(&state).join("launch.json")).unwrap();
    let launch: Launch = serde_json::from_slice(&text).unwrap();
    let Config::Database(config) = launch.service.config.clone() else { panic!("a database's launch") };
    let (_never, shutdown) = Shutdown::new();
    let context = Context {
        launch,
        sockets: copies(&config),
        reporter: Reporter::default(),
        shutdown,
        launches: Launches::default(),
        purges: Purges::default(),
        asks: Asks::default(),
        yields: Yields::default(),
    };
    database::run(context, &config).unwrap();
}

/// Where a member of a cluster gives its data to others.
fn copies(config: &mainstay_site::plan::Database) -> Sockets {
    let own = config.members.iter().find(|member| member.server_id == config.server_id);
    let listen = |own: &mainstay_site::plan::Fellow| ("copies".into(), TcpListener::bind(own.copies).unwrap());
    Sockets { tcp: own.map(listen).into_iter().collect(), ..Sockets::default() }
}

#[test]
fn the_first_start_leaves_the_planned_accounts_and_no_others() {
    let server = Server::primary(0);
    let role = server.serve();
    let accounts = server.admin("SELECT CONCAT(User, '@', Host) FROM mysql.user ORDER BY 1");
    assert_eq!(
        accounts.lines().collect::<Vec<_>>(),
        ["mainstay_admin@localhost", "mainstay_check@%", "mainstay_replication@%", "mariadb.sys@localhost", "site@%"]
    );
    let grants = |user: &str| {
        let lines = server.admin(&format!("SHOW GRANTS FOR {user}"));
        lines.lines().map(|line| line.split(" TO ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(grants("site"), ["GRANT USAGE ON *.*", "GRANT ALL PRIVILEGES ON `site`.*"]);
    assert_eq!(grants("mainstay_check"), ["GRANT SLAVE MONITOR ON *.*"]);
    assert_eq!(grants("mainstay_replication"), ["GRANT REPLICATION SLAVE ON *.*"]);
    assert_eq!(server.admin("SHOW DATABASES LIKE 'test'"), "");
    let refused = login(server.config.address, "root", "", "SELECT 1").unwrap_err();
    assert!(refused.contains("Access denied"), "{refused}");

    server.site("CREATE TABLE site.t (i INT PRIMARY KEY); INSERT INTO site.t VALUES (1)").unwrap();
    assert!(server.site("CREATE DATABASE other").unwrap_err().contains("denied"));
    assert!(server.site("SET GLOBAL read_only = 1").unwrap_err().contains("denied"));
    let report = role.reporter.current();
    assert_eq!((report.state, report.because.as_str()), (State::Serving, "taking writes"));
    assert_eq!(report.parts[0].name, "mariadbd");
    assert!(report.counters["queries_total"] > 0);
}

#[test]
fn durable_by_configuration() {
    let server = Server::primary(1);
    let _role = server.serve();
    let settings = "SELECT @@sync_binlog, @@innodb_flush_log_at_trx_commit, @@sync_relay_log, @@gtid_strict_mode, \
                    @@binlog_format, @@log_slave_updates, @@rpl_semi_sync_slave_enabled, \
                    @@rpl_semi_sync_master_wait_point, @@rpl_semi_sync_master_enabled, @@read_only, @@log_bin_basename \
                    LIKE '%/binlog', @@relay_log, @@skip_name_resolve, @@character_set_server";
    assert_eq!(
        server.admin(settings).split('\t').collect::<Vec<_>>(),
        ["1", "1", "1", "1", "ROW", "1", "1", "AFTER_SYNC", "1", "0", "1", "relay", "1", "utf8mb4"]
    );
    let file = fs::read_to_string(server.state().join("run/database/my.cnf")).unwrap();
    assert!(file.contains("read_only = 1\n"), "a restart is closed until it was looked at");
}

#[test]
fn a_restart_keeps_the_data_and_writes_nothing() {
    let server = Server::primary(0);
    let first = server.serve();
    server.site("CREATE TABLE site.t (i INT PRIMARY KEY); INSERT INTO site.t VALUES (1)").unwrap();
    let position = server.admin("SELECT @@gtid_binlog_pos");
    let pid = server.pid().unwrap();
    drop(first);
    server.until_gone(pid);
    let _second = server.serve();
    assert_eq!(server.site("SELECT i FROM site.t").unwrap(), "1");
    assert_eq!(server.admin("SELECT @@gtid_binlog_pos"), position, "accounts that are right are left alone");
}

#[test]
fn a_killed_primary_is_back_at_once_with_all_that_it_acknowledged() {
    let server = Server::primary(0);
    let role = server.serve();
    server.site("CREATE TABLE site.t (i INT AUTO_INCREMENT PRIMARY KEY)").unwrap();
    let (mut acknowledged, mut killed) = (0, false);
    let start = Instant::now();
    while acknowledged < 20 {
        match server.site("INSERT INTO site.t () VALUES (); SELECT LAST_INSERT_ID()") {
            Ok(id) => acknowledged = id.parse().unwrap(),
            Err(_) => assert!(killed && start.elapsed() < crate::support::DEADLINE),
        }
        if acknowledged == 10 && !killed {
            killed = true;
            server.kill();
        }
    }
    let count: u64 = server.site("SELECT COUNT(*) FROM site.t WHERE i <= 20").unwrap().parse().unwrap();
    assert!(killed && count >= acknowledged, "{count} of {acknowledged}");
    role.until("the crash is counted", |report| report.counters.get("mariadbd_restarts_total") == Some(&1));
}

#[test]
fn the_next_role_adopts_what_a_killed_one_leaves() {
    let server = Server::primary(0);
    let mut first = server.role_process();
    eventually("the first role's database takes writes", || server.site("CREATE TABLE site.t (i INT)").is_ok());
    let pid = server.pid().unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    server.site("INSERT INTO site.t VALUES (1)").expect("nobody looks after it, and it serves");
    let second = server.serve();
    second.until("it has the same process", |report| {
        report.parts[0].pid == Some(pid.as_raw_nonzero().get().unsigned_abs())
    });
    drop(second);
    server.until_gone(pid);
}

#[test]
fn an_unusable_port_is_named_with_what_to_do() {
    let server = Server::primary(0);
    let _other = TcpListener::bind(server.config.address).unwrap();
    let role = server.run();
    role.until("the taken port is named", |report| {
        report.state == State::Failed
            && report.because.contains("already in use")
            && report.because.contains("ss -ltnp")
    });
}

#[test]
fn a_password_that_the_data_do_not_know() {
    let server = Server::primary(0);
    drop(server.serve());
    let config = server.config.clone();
    let mut launch = server.launch();
    launch.secrets.database_admin = "another".into();
    let run = move |context| database::run(context, &config).unwrap();
    let role = crate::support::Running::start(launch, Sockets::default(), run);
    role.until("secrets.json is named", |report| {
        report.state == State::Failed && report.because.contains("secrets.json")
    });
}

#[test]
fn a_changed_password_is_changed_on_the_server() {
    let server = Server::primary(0);
    drop(server.serve());
    let config = server.config.clone();
    let mut launch = server.launch();
    launch.secrets.database.insert("site".into(), "fresh".into());
    let run = move |context| database::run(context, &config).unwrap();
    let role = crate::support::Running::start(launch, Sockets::default(), run);
    role.until("it serves", |report| report.state == State::Serving);
    assert_eq!(login(server.config.address, "site", "fresh", "SELECT 1").unwrap(), "1");
    let old = &secrets().database[&"site".into()];
    assert!(login(server.config.address, "site", old, "SELECT 1").is_err());
}

#[test]
fn a_replica_follows_and_a_primary_alone_does_not_hang() {
    let primary = Server::primary(1);
    let replica = Server::replica_of(&primary);
    let primary_role = primary.serve();
    let replica_role = replica.serve();
    replica_role.until("it replays", |report| report.because == "replica of db1, 0 s behind");
    primary_role.until("a replica acknowledges", |report| report.state == State::Serving);
    primary.site("CREATE TABLE site.t (i INT PRIMARY KEY); INSERT INTO site.t VALUES (1)").unwrap();
    eventually("it is replayed", || replica.site("SELECT i FROM site.t").as_deref() == Ok("1"));
    assert!(primary_role.reporter.current().counters.contains_key("commits_acknowledged_total"));
    let refused = replica.site("INSERT INTO site.t VALUES (2)").unwrap_err();
    assert!(refused.contains("1290"), "a replica takes no writes: {refused}");

    drop(replica_role);
    let start = Instant::now();
    primary.site("INSERT INTO site.t VALUES (3)").unwrap();
    assert!(start.elapsed().as_millis() < 3_000, "it waits for a second at most: {:?}", start.elapsed());
    primary_role.until("it says so", |report| {
        report.state == State::Degraded && report.because.contains("no replica acknowledges since")
    });

    let replica_role = replica.serve();
    eventually("it catches up", || replica.site("SELECT COUNT(*) FROM site.t").as_deref() == Ok("2"));
    primary_role.until("a replica acknowledges again", |report| report.state == State::Serving);
    replica.kill();
    replica_role.until("the crash is counted", |report| report.counters.get("mariadbd_restarts_total") == Some(&1));
    primary.site("INSERT INTO site.t VALUES (4)").unwrap();
    eventually("it catches up", || replica.site("SELECT COUNT(*) FROM site.t").as_deref() == Ok("3"));

    drop(primary_role);
    replica_role.until("it says that the primary is gone", |report| report.state == State::Degraded);
    assert_eq!(replica.site("SELECT COUNT(*) FROM site.t").unwrap(), "3", "it serves reads all the same");
}

#[test]
fn a_plan_that_contradicts_the_data_is_refused() {
    let mut server = Server::primary(0);
    drop(server.serve());
    let address = free();
    server.config.role = DatabaseRole::Replica { of: "db1".into(), address };
    let role = server.run();
    role.until("its own history is named", |report| {
        report.state == State::Failed && report.because.contains("transactions of its own")
    });
    assert_eq!(server.admin("SELECT @@read_only"), "1");
    drop(role);

    let elsewhere = Server::primary(0);
    let mut empty = Server::replica_of(&elsewhere);
    let role = empty.run();
    role.until("it waits for its source", |report| report.because.contains("cannot be reached"));
    drop(role);
    empty.config.role = DatabaseRole::Primary;
    let role = empty.run();
    role.until("the former role is named", |report| {
        report.state == State::Failed && report.because.contains("is a replica of")
    });
    assert!(empty.data().exists());
}

#[test]
fn a_changed_address_restarts_what_was_adopted() {
    let mut server = Server::primary(0);
    let mut first = server.role_process();
    eventually("the first role's database takes writes", || server.site("CREATE TABLE site.t (i INT)").is_ok());
    let pid = server.pid().unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    server.config.address = free();
    let _second = server.serve();
    assert_ne!(server.pid(), Some(pid));
    assert_eq!(server.site("SELECT COUNT(*) FROM site.t").unwrap(), "0");
}

#[test]
fn a_folder_that_mariadbd_may_not_enter_is_named() {
    let server = Server::primary(0);
    drop(server.serve());
    fs::set_permissions(server.data(), fs::Permissions::from_mode(0o000)).unwrap();
    let role = server.run();
    role.until("whom the folder must belong to", |report| {
        report.state == State::Failed && report.because.contains("must belong to the database's user")
    });
}

#[test]
fn an_installation_that_fails_leaves_nothing_to_be_used() {
    let server = Server::primary(0);
    let parent = server.data().parent().unwrap().to_owned();
    fs::create_dir_all(parent.join("mariadb.making/mysql")).unwrap();
    let _role = server.serve();
    assert!(parent.join("mariadb.failed/mysql").exists(), "what an interrupted start left is kept aside");
    assert!(!parent.join("mariadb.making").exists());
}
