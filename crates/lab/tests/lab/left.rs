//! What a killed `up` leaves.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use mainstay_lab::{Lab, Mode, Place, sweep};

use crate::bench::{self, IDLE, boot, options, root};

const FOLDER: &str = "MAINSTAY_TEST_FOLDER";

/// Plays the `up` that is killed: a process of its own, run by the tests below.
#[test]
#[ignore = "run by the other tests in a process of its own"]
fn up_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(std::path::PathBuf::from) else { return };
    let site = serde_json::from_slice(&std::fs::read(folder.join("site.json")).unwrap()).unwrap();
    let bench = start_in(site, &folder);
    println!("\nup");
    loop {
        std::thread::park();
        assert!(bench.0.record().servers.len() == 2);
    }
}

fn start_in(site: mainstay_site::model::Site, folder: &std::path::Path) -> (Lab, Place) {
    let place = Place::below(folder, &site.domain);
    let held = place.hold().unwrap().expect("nobody has it");
    let mut lab = Lab::start(&site, options(Mode::Namespaces, &place, folder), held).unwrap();
    for server in &site.servers {
        lab.power_on(&server.name, boot(IDLE, folder, server.name.as_str())).unwrap();
    }
    for server in &site.servers {
        bench::on(folder, server.name.as_str());
    }
    (lab, place)
}

/// Starts that process, kills it when it is up, and gives back the site and the folder.
fn killed(test: &str) -> (mainstay_site::model::Site, tempfile::TempDir) {
    let (site, folder) = (bench::site(test, &["10.80.0.11", "10.80.0.12"]), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("site.json"), serde_json::to_vec(&site).unwrap()).unwrap();
    let mut up = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "left::up_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(up.stdout.take().unwrap()).lines().any(|line| line.unwrap() == "up");
    assert!(said, "the lab did not come up");
    up.kill().unwrap();
    up.wait().unwrap();
    (site, folder)
}

#[test]
fn a_sweep_clears_away_what_a_killed_up_left() {
    if !root() {
        return;
    }
    let (site, folder) = killed("left");
    let place = Place::below(folder.path(), &site.domain);
    let record = place.read().unwrap().expect("it is on record");
    assert!(!record.up.alive());
    assert!(record.servers.iter().all(|server| server.process.unwrap().alive()));
    let held = place.hold().unwrap();
    assert!(held.is_some(), "the lock went with the process");
    let swept = sweep(&record, Duration::from_secs(5)).unwrap();
    assert_eq!((swept.stopped, swept.killed), (2, 0));
    assert!(record.servers.iter().all(|server| !server.process.unwrap().alive()));
    let names: Vec<String> = record.wires.unwrap().namespaces().map(str::to_owned).collect();
    assert!(names.iter().all(|name| !std::path::Path::new("/run/netns").join(name).exists()));
}

#[test]
fn the_next_up_takes_over_from_a_killed_one() {
    if !root() {
        return;
    }
    let (site, folder) = killed("next");
    let before = Place::below(folder.path(), &site.domain).read().unwrap().unwrap();
    let (lab, _) = start_in(site, folder.path());
    assert!(before.servers.iter().all(|server| !server.process.unwrap().alive()));
    assert!(lab.record().servers.iter().all(|server| server.process.unwrap().alive()));
}
