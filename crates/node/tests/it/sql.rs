//! The SQL endpoints in front of real MariaDB servers.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use mainstay_node::service::Sockets;
use mainstay_node::sql;
use mainstay_site::names::{Role, ServerName};
use mainstay_site::plan::{self, Config};
use mainstay_site::wire::State;

use crate::mariadb::{Server, as_site, login};
use crate::support::{Running, eventually, free, launch};

struct Endpoints {
    running: Running,
    writer: SocketAddr,
    reader: SocketAddr,
    fresh: SocketAddr,
}

impl Endpoints {
    fn before(primary: SocketAddr, replicas: &[SocketAddr]) -> Endpoints {
        let named = |(index, address): (usize, &SocketAddr)| (ServerName(format!("db{}", index + 2)), *address);
        let config = plan::Sql {
            primary: (ServerName::from("db1"), primary),
            replicas: replicas.iter().enumerate().map(named).collect(),
            store: Vec::new(),
            max_lag_ms: 5_000,
        };
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets = ["writer", "reader", "fresh"].map(|name| (name.to_owned(), listen()));
        let [writer, reader, fresh] = sockets.each_ref().map(|(_, socket)| socket.local_addr().unwrap());
        let sockets = Sockets { tcp: sockets.into(), ..Sockets::default() };
        let launch = launch("sql", Role::App, Config::Sql(config.clone()), Path::new("/nonexistent"));
        let running = Running::start(launch, sockets, move |context| sql::run(context, &config).unwrap());
        Endpoints { running, writer, reader, fresh }
    }
}

#[test]
fn writes_to_the_primary_reads_from_the_replica() {
    let primary = Server::primary(1);
    let replica = Server::replica_of(&primary);
    let (_primary_role, replica_role) = (primary.serve(), replica.serve());
    let endpoints = Endpoints::before(primary.config.address, &[replica.config.address]);
    endpoints.running.until("both are fit", |report| report.state == State::Serving);
    as_site(endpoints.writer, "CREATE TABLE site.t (i INT PRIMARY KEY); INSERT INTO site.t VALUES (1)").unwrap();
    assert_eq!(as_site(endpoints.writer, "SELECT @@server_id").unwrap(), "1");
    assert_eq!(as_site(endpoints.reader, "SELECT @@server_id").unwrap(), "2");
    eventually("what was written is read", || as_site(endpoints.reader, "SELECT i FROM site.t").as_deref() == Ok("1"));
    let wrong = login(endpoints.writer, "site", "wrong", "SELECT 1").unwrap_err();
    assert!(wrong.contains("1045") && wrong.contains("Access denied"), "the server's own words: {wrong}");

    drop(replica_role);
    endpoints
        .running
        .until("the replica is out", |report| report.state == State::Degraded && report.because.starts_with("db2: "));
    assert_eq!(as_site(endpoints.reader, "SELECT @@server_id").unwrap(), "1", "the primary as the last resort");
    let _replica_role = replica.serve();
    eventually("the replica is read again", || as_site(endpoints.reader, "SELECT @@server_id").as_deref() == Ok("2"));
    let counters = &endpoints.running.reporter.current().counters;
    assert!(counters["writer_connections_total"] >= 3 && counters["reader_received_bytes_total"] > 0, "{counters:?}");
}

#[test]
fn what_was_written_before_is_seen_on_a_fresh_connection() {
    let primary = Server::primary(1);
    let replica = Server::replica_of(&primary);
    let (_primary_role, _replica_role) = (primary.serve(), replica.serve());
    let endpoints = Endpoints::before(primary.config.address, &[replica.config.address]);
    endpoints.running.until("both are fit", |report| report.state == State::Serving);
    as_site(endpoints.writer, "CREATE TABLE site.t (i INT PRIMARY KEY)").unwrap();
    let seen = |written: usize| {
        let answer = as_site(endpoints.fresh, "SELECT @@server_id, COUNT(*) FROM site.t").unwrap();
        assert_eq!(answer.split_whitespace().nth(1), Some(written.to_string().as_str()));
        answer.starts_with('2')
    };
    let mut by_the_replica = 0;
    for written in 1..=20 {
        as_site(endpoints.writer, &format!("INSERT INTO site.t VALUES ({written})")).unwrap();
        by_the_replica += usize::from(seen(written));
    }
    assert!(by_the_replica > 0, "it always fell back to the primary");
    // One that does not catch up is passed over.
    replica.admin("STOP SLAVE SQL_THREAD");
    as_site(endpoints.writer, "INSERT INTO site.t VALUES (21)").unwrap();
    seen(21);
}

