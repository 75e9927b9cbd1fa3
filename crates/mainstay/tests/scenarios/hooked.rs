//! A cloud's hook: whichever balancer takes the floating address over calls the program, in a namespace, as a user without power.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, design, eventually};

const WITHIN: Duration = Duration::from_secs(20);

fn vip(lab: &Lab, server: &str) -> Pid {
    let status = lab.status();
    let server =
        status["servers"].as_array().unwrap().iter().find(|it| it["status"]["server"] == server).cloned().unwrap();
    let services = server["status"]["services"].as_array().unwrap();
    let pid = services.iter().find(|service| service["name"] == "vip").unwrap()["pid"].as_i64().unwrap();
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

#[test]
fn whoever_takes_the_address_over_calls_the_program() {
    let folder = tempfile::Builder::new().prefix("mh-").tempdir().unwrap();
    let (program, log) = (folder.path().join("move-address"), folder.path().join("log"));
    fs::write(&program, format!("#!/bin/sh\necho \"$MAINSTAY_SERVER $1 $2 $(id -u)\" >> {}\n", log.display())).unwrap();
    fs::write(&log, "").unwrap();
    for (path, mode) in [(folder.path(), 0o755), (program.as_path(), 0o755), (log.as_path(), 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let cluster = format!("[balancer]\ncluster = {{ address = \"10.80.0.100\", hook = \"{}\" }}\n", program.display());
    let second = "\n[servers.lb2]\naddress = \"10.80.0.9\"\nroles = [\"balancer\"]\n";
    let declaration = design("1-distributed").replace("[balancer]\n", &cluster) + second;
    let lab = Lab::start(&declaration, "d-hooked.test");
    let calls = || fs::read_to_string(&log).unwrap();
    eventually("the first has told", WITHIN, || calls().contains(" take 10.80.0.100 59812\n").then_some(()));
    let first = calls().split(' ').next().unwrap().to_owned();
    assert!(first == "lb1" || first == "lb2", "{first}");
    let frozen = vip(&lab, &first);
    kill_process(frozen, Signal::STOP).unwrap();
    let other = if first == "lb1" { "lb2" } else { "lb1" };
    eventually("the other has told", WITHIN, || {
        calls().lines().last()?.starts_with(&format!("{other} take 10.80.0.100")).then_some(())
    });
    kill_process(frozen, Signal::CONT).unwrap();
    assert_eq!(lab.get("/").status, 200);
}
