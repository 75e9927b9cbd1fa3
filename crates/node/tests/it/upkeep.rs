//! Backups, going back in time, and comparing, with real MariaDB servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_site::model::{Backup, BinlogKeep};
use mainstay_site::names::ServerName;
use mainstay_site::plan::Fellow;
use mainstay_site::wire::State;
use mainstay_site::wire::upkeep::{Ask, Job, Outcome, Told};

use crate::mariadb::Server;
use crate::support::{Running, eventually};

fn ask(running: &Running, ask: Ask) -> Result<Told, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(running.asks.ask(ask)).expect("the database answers such questions");
    answer.map_err(|refusal| refusal.error)
}

/// Begins a job and waits for its end.
fn work(running: &Running, begin: Ask) -> Result<Vec<(String, String)>, String> {
    ask(running, begin)?;
    let mut job: Option<Job> = None;
    eventually("the job ends", || {
        let Ok(Told::Job { job: Some(now) }) = ask(running, Ask::Job) else { panic!("there is a job") };
        job = Some(now);
        job.as_ref().is_some_and(|job| job.outcome.is_some())
    });
    match job.and_then(|job| job.outcome) {
        Some(Outcome::Done(told)) => Ok(told),
        Some(Outcome::Failed(why)) => Err(why),
        None => panic!("it has ended"),
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Binary logs know seconds: what happens next is in a later one than what happened before.
fn next_second() -> u64 {
    let before = now_s();
    eventually("the next second begins", || now_s() > before);
    now_s()
}

fn backup_to(folder: &Path, test: bool) -> Ask {
    Ask::Backup { to: Some(folder.display().to_string()), test }
}

fn restore(folder: &Path, until_s: u64) -> Ask {
    Ask::Restore { until_s, from: Some(folder.display().to_string()) }
}

#[test]
fn a_table_that_was_dropped_comes_back_as_it_was_a_second_before() {
    let server = Server::primary(0);
    let running = server.serve();
    let folder = server.state().join("backups");
    server.site("CREATE TABLE site.t (i INT PRIMARY KEY, s VARCHAR(9)); INSERT INTO site.t VALUES (1, 'one')").unwrap();
    let told = work(&running, backup_to(&folder, true)).unwrap();
    let tested = &told.iter().find(|(what, _)| what == "restore test").unwrap().1;
    assert!(tested.starts_with("1 tables are whole"), "{tested}");

    server.site("INSERT INTO site.t VALUES (2, 'zwei'), (3, 'drü')").unwrap();
    server.site("CREATE VIEW site.v AS SELECT COUNT(*) AS n FROM site.t").unwrap();
    let dropped_s = next_second();
    server.site("INSERT INTO site.t VALUES (4, 'late'); DROP TABLE site.t").unwrap();
    assert!(server.site("SELECT * FROM site.t").is_err());

    let told = work(&running, restore(&folder, dropped_s)).unwrap();
    assert_eq!(told[0], ("restored".to_owned(), "site".to_owned()));
    assert_eq!(server.site("SELECT GROUP_CONCAT(i, s ORDER BY i) FROM site.t").unwrap(), "1one,2zwei,3drü");
    assert_eq!(server.site("SELECT n FROM site.v").unwrap(), "3");
    assert!(!folder.join(".scratch").exists() && !folder.join(".making").exists());

    let error = work(&running, restore(&folder, now_s() + 100)).unwrap_err();
    assert!(error.contains("is to come"), "{error}");

    // Going back in time is a change like another, and can be taken back.
    let before_the_restore = now_s();
    assert!(before_the_restore >= dropped_s);
    let error = work(&running, restore(&folder, 1_000)).unwrap_err();
    assert!(error.contains("as old as that"), "{error}");
    let error = work(&running, restore(Path::new("/nonexistent"), dropped_s)).unwrap_err();
    assert!(error.contains("no full backup in /nonexistent"), "{error}");
    assert_eq!(server.site("SELECT COUNT(*) FROM site.t").unwrap(), "3", "what failed changed nothing");
}

/// Written as a statement it is twice as long as it is, and more than MariaDB takes by default.
#[test]
fn a_large_row_comes_back() {
    let server = Server::primary(0);
    let running = server.serve();
    let folder = server.state().join("backups");
    server.site("CREATE TABLE site.t (i INT PRIMARY KEY, b LONGBLOB)").unwrap();
    server.site("INSERT INTO site.t VALUES (1, REPEAT('x', 9000000))").unwrap();
    work(&running, backup_to(&folder, false)).unwrap();
    server.site("INSERT INTO site.t VALUES (2, REPEAT('y', 13000000))").unwrap();
    work(&running, restore(&folder, next_second())).unwrap();
    assert_eq!(server.site("SELECT GROUP_CONCAT(LENGTH(b) ORDER BY i) FROM site.t").unwrap(), "9000000,13000000");
}

#[test]
fn what_a_replica_archives_is_not_taken_for_more_than_it_is() {
    let primary = Server::primary(1);
    let replica = Server::replica_of(&primary);
    let (_running, keeping) = (primary.serve(), replica.serve());
    let folder = replica.state().join("backups");
    primary.site("CREATE TABLE site.t (i INT PRIMARY KEY); INSERT INTO site.t VALUES (1)").unwrap();
    let has = |rows: &str| {
        eventually("the replica has it", || replica.site("SELECT COUNT(*) FROM site.t").as_deref() == Ok(rows))
    };
    has("1");
    work(&keeping, backup_to(&folder, false)).unwrap();

    // It is behind, and begins a log meanwhile.
    replica.admin("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 9; START SLAVE");
    primary.site("INSERT INTO site.t VALUES (2)").unwrap();
    let until_s = next_second();
    next_second();
    replica.admin("FLUSH BINARY LOGS");
    let error = work(&keeping, restore(&folder, until_s)).unwrap_err();
    assert!(error.contains("UTC only") && error.contains("did not catch up with the primary"), "{error}");
    assert_eq!(primary.site("SELECT COUNT(*) FROM site.t").unwrap(), "2", "what failed changed nothing");
    primary.site("INSERT INTO site.t VALUES (3)").unwrap();
    has("3");
    replica.admin("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 0; START SLAVE");

    let count = |until_s: u64| {
        work(&keeping, restore(&folder, until_s)).unwrap();
        primary.site("SELECT COUNT(*) FROM site.t").unwrap()
    };
    assert_eq!(count(until_s), "2", "a log that was begun later has what was written before");
    assert_eq!(count(until_s - 1), "1");
    assert_eq!(count(next_second()), "1", "a restore is a change like another");
}

#[test]
fn backups_are_made_by_themselves_and_the_archive_follows() {
    let mut server = Server::primary(0);
    let folder: PathBuf = server.state().join("backups");
    let declared = Backup { to: folder.display().to_string(), every: Duration::from_secs(1), keep: 2 };
    server.config.backup = Some(declared);
    let running = server.serve();
    server.site("CREATE TABLE site.t (i INT PRIMARY KEY)").unwrap();
    let fulls = || {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("full-"));
        names.sort();
        names
    };
    eventually("there is a backup", || !fulls().is_empty());
    let first = fulls().remove(0);
    eventually("old ones go", || fulls().len() == 2 && fulls()[0] != first);
    let told = || running.reporter.told();
    eventually("the report has it", || {
        told().facts.iter().any(|(what, text)| what == "last backup" && text.contains("whole"))
    });
    assert_eq!(told().state, State::Serving);

    // One that cannot be made is said.
    drop(running);
    let declared = Backup { to: "/proc/nothing".into(), every: Duration::from_secs(1), keep: 2 };
    server.config.backup = Some(declared);
    let running = server.serve();
    eventually("the fault shows", || running.reporter.told().because.contains("binary logs are not archived"));
}

#[test]
fn what_differs_on_a_replica_is_found() {
    let mut primary = Server::primary(1);
    let replica = Server::replica_of(&primary);
    let member = |name: &str, server: &Server| Fellow {
        server: ServerName::from(name),
        server_id: server.config.server_id,
        address: server.config.address,
        replication: server.config.address,
        copies: server.config.address,
    };
    primary.config.members = vec![member("server1", &primary), member("db2", &replica)];
    let (running, following) = (primary.serve(), replica.serve());
    primary
        .site("CREATE TABLE site.t (i INT PRIMARY KEY, s TEXT); INSERT INTO site.t VALUES (1, 'a'), (2, NULL)")
        .unwrap();
    primary.site("CREATE TABLE site.u (i INT PRIMARY KEY)").unwrap();
    eventually("the replica has it", || replica.site("SELECT COUNT(*) FROM site.u").as_deref() == Ok("0"));
    let told = work(&running, Ask::Verify).unwrap();
    assert_eq!(told[0], ("equal".to_owned(), "2 tables of server1 and db2".to_owned()));

    replica.admin("SET sql_log_bin = 0; UPDATE site.t SET s = 'b' WHERE i = 1; DROP TABLE site.u");
    let error = work(&running, Ask::Verify).unwrap_err();
    assert!(error.contains("site.t on db2 is not what it is on server1"), "{error}");
    assert!(error.contains("site.u is missing on db2"), "{error}");
    let error = work(&following, Ask::Verify).unwrap_err();
    assert!(error.contains("is not the primary"), "{error}");
    primary.site("INSERT INTO site.t VALUES (3, 'commits go on')").unwrap();
}

/// As the declaration's keys say, with seconds in the place of days.
#[test]
fn old_binary_logs_go_when_the_archive_has_them() {
    let mut server = Server::primary(0);
    let folder = server.state().join("backups");
    server.config.backup = Some(Backup { to: folder.display().to_string(), every: Duration::from_secs(3600), keep: 2 });
    server.config.binlog_keep = BinlogKeep(Duration::from_secs(1));
    let running = server.serve();
    server.site("CREATE TABLE site.t (i INT PRIMARY KEY)").unwrap();
    let logs = || server.admin("SHOW BINARY LOGS").lines().count();
    eventually("there is a backup", || {
        running.reporter.told().facts.iter().any(|(what, text)| what == "last backup" && text.contains("whole"))
    });
    server.admin("FLUSH BINARY LOGS; FLUSH BINARY LOGS; FLUSH BINARY LOGS");
    server.site("INSERT INTO site.t VALUES (1)").unwrap();
    eventually("only the one that is written stays", || logs() == 1);
    // What is gone here is in the archive: the backup can still be brought to any moment.
    let told = work(&running, restore(&folder, next_second())).unwrap();
    assert_eq!(told[0], ("restored".to_owned(), "site".to_owned()));
    assert_eq!(server.site("SELECT COUNT(*) FROM site.t").as_deref(), Ok("1"));
}
