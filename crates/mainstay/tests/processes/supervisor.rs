//! The supervisor: what it survives, and what survives it.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, Instant};

use mainstay_node::control::Error;
use mainstay_site::names::Role;
use mainstay_site::plan::{Config, Sql};
use mainstay_site::wire::State;

use crate::scene::{Scene, Visitor, dns, free, lives, plan, resolve, signal, until};

#[test]
fn a_killed_service_is_back_within_a_second_and_no_connection_is_refused() {
    let (mut scene, address) = (Scene::new(), free());
    scene.up(&plan(1, vec![dns("dns", address)]));
    let before = scene.pid("dns");
    let visitor = Visitor::of(address);
    let killed = Instant::now();
    signal(before, "KILL");
    let back = scene.status("another process serves", |status| {
        status.services[0].state == State::Serving && status.services[0].pid != Some(before)
    });
    let gap = killed.elapsed();
    resolve(address).unwrap();
    let (count, errors) = visitor.end();
    assert!(gap < Duration::from_secs(1), "{gap:?}");
    assert_eq!(back.services[0].restarts, 1);
    // Those that the dead process had accepted are cut, all others wait.
    assert!(errors.iter().all(|error| error.kind() != ErrorKind::ConnectionRefused), "{count}: {errors:?}");
    assert!(errors.len() <= 2, "{count}: {errors:?}");
}

#[test]
fn an_upgrade_replaces_the_supervisor_and_leaves_what_runs_the_same_program() {
    let (mut scene, address) = (Scene::new(), free());
    scene.up(&plan(1, vec![dns("dns", address)]));
    let (pid, visitor) = (scene.pid("dns"), Visitor::of(address));
    let before = scene.status("it answers", |_| true).pid;
    scene.ask(async |client| client.upgrade().await).unwrap();
    let after = scene.status("another supervisor answers", |status| status.pid != before && !status.upgrading);
    assert_eq!((scene.pid("dns"), after.services[0].restarts), (pid, 0));
    let (count, errors) = visitor.end();
    assert!(errors.is_empty(), "{count}: {errors:?}");
}

