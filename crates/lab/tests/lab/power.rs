use std::fs;
use std::time::Duration;

use mainstay_lab::{HostPids, Mode};

use crate::bench::{IDLE, boot, console, eventually, root, site, start};

#[test]
fn a_server_is_a_machine_of_its_own() {
    if !root() {
        return;
    }
    let mut bench = start(site("own", &["10.80.0.11", "10.80.0.12"]), Mode::Namespaces);
    bench.lab.power_cut(&"web1".into()).unwrap();
    let script = format!("echo process $$ of $(cat /proc/sys/kernel/hostname); {IDLE}");
    bench.lab.power_on(&"web1".into(), boot(&script, bench.folder.path(), "web1")).unwrap();
    let console = console(bench.folder.path(), "web1");
    eventually("it says who it is", || {
        fs::read_to_string(&console).is_ok_and(|said| said.ends_with("process 1 of web1\non\n"))
    });
    assert!(bench.lab.power_on(&"web1".into(), boot(IDLE, bench.folder.path(), "web1")).is_err(), "it is on already");
}

#[test]
fn a_power_cut_takes_every_process_of_one_server() {
    if !root() {
        return;
    }
    let mut bench = start(site("cut", &["10.80.0.11", "10.80.0.12"]), Mode::Namespaces);
    bench.lab.power_cut(&"web1".into()).unwrap();
    let pidfile = bench.folder.path().join("daemon");
    let script = format!("setsid sleep 1000 & echo > {}; {IDLE}", pidfile.display());
    let process = bench.lab.power_on(&"web1".into(), boot(&script, bench.folder.path(), "web1")).unwrap();
    eventually("its daemon runs", || pidfile.exists());
    let network = fs::read_link(format!("/proc/{}/ns/net", process.pid)).unwrap();
    let inhabitants = || {
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes.filter(|one| fs::read_link(one.path().join("ns/net")).is_ok_and(|seen| seen == network)).count()
    };
    assert!(inhabitants() >= 2);
    bench.lab.power_cut(&"web1".into()).unwrap();
    assert_eq!(inhabitants(), 0);
    assert!(!process.alive() && !bench.lab.is_on(&"web1".into()) && bench.lab.is_on(&"web2".into()));
    assert!(bench.lab.power_on_again(&"web1".into()).unwrap().alive());
    bench.lab.stop(Duration::ZERO).unwrap();
}

/// Two servers have processes of the same numbers; the host has others for each.
#[test]
fn the_host_has_numbers_of_its_own_for_processes() {
    if !root() {
        return;
    }
    let mut bench = start(site("pids", &["10.80.0.11", "10.80.0.12"]), Mode::Namespaces);
    for (server, seconds) in [("web1", "1001"), ("web2", "1002")] {
        bench.lab.power_cut(&server.into()).unwrap();
        let script = format!("sleep {seconds} & echo $! > {}/daemon-{server}; {IDLE}", bench.folder.path().display());
        bench.lab.power_on(&server.into(), boot(&script, bench.folder.path(), server)).unwrap();
    }
    for (server, seconds) in [("web1", "1001"), ("web2", "1002")] {
        let pidfile = bench.folder.path().join(format!("daemon-{server}"));
        let written = || fs::read_to_string(&pidfile).ok()?.trim().parse::<u32>().ok();
        eventually("its daemon runs", || written().is_some());
        let pid = written().unwrap();
        let on_host = || HostPids::of(bench.lab.record()).of_process(&server.into(), pid);
        let command = || fs::read(format!("/proc/{}/cmdline", on_host()?)).ok();
        eventually("the host's number leads to it", || {
            command().is_some_and(|it| it == format!("sleep\0{seconds}\0").as_bytes())
        });
        assert!(on_host() != Some(pid), "the test's machine has more than {pid} processes");
    }
    let first = bench.lab.record().servers[0].process.unwrap();
    assert_eq!(HostPids::of(bench.lab.record()).of_process(&"web1".into(), 1), u32::try_from(first.pid).ok());
    assert_eq!(HostPids::of(bench.lab.record()).of_process(&"web1".into(), 4_000_000), None);
    bench.lab.power_cut(&"web1".into()).unwrap();
    assert_eq!(HostPids::of(bench.lab.record()).of_process(&"web1".into(), 1), None, "it is off");
}

#[test]
fn stopping_asks_first_and_leaves_nothing() {
    if !root() {
        return;
    }
    let mut bench = start(site("stop", &["10.80.0.11", "10.80.0.12"]), Mode::Namespaces);
    bench.lab.power_cut(&"web2".into()).unwrap();
    bench.lab.power_on(&"web2".into(), boot("sleep 1000", bench.folder.path(), "web2")).unwrap();
    let wires = bench.lab.record().wires.clone().unwrap();
    let swept = bench.lab.stop(Duration::from_millis(700)).unwrap();
    assert_eq!((swept.stopped, swept.killed), (1, 1), "web2's process 1 has no handler for SIGTERM");
    assert!(wires.namespaces().all(|name| !std::path::Path::new("/run/netns").join(name).exists()));
    assert_eq!(bench.place.read().unwrap(), None);
}
