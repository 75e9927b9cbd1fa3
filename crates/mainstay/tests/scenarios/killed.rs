//! SIGKILL to every role of D1, one after the other, while visitors read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::lab::{Lab, eventually};
use crate::load::Load;

/// What the site promises; looking once and a busy machine come on top.
const BACK: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(700);

/// Processes by `server/service`, and what runs under them by `server/service/part`.
fn processes(lab: &Lab) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for server in lab.status()["servers"].as_array().unwrap() {
        let name = server["server"].as_str().unwrap();
        let status = &server["status"];
        // Who was just killed says nothing, and has no process.
        if let Some(pid) = status["pid"].as_u64() {
            all.insert(format!("{name}/supervisor"), pid);
        }
        for service in status["services"].as_array().into_iter().flatten() {
            let service_name = format!("{name}/{}", service["name"].as_str().unwrap());
            let parts = service["report"]["parts"].as_array().into_iter().flatten();
            for part in parts.filter(|part| part["pid"].is_u64()) {
                let part_name = part["name"].as_str().unwrap();
                all.insert(format!("{service_name}/{part_name}"), part["pid"].as_u64().unwrap());
            }
            // A service that has just ended has none.
            all.extend(service["pid"].as_u64().map(|pid| (service_name, pid)));
        }
    }
    all
}

fn kill(what: &str, processes: &BTreeMap<String, u64>) {
    crate::lab::kill(processes[what] as u32);
}

/// Waits until `what` is another process than before, and says how long that took; then until the site serves, which
/// includes its workers' start and the next health checks.
fn back(lab: &Lab, what: &str, before: &BTreeMap<String, u64>) -> (Duration, BTreeMap<String, u64>) {
    let start = Instant::now();
    let took = eventually(&format!("{what} runs"), Duration::from_secs(20), || {
        let now = processes(lab);
        (now.get(what).is_some_and(|pid| *pid != before[what])).then(|| start.elapsed())
    });
    let now = eventually(&format!("the site serves after {what}"), Duration::from_secs(20), || {
        (lab.status()["state"] == "serving").then(|| processes(lab))
    });
    (took, now)
}

/// Whether `other` is `what` or lives and dies with it.
fn belongs(what: &str, other: &str) -> bool {
    other == what || (other.starts_with(&format!("{what}/")) && !what.ends_with("/database"))
}

#[test]
fn every_role_comes_back_within_a_second_and_disturbs_no_other() {
    let lab = Lab::design("1-distributed", "killed.test");
    let mut before = processes(&lab);
    let services: Vec<String> =
        before.keys().filter(|name| name.split('/').count() == 2 && !name.ends_with("/supervisor")).cloned().collect();
    assert!(services.len() >= 10, "{services:?}");
    for what in services {
        let load = Load::start(lab.http(), lab.www(), "/static/style.css");
        kill(&what, &before);
        let (took, now) = back(&lab, &what, &before);
        let tally = load.end();
        eprintln!("{what}: back after {took:?}; {} answered, slowest {:?}", tally.answered, tally.slowest);
        assert!(took <= BACK + LOOK, "{what} was away for {took:?}");
        for (other, pid) in before.iter().filter(|(other, _)| !belongs(&what, other)) {
            assert_eq!(now.get(other), Some(pid), "{other} was disturbed by the end of {what}");
        }
        // What the balancer itself had in its hands is gone with it; nothing else may be.
        let in_flight = |error: &String| what == "lb1/balancer" && !error.contains("refused");
        assert!(tally.failed.iter().all(in_flight), "{what}: {:?}", tally.failed);
        assert!(tally.answered > 0);
        before = now;
    }
}

#[test]
fn no_request_is_lost_with_a_web_or_application_server() {
    let lab = Lab::design("1-distributed", "reading.test");
    lab.post("/messages", &[("name", "Ada"), ("text", "still here")]);
    let load = Load::start(lab.http(), lab.www(), "/messages.json");
    for what in ["server1/web", "server2/web", "server1/app-site", "server2/app-site"] {
        for _ in 0..3 {
            let before = processes(&lab);
            kill(what, &before);
            back(&lab, what, &before);
        }
    }
    let tally = load.end();
    assert!(tally.failed.is_empty(), "{} answered, not: {:?}", tally.answered, tally.failed);
    assert!(tally.answered > 50, "{tally:?}");
}

#[test]
fn what_runs_under_a_supervisor_outlives_it() {
    let lab = Lab::design("1-distributed", "adopted.test");
    let mut before = processes(&lab);
    let load = Load::start(lab.http(), lab.www(), "/messages.json");
    for server in ["lb1", "server1", "server2"] {
        let what = format!("{server}/supervisor");
        kill(&what, &before);
        let (_, now) = back(&lab, &what, &before);
        for (other, pid) in before.iter().filter(|(other, _)| **other != what) {
            assert_eq!(now.get(other), Some(pid), "{other} was not adopted");
        }
        before = now;
    }
    let tally = load.end();
    assert!(tally.failed.is_empty(), "{:?}", tally.failed);
}