#[test]
fn no_upgrade_where_nobody_keeps_the_sockets() {
    let mut scene = Scene::new();
    scene.up_alone(Some(&plan(1, vec![dns("dns", free())])));
    let pid = scene.pid("dns");
    match scene.ask(async |client| client.upgrade().await) {
        Err(Error::Refused(refusal)) => assert!(refusal.error.contains("nobody keeps"), "{refusal:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.pid("dns"), pid);
}

#[test]
fn a_killed_supervisor_leaves_its_services_alone_and_the_next_adopts_them() {
    let (mut scene, address) = (Scene::new(), free());
    scene.up(&plan(1, vec![dns("dns", address), dns("dns2", free())]));
    let pids = [scene.pid("dns"), scene.pid("dns2")];
    let visitor = Visitor::of(address);
    let mut supervisor = scene.status("it answers", |_| true).pid;
    for _ in 0..2 {
        let before = supervisor;
        signal(before, "KILL");
        supervisor = scene.status("another supervisor answers", |status| status.pid != before).pid;
        assert_eq!([scene.pid("dns"), scene.pid("dns2")], pids);
    }
    let status = scene.status("it answers", |_| true);
    assert!(status.services.iter().all(|service| service.restarts == 0), "{status:#?}");
    let (count, errors) = visitor.end();
    assert!(errors.is_empty(), "{count}: {errors:?}");

    // An adopted service is looked after like any other.
    signal(pids[0], "KILL");
    let back = scene.status("another process serves", |status| {
        status.services[0].state == State::Serving && status.services[0].pid != Some(pids[0])
    });
    assert_eq!(back.services[0].restarts, 1);
    let log = scene.file("log/dns.log");
    assert_eq!(log.matches("dns starts").count(), 2, "{log}");
}

#[test]
fn a_session_whose_leader_is_outside_the_pid_namespace_keeps_nothing_from_starting() {
    let (mut scene, address) = (Scene::new(), free());
    scene.up_entered(&plan(1, vec![dns("dns", address)]));
    scene.service("dns", State::Serving);
    resolve(address).unwrap();
    signal(scene.child(), "KILL");
}

#[test]
fn a_service_that_died_with_the_supervisor_is_started() {
    let mut scene = Scene::new();
    scene.up(&plan(1, vec![dns("dns", free())]));
    let pid = scene.pid("dns");
    let supervisor = scene.status("it answers", |_| true).pid;
    signal(supervisor, "STOP");
    signal(pid, "KILL");
    signal(supervisor, "KILL");
    scene.status("another process serves", |status| {
        status.services[0].state == State::Serving && status.services[0].pid != Some(pid)
    });
}

#[test]
fn without_a_parent_that_keeps_anything_the_next_supervisor_starts_afresh() {
    let (mut scene, address) = (Scene::new(), free());
    scene.up_alone(Some(&plan(1, vec![dns("dns", address)])));
    let pid = scene.pid("dns");
    signal(scene.child(), "KILL");
    scene.ended();
    assert!(lives(pid));
    // From the store: no plan is given.
    scene.up_alone(None);
    let next = scene.pid("dns");
    assert!(next != pid && !lives(pid));
    resolve(address).unwrap();
}

#[test]
fn a_taken_port_is_told_and_tried_again_while_the_rest_serves() {
    let (mut scene, address) = (Scene::new(), free());
    let thief = TcpListener::bind(address).unwrap();
    scene.up(&plan(1, vec![dns("dns", address), dns("dns2", free())]));
    scene.pid("dns2");
    let failed = scene.service("dns", State::Failed);
    let culprit = format!("(process {}) has it", std::process::id());
    assert!(failed.because.contains(&culprit) && failed.because.contains(&address.to_string()), "{}", failed.because);
    assert_eq!(failed.pid, None);
    drop(thief);
    scene.pid("dns");
    resolve(address).unwrap();
}

#[test]
fn a_frozen_service_is_told_and_recovers() {
    let mut scene = Scene::new();
    scene.up(&plan(1, vec![dns("dns", free())]));
    let pid = scene.pid("dns");
    signal(pid, "STOP");
    let frozen = scene.service("dns", State::Degraded);
    assert!(frozen.because.starts_with("does not answer since "), "{}", frozen.because);
    assert_eq!(frozen.pid, Some(pid));
    signal(pid, "CONT");
    assert_eq!(scene.pid("dns"), pid);
}

#[test]
fn a_new_plan_touches_only_what_it_changes() {
    let (mut scene, kept, moved, new) = (Scene::new(), free(), free(), free());
    scene.up(&plan(1, vec![dns("same", kept), dns("changed", moved), dns("gone", free())]));
    let [same, changed, gone] = ["same", "changed", "gone"].map(|name| scene.pid(name));
    let visitor = Visitor::of(kept);

    let mut next = plan(2, vec![dns("same", kept), dns("changed", new), dns("new", moved)]);
    scene.ask(async |client| client.put_plan(&next).await).unwrap();
    scene.status("the second plan runs", |status| {
        let names: Vec<&str> = status.services.iter().map(|service| service.name.as_str()).collect();
        let serve = status.services.iter().all(|service| service.state == State::Serving);
        names == ["same", "changed", "new"] && serve && status.services[1].pid != Some(changed)
    });
    assert_eq!(scene.pid("same"), same);
    assert!(!lives(gone));
    for address in [kept, moved, new] {
        resolve(address).unwrap();
    }

    // Refused, each with its reason, and nothing changes.
    let refused = |plan: &_| match scene.ask(async |client| client.put_plan(plan).await) {
        Err(Error::Refused(refusal)) => refusal.error,
        other => panic!("{other:?}"),
    };
    next.services.pop();
    assert_eq!(refused(&next), "the plan has generation 2, and 2 is in force");
    let thief = TcpListener::bind("127.0.0.1:0").unwrap();
    next.generation.0 = 3;
    next.services.push(dns("thief", thief.local_addr().unwrap()));
    assert!(refused(&next).contains("has it"), "{}", refused(&next));
    next.server = "server2".into();
    assert!(refused(&next).contains("this is server1"), "{}", refused(&next));
    let status = scene.status("it answers", |_| true);
    assert_eq!((status.generation.0, status.services.len()), (2, 3));
    let (count, errors) = visitor.end();
    assert!(errors.is_empty(), "{count}: {errors:?}");
}

#[test]
fn the_store_keeps_the_plan_whatever_an_older_file_says() {
    let (mut scene, address) = (Scene::new(), free());
    scene.up(&plan(1, vec![dns("dns", free())]));
    scene.pid("dns");
    scene.ask(async |client| client.put_plan(&plan(5, vec![dns("dns", address)])).await).unwrap();
    // The init starts the supervisor with the first plan's file again.
    let first = scene.status("it answers", |_| true).pid;
    signal(first, "KILL");
    let status = scene.status("another supervisor answers", |status| status.pid != first);
    assert_eq!(status.generation.0, 5);
    // Every server that has followed a generation has such a file.
    assert!(status.notices.is_empty(), "{:?}", status.notices);
    scene.pid("dns");
    resolve(address).unwrap();
}

#[test]
fn a_full_disk_costs_the_log_and_nothing_else() {
    let (mut scene, address) = (Scene::new(), free());
    fs::create_dir_all(scene.state().join("log")).unwrap();
    symlink("/dev/full", scene.state().join("log/dns.log")).unwrap();
    scene.up(&plan(1, vec![dns("dns", address)]));
    let status = scene.service("dns", State::Serving);
    resolve(address).unwrap();
    assert!(status.because.contains("its log is lost") && status.because.contains("No space"), "{}", status.because);
    let lines = scene.ask(async |client| client.logs(&"dns".into(), 10).await).unwrap();
    assert!(lines.contains("dns starts"), "{lines}");
    // There is room again.
    fs::remove_file(scene.state().join("log/dns.log")).unwrap();
    scene.ask(async |client| client.restart(&"dns".into()).await).unwrap();
    until("the log is written again", || scene.file("log/dns.log").contains("log lines lost").then_some(()));
    scene.status("it says no more of it", |status| {
        status.services[0].state == State::Serving && !status.services[0].because.contains("log")
    });
}

#[test]
fn what_keeps_a_service_from_starting_is_said() {
    let mut scene = Scene::new();
    let mut sql = dns("sql", free());
    sql.role = Role::App;
    sql.config = Config::Sql(Sql {
        primary: ("db1".into(), free()),
        replicas: Vec::new(),
        max_lag_ms: 5_000,
        store: Vec::new(),
    });
    let mut bad = dns("bad", free());
    if let Config::Dns(dns) = &mut bad.config {
        dns.addresses.clear();
        dns.zone = "..".into();
    }
    scene.up(&plan(1, vec![dns("dns", free()), sql, bad]));
    scene.pid("dns");
    let because = scene.service("sql", State::Failed).because;
    assert!(because.contains("secrets.json cannot be read"), "{because}");
    let because = scene.service("bad", State::Failed).because;
    let log = scene.file("log/bad.log");
    let record: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let words = record["record"]["message"].as_str().unwrap();
    assert!(because.starts_with(&format!("ended with exit code 1: {words}")), "{because}");
}

#[test]
fn folders_and_processes_belong_to_the_role() {
    let mut scene = Scene::new();
    scene.up(&plan(1, vec![dns("dns", free())]));
    let pid = scene.pid("dns");
    let us = fs::metadata(format!("/proc/{}", scene.child())).unwrap().uid();
    let user = if us == 0 { Role::Dns.user() } else { us };
    for (path, owner, mode) in
        [("run/dns", user, 0o755), ("data/dns", user, 0o700), ("log", us, 0o750), ("store.redb", us, 0o600)]
    {
        let metadata = fs::metadata(scene.state().join(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (owner, mode), "{path}");
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
    assert!(line("Uid:").split_whitespace().all(|id| id == user.to_string()), "{status}");
    assert_eq!(line("NoNewPrivs:"), "1");
    assert_eq!(line("Name:"), "ms-dns");
    if us == 0 {
        assert_eq!((line("Groups:"), line("CapEff:")), (String::new(), "0".repeat(16)));
    }
}

#[test]
fn stops_everything_and_says_so() {
    let mut scene = Scene::new();
    scene.up(&plan(1, vec![dns("dns", free()), dns("dns2", free())]));
    let pids = [scene.pid("dns"), scene.pid("dns2")];
    scene.ask(async |client| client.stop().await).unwrap();
    assert_eq!(scene.ended(), Some(0));
    assert!(!pids.into_iter().any(lives));
    assert!(!scene.state().join("control.sock").exists());
    assert!(matches!(scene.ask(async |client| client.status().await), Err(Error::Unreachable { .. })));
    for name in ["dns", "dns2"] {
        assert!(scene.file(&format!("log/{name}.log")).contains(&format!("{name} ended")));
    }
}

#[test]
fn a_second_supervisor_and_an_unusable_plan_are_refused_for_good() {
    let mut scene = Scene::new();
    let (code, said) = scene.serve_to_the_end(None);
    assert!(code == 2 && said.contains("there is no plan for server1 yet"), "{code}: {said}");
    let mut foreign = plan(1, vec![]);
    foreign.server = "server2".into();
    let (code, said) = scene.serve_to_the_end(Some(&foreign));
    assert!(code == 2 && said.contains("the plan is for server2, not for server1"), "{code}: {said}");

    scene.up_alone(Some(&plan(1, vec![])));
    let pid = scene.status("it answers", |_| true).pid;
    let (code, said) = scene.serve_to_the_end(None);
    assert!(code == 2 && said.contains(&format!("another supervisor (process {pid}) runs server1")), "{code}: {said}");
}