#[test]
fn replicas_serve_reads_while_the_primary_is_gone() {
    let primary = Server::primary(1);
    let replica = Server::replica_of(&primary);
    let (primary_role, _replica_role) = (primary.serve(), replica.serve());
    let endpoints = Endpoints::before(primary.config.address, &[replica.config.address]);
    endpoints.running.until("both are fit", |report| report.state == State::Serving);
    drop(primary_role);
    endpoints.running.until("there are no writes", |report| report.because.contains("no writes: db1: "));
    eventually("the replica has noticed too", || {
        endpoints.running.reporter.current().parts[1].because.contains("primary that is gone")
    });
    assert_eq!(as_site(endpoints.reader, "SELECT @@server_id").unwrap(), "2");
}

#[test]
fn a_restart_of_the_primary_is_a_pause() {
    let primary = Server::primary(0);
    let role = primary.serve();
    let endpoints = Endpoints::before(primary.config.address, &[]);
    as_site(endpoints.writer, "CREATE TABLE site.t (i INT PRIMARY KEY)").unwrap();
    drop(role);
    endpoints.running.until("nobody takes writes", |report| report.state == State::Failed);
    let writer = endpoints.writer;
    let write = thread::spawn(move || as_site(writer, "INSERT INTO site.t VALUES (1)"));
    endpoints.running.until("the write is held", |report| report.counters.get("writer_held_total") == Some(&1));
    let _role = primary.serve();
    write.join().unwrap().expect("it waited for the primary");
    primary.kill();
    as_site(endpoints.writer, "INSERT INTO site.t VALUES (2)").expect("a crash is a pause too");
    assert_eq!(as_site(endpoints.reader, "SELECT COUNT(*) FROM site.t").unwrap(), "2");
    assert_eq!(endpoints.running.reporter.current().counters["writer_given_up_total"], 0);
}

#[test]
fn who_waits_in_vain_is_told_why() {
    let endpoints = Endpoints::before(free(), &[]);
    let start = Instant::now();
    let error = as_site(endpoints.writer, "SELECT 1").unwrap_err();
    assert!(error.contains("1053") && error.contains("Mainstay: waited 10 s"), "{error}");
    assert!(error.contains("db1 is the primary, and Connection refused"), "{error}");
    assert!(start.elapsed() >= Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn too_many_who_wait_are_sent_away_at_once_and_leavers_make_room() {
    let endpoints = Endpoints::before(free(), &[]);
    let held: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(endpoints.writer).unwrap()).collect();
    endpoints.running.until("they wait", |report| report.counters.get("writer_held_total") == Some(&60));
    let mut surplus = TcpStream::connect(endpoints.writer).unwrap();
    let mut text = Vec::new();
    surplus.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text[4..]).into_owned();
    assert!(text.contains("60 connections wait") && text.contains("db1"), "{text}");
    drop(held);
    endpoints.running.until("their places are free", |report| report.facts.first().is_some_and(|fact| fact.1 == "0"));
}

#[test]
fn a_large_result_and_a_large_statement_pass_unharmed() {
    let primary = Server::primary(0);
    let _role = primary.serve();
    let endpoints = Endpoints::before(primary.config.address, &[]);
    let result = as_site(endpoints.reader, "SELECT REPEAT('x', 8000000)").unwrap();
    assert_eq!(result.len(), 8_000_000);
    let statement = format!("SELECT LENGTH('{}')", "y".repeat(100_000));
    assert_eq!(as_site(endpoints.writer, &statement).unwrap(), "100000");
}
